"""The seconds of an arm as a sum of what it does: loading, features, steps, evaluations, predictions.

In: an arm's run, its timed work, counts of items. Out: planned steps, seconds.
Knows nothing of: clocks, models, how work is timed.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tuneproof.data.batches import count_batches
from tuneproof.methods.options import TunedOptions, last_layers, starts_random
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.arm_runs import ArmRun
from tuneproof.throughput.linear_cost import Line

if TYPE_CHECKING:
    from tuneproof.arms.timing import ArmTimes

# Measured on a CPU (benchmarks/RESULTS.md, forecast); small beside anything that takes minutes.
START_S, LOAD_BYTES_PER_S = 0.3, 5e8
FIT_S = 3e-9  # of a head: for each feature value, label, pooling and strength
BYTES_PER_WEIGHT = 4


@dataclass(frozen=True)
class Counts:
    """Items that an arm reads. train: to learn from, in `train_rows` rows; all_train: before sampling."""

    train: int
    train_rows: int
    all_train: int
    dev: int
    test: int


@dataclass(frozen=True)
class PlannedSteps:
    """The steps of one arm: of its training, of the trials before it; evaluations on dev, trials."""

    training: int = 0
    searching: int = 0
    evaluations: int = 0
    trials: int = 0

    @property
    def all_steps(self) -> int:
        """Steps of the training and of the trials."""
        return self.training + self.searching


def planned_steps(run: ArmRun, recipe: Recipe, train_rows: int) -> PlannedSteps:
    """The steps that the run takes if it does not stop early."""
    options, settings, method = run.arm.options, recipe.train, run.arm.method
    if method.apply is None or not isinstance(options, TunedOptions):
        return PlannedSteps()
    from tuneproof.arms.training import training_cycles

    per_epoch = count_batches(train_rows, settings.batch_size)
    cycles = training_cycles(options, settings, per_epoch)
    epochs = sum(cycles)
    search = run.search
    return PlannedSteps(
        training=epochs * per_epoch,
        searching=round(search.budget * cycles[0] * per_epoch) if search else 0,  # not of later cycles
        evaluations=epochs * settings.evals_per_epoch + method.fits_head,
        trials=len(search.trials) if search else 0,
    )


@dataclass
class ArmCosts:
    """Seconds of the arms of a study in their order, which decides what is shared already."""

    recipe: Recipe
    _loaded: str | None = None
    _cached: set[tuple[Any, ...]] = field(default_factory=set)

    def seconds(self, run: ArmRun, times: "Line | ArmTimes", counts: Counts) -> float:
        """The seconds of the next run."""
        if isinstance(times, Line):
            return START_S + times.at(counts.train + counts.dev + counts.test)
        if run.arm.method.kind == "prompt":
            return self._prompt(run, times, counts)
        self._loaded = None
        if run.arm.method.apply is None:
            return self._head(run, times, counts)
        return self._tuned(run, times, counts)

    def _prompt(self, run: ArmRun, times: "ArmTimes", counts: Counts) -> float:
        assert run.spec is not None
        load_s = 0.0 if self._loaded == run.spec.name else _load_s(times)
        self._loaded = run.spec.name
        return load_s + self._self_test_s(run, times) + self._predict_s(times, times.layers, counts)

    def _head(self, run: ArmRun, times: "ArmTimes", counts: Counts) -> float:
        """Features of all train items serve every sample; those of spans are computed for each run."""
        assert run.spec is not None
        key = ("features", run.spec.name, getattr(run.arm.options, "pooling", None))
        if self.recipe.task.kind == "questions":
            read_s = times.predict.at(times.layers, counts.train + counts.dev)
            return _load_s(times) + read_s + self._predict_s(times, times.layers, counts)
        features_s = 0.0
        if self._is_new(key):
            features_s = _load_s(times) + sum(
                times.predict.at(times.layers, items) for items in (counts.all_train, counts.dev, counts.test)
            )
        return features_s + self._fit_s(run, counts, poolings=2 if key[2] == "auto" else 1)

    def _tuned(self, run: ArmRun, times: "ArmTimes", counts: Counts) -> float:
        assert run.spec is not None
        assert times.step is not None
        planned, last = planned_steps(run, self.recipe, counts.train_rows), last_layers(run.arm.options)
        layers = times.layers if last is None else min(last, times.layers)
        seconds = _load_s(times) + self._self_test_s(run, times)
        if run.arm.method.fits_head:
            seconds += times.predict.at(times.layers, counts.train + counts.dev) + self._fit_s(run, counts, 1)
        seed = run.seed if starts_random(run.arm.options) else None
        if layers < times.layers and self._is_new(("states", run.spec.name, layers, seed)):
            read = counts.train + counts.dev + counts.test
            seconds += times.predict.at(times.layers - layers, read)
        rows = counts.train_rows / count_batches(counts.train_rows, self.recipe.train.batch_size)
        evaluate_s = (times.evaluate or times.predict).at(layers, counts.dev)
        seconds += planned.all_steps * times.step.at(layers, rows)
        seconds += planned.trials * (_load_s(times) + evaluate_s)
        return seconds + planned.evaluations * evaluate_s + self._predict_s(times, layers, counts)

    def _predict_s(self, times: "ArmTimes", layers: int, counts: Counts) -> float:
        """Dev and test, written answers to their last token."""
        seconds = 0.0
        for items in (counts.dev, counts.test):
            seconds += times.predict.at(layers, items)
            if times.token is not None:
                batches = math.ceil(items / self.recipe.predict.batch_size)
                seconds += batches * times.more_tokens * times.token.at(layers, 1)
        return seconds

    def _self_test_s(self, run: ArmRun, times: "ArmTimes") -> float:
        """Four short items alone and together, on both sides; their gradient whole and in halves; seeds share
        it."""
        assert run.spec is not None
        if not self.recipe.train.self_test:
            return 0.0
        key = ("self-test", run.spec.name, run.arm.name, run.train_size)
        if not self._is_new(key) and last_layers(run.arm.options) is None:
            return 0.0
        forward_s = 6 * times.predict.at(times.layers, 1)
        return forward_s + (3 * times.step.at(times.layers, 2) if times.step is not None else 0.0)

    def _fit_s(self, run: ArmRun, counts: Counts, poolings: int) -> float:
        assert run.spec is not None
        strengths = len(getattr(run.arm.options, "strengths", (0,)))
        labels = len(self.recipe.task.labels or ()) or 2
        return FIT_S * counts.train * (run.spec.width or 0) * labels * poolings * strengths

    def _is_new(self, key: tuple[Any, ...]) -> bool:
        is_new = key not in self._cached
        self._cached.add(key)
        return is_new


def _load_s(times: "ArmTimes") -> float:
    return START_S + BYTES_PER_WEIGHT * times.weights.at(times.layers, 0) / LOAD_BYTES_PER_S
