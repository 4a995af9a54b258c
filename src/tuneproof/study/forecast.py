"""What a study will cost: steps, seconds and peak memory of every arm, before the first one runs.

In: a plan. Out: a Forecast; what cannot be predicted, with the reason.
Knows nothing of: weights, how work is timed or simulated.

Times are sums of what each arm does, at the speed of a short timing on a sample of the items (see
arms/timing.py). What arms share (a loaded model, cached features and activations) counts for the first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.memory_plan import predict_peak
from tuneproof.atomic import set_aside, write_json
from tuneproof.context import time_left
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import Compute, make_compute
from tuneproof.context.few_shot import shots_of
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.monitor import Monitor, StudyForecast
from tuneproof.context.study_data import StudyData
from tuneproof.context.time_left import about
from tuneproof.data.splits import PARTS, sample_indices
from tuneproof.errors import RunError
from tuneproof.memory.usage import resident_bytes
from tuneproof.process_group import current_group
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import FORECAST
from tuneproof.settings import parse_memory_size
from tuneproof.study.arm_costs import ArmCosts, Counts, planned_steps
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.arm_session import ArmSession, failure_reason
from tuneproof.study.plan import Plan
from tuneproof.study.resume import is_finished
from tuneproof.throughput.linear_cost import Line, line_through

if TYPE_CHECKING:
    from tuneproof.arms.timing import ArmTimes

SAMPLED, LONGEST = 200, 16  # items of a part: random ones for the time, the longest ones for the memory
BASELINE_ITEMS = (60, 240)  # from which a baseline's time is extended
HEAP_SHARE, MAX_HEAP_BYTES = 0.5, 5 * 10**8  # freed tensors that stay in the heap (see memory/usage.py)
NOT_COSTLY = {"name", "learning_rate", "epochs", "more_epochs", "weights", "engine"}  # for a step
T = TypeVar("T")


@dataclass(frozen=True)
class ArmForecast:
    """What one run is predicted to cost; None: unknown."""

    label: str
    arm: str
    model: str | None
    seed: int | None
    train_size: int | None
    steps: int
    time_s: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Forecast:
    """What a study is predicted to cost. notes: what cannot be predicted, and why."""

    arms: tuple[ArmForecast, ...]
    notes: tuple[str, ...] = ()

    @property
    def time_s(self) -> float | None:
        """Seconds of all arms whose time is known; None: of no arm."""
        return sum(self.predicted_s.values()) if self.predicted_s else None

    @property
    def predicted_s(self) -> dict[str, float]:
        """Seconds by label, of the arms whose time is known."""
        return {arm.label: arm.time_s for arm in self.arms if arm.time_s is not None}

    @property
    def memory_bytes(self) -> int | None:
        """The highest peak."""
        return max((arm.memory_bytes for arm in self.arms if arm.memory_bytes), default=None)

    @property
    def sentence(self) -> str:
        """The whole study in one sentence."""
        together = self._cost_text(self.arms)
        steps = sum(arm.steps for arm in self.arms)
        runs = f"{len(self.arms)} run{'s' if len(self.arms) != 1 else ''}"
        return f"{together[0].upper()}{together[1:]}: {runs}{f', {steps:,} steps' if steps else ''}."

    def lines(self) -> list[str]:
        """What each arm adds, its seeds and samples of train together."""
        groups: dict[str, list[ArmForecast]] = {}
        for arm in self.arms:
            groups.setdefault(" ".join(part for part in (arm.model, arm.arm) if part), []).append(arm)
        lines = []
        for name, arms in groups.items():
            steps = sum(arm.steps for arm in arms)
            count = f"{len(arms)} runs, " if len(arms) > 1 else ""
            lines.append(f"{name}: {count}{f'{steps:,} steps, ' if steps else ''}{self._cost_text(arms)}")
        return lines

    @staticmethod
    def _cost_text(arms: Sequence[ArmForecast]) -> str:
        times = [arm.time_s for arm in arms if arm.time_s is not None]
        memory = max((arm.memory_bytes for arm in arms if arm.memory_bytes), default=None)
        bound = "about" if len(times) == len(arms) else "more than"
        text = f"{bound} {about(sum(times))}" if times else "an unknown time"
        return f"{text} and at most {_gigabytes(memory)}" if memory else text

    def as_json(self) -> dict[str, Any]:
        """Plain values, as in forecast.json."""
        arms = [asdict(arm) for arm in self.arms]
        return {"time_s": self.time_s, "memory_bytes": self.memory_bytes, "arms": arms}


def announce_forecast(session: ArmSession, here: bool = True) -> None:
    """Forecast what is left of a study, write forecast.json and tell the monitor.

    Nothing is timed where every arm is finished, where arms do not run here, or where several processes
    would have to take part.
    """
    plan, monitor = session.plan, session.monitor
    entries = _finished_entries(plan, monitor)
    runs = [run for run in plan.arms if not run.impossible and not is_finished(run)]
    if not runs or not here or current_group().world_size > 1:
        return
    monitor.stage("forecast")
    compute = session.compute if any(run.spec for run in runs) else None
    forecast = forecast_arms(plan, runs, compute, all_memory=False)
    values = forecast.as_json()
    write_json(plan.folder / FORECAST, {**values, "arms": [*entries, *values["arms"]]})
    for note in forecast.notes:
        monitor.message(note, "detail")
    monitor.notify(StudyForecast(forecast.sentence, forecast.predicted_s))


def _finished_entries(plan: Plan, monitor: Monitor) -> list[dict[str, Any]]:
    """What an earlier forecast said of the arms that are finished; a damaged one is renamed."""
    file, labels = plan.folder / FORECAST, {run.label for run in plan.arms if is_finished(run)}
    if not file.is_file():
        return []
    try:
        entries = [entry for entry in read_object(file)["arms"] if entry["label"] in labels]
    except (RunError, LookupError, TypeError):
        name = set_aside(file, "bad-").name
        again = "what is left is forecast again."
        monitor.message(f"{FORECAST} is damaged. It is renamed to {name}, and {again}", "warning")
        return []
    return entries


def forecast_plan(plan: Plan) -> Forecast:
    """The forecast of a plan whose rows and models are here."""
    return forecast_arms(plan, [run for run in plan.arms if not run.impossible], None, all_memory=True)


def forecast_arms(plan: Plan, runs: Sequence[ArmRun], compute: Compute | None, all_memory: bool) -> Forecast:
    """Time and simulate each distinct arm once, and add up what every run does.

    compute: where arms run; None: found out here. all_memory: predict the memory of every arm, not only of
    each model's largest (simulating takes longer than timing).
    """
    speeds = _Speeds(plan, compute)
    for run in runs:
        speeds.time(run)
    largest = {} if all_memory else _largest(runs, speeds)
    for run in runs:
        if run.spec and (all_memory or largest.get(run.spec.name) == speeds.key(run)):
            speeds.simulate(run)
    costs = ArmCosts(plan.recipe)
    forecasts = []
    for run in runs:
        key, times = speeds.key(run), speeds.times.get(speeds.key(run))
        counts = speeds.counts(run)
        forecasts.append(
            ArmForecast(
                label=run.label,
                arm=run.arm.name,
                model=run.spec.name if run.spec else None,
                seed=run.seed,
                train_size=run.train_size,
                steps=planned_steps(run, plan.recipe, counts.train_rows).all_steps,
                time_s=None if times is None else round(costs.seconds(run, times, counts), 2),
                memory_bytes=speeds.peaks.get(key),
            )
        )
    return Forecast(tuple(forecasts), tuple(dict.fromkeys(speeds.notes)))


@dataclass
class _Speeds:
    """What one run of each distinct arm was timed and simulated to take, by `key`."""

    plan: Plan
    compute: Compute | None
    times: dict[str, Any] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _specs: dict[str, ModelSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sample = _sample(self.plan.study, SAMPLED)
        self.long_sample = _with_longest(self.plan.study, self.sample)

    def key(self, run: ArmRun) -> str:
        """Equal for runs whose steps and predictions cost the same."""
        options = run.arm.options.model_dump_json(exclude=NOT_COSTLY)
        return f"{run.spec.name if run.spec else ''} {run.arm.method_name} {options}"

    def counts(self, run: ArmRun) -> Counts:
        """How many items and rows the run reads."""
        splits, times = self.plan.study.splits, self.times.get(self.key(run))
        items = run.train_size or len(splits.train)
        rows = round(items * getattr(times, "rows_per_item", 1.0))
        further = 0 if run.train_size else sum(len(test.items) for test in self.plan.study.tests)
        return Counts(items, max(1, rows), len(splits.train), len(splits.dev), len(splits.test) + further)

    def time(self, run: ArmRun) -> None:
        """Time the arm, unless a run like it was."""
        if run.arm.method.kind == "system":
            return
        if run.spec is not None and run.arm.method.quantizes:
            self.notes.append(f"{run.arm.name}: its time is not known, as its model is quantised.")
            return
        timed = self._once(f"time {self.key(run)}", run, "time", lambda: self._times(run))
        if timed is not None:
            self.times[self.key(run)] = timed

    def simulate(self, run: ArmRun) -> None:
        """Predict the arm's peak memory, with what this process holds already, unless a run like it was."""
        key, context = f"memory {self.key(run)}", self._context(run, self.long_sample)
        peak = self._once(key, run, "memory", lambda: predict_peak(context))
        if peak is None:
            return
        limit = self.plan.recipe.compute.memory
        if limit not in (None, "auto"):
            peak = min(peak, parse_memory_size(str(limit), "compute.memory"))
        if self.compute is None or self.compute.device.type == "cpu":
            freed = 0 if limit else min(round(HEAP_SHARE * peak), MAX_HEAP_BYTES)
            peak += resident_bytes() + freed
        self.peaks[self.key(run)] = peak

    def _once(self, key: str, run: ArmRun, kind: str, work: Callable[[], T]) -> T | None:
        """The result of work that is done once; None where it was done, or does not succeed: no study fails
        because its cost is unknown."""
        if key in self._seen:
            return None
        self._seen.add(key)
        try:
            return work()
        except Exception as error:  # stated as it is
            self.notes.append(f"{run.arm.name}: its {kind} cannot be predicted: {failure_reason(error)}")
            return None

    def _times(self, run: ArmRun) -> "Line | ArmTimes":
        if run.spec is None:
            return _time_baseline(self.plan.study, run)
        from tuneproof.arms.timing import time_arm

        shots = shots_of(self.plan.study, run.arm, run.random_seed)
        counts = self.counts(run)
        return time_arm(self._context(run, self.sample), shots, counts.dev + counts.test)

    def _context(self, run: ArmRun, study: StudyData) -> ArmContext:
        """The arm's context with a sample of the items, which no other context encodes."""
        assert run.spec is not None
        name = f"{run.spec.name} {len(study.splits.test)} {study is self.sample}"
        spec = self._specs.setdefault(name, replace(run.spec, _encoded={}, _results={}))
        if self.compute is None:
            longest = max(
                int(spec.encode(part, study.splits.part(part), study.recipe.encode).tokens_N.max())
                for part in ("train", "dev")
            )
            self.compute = make_compute(study.recipe.compute, longest, self.plan.models)
        return ArmContext(study, run.arm, spec, self.compute, run.random_seed)


def _largest(runs: Iterable[ArmRun], speeds: _Speeds) -> Mapping[str, str]:
    """By model the key of the arm that trains the most weights."""
    sizes: dict[str, tuple[float, str]] = {}
    for run in runs:
        trained = getattr(speeds.times.get(speeds.key(run)), "trained_weights", None)
        size = trained.at(speeds.times[speeds.key(run)].layers, 0) if trained else 0.0
        if run.spec and size >= sizes.get(run.spec.name, (0.0, ""))[0]:
            sizes[run.spec.name] = (size, speeds.key(run))
    return {name: key for name, (_, key) in sizes.items()}


def _sample(study: StudyData, size: int) -> StudyData:
    """The study with at most `size` items of each part, the same ones at every call."""
    splits, random = study.splits, np.random.default_rng(0)
    train = splits.train
    if len(train) > size:
        train = [train[i] for i in sample_indices(train, size, 0)]
    held_out: dict[str, Any] = {}
    for part in ("dev", "test"):
        items = splits.part(part)
        held_out[part] = [items[i] for i in sorted(random.permutation(len(items))[:size])]
    return replace(study, splits=replace(splits, train=train, **held_out))


def _with_longest(study: StudyData, sample: StudyData) -> StudyData:
    """The sample with the longest items of each part."""
    parts: dict[str, Any] = {}
    for part in PARTS:
        longest = nsmallest(LONGEST, study.splits.part(part), key=lambda item: -len(item.text))
        items = {item.id: item for item in (*sample.splits.part(part), *longest)}
        parts[part] = list(items.values())
    return replace(study, splits=replace(study.splits, **parts))


def _time_baseline(study: StudyData, run: ArmRun) -> Line:
    """Seconds by items of all parts, from two samples."""
    parts = [len(study.splits.part(part)) for part in PARTS]
    seconds = {}
    for size in (BASELINE_ITEMS[0], *BASELINE_ITEMS):  # the first call imports what it needs
        sample = _sample(study, max(len(study.labels), size * parts[0] // sum(parts)))
        started = time_left.clock()
        run_baseline(sample, run.arm, Monitor())
        seconds[sum(len(sample.splits.part(part)) for part in PARTS)] = time_left.clock() - started
    return line_through(seconds)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
