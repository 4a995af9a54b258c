"""The settings that dev chooses before an arm trains, by successive halving; the test items stay unread.

In: the arm's context with a SearchSpace, how a model is prepared. Out: the context with the chosen
settings, and a record of all trials. Knows nothing of: methods, predictions of test.

A trial trains from the same start as the arm, with the same seed and order of items and a complete schedule
over its own steps. Finished trials are on disk, so that a stopped search resumes at the next one.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tuneproof.arms.training import epoch_batches, training_cycles
from tuneproof.atomic import read_json, set_aside, sha256_of_text, write_json
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.monitor import Message, Monitor
from tuneproof.data.batches import count_batches
from tuneproof.errors import NonfiniteError, RunError, TuneproofError
from tuneproof.models.fsdp import unsharded
from tuneproof.models.oom import release_memory
from tuneproof.objectives.make import make_objective
from tuneproof.objectives.objective import Objective
from tuneproof.process_group import current_group
from tuneproof.recipe.search import RATE, Rung, SearchSpace, plan_rungs, with_train_values, with_values
from tuneproof.record.study_folder import SEARCH
from tuneproof.train.checkpoint import Weights, capture_trained, restore_trained
from tuneproof.train.loop import fit
from tuneproof.train.optimizer import make_optimizer, make_schedule
from tuneproof.train.resume import CheckpointManager

BAD = "bad-"
Settings = dict[str, Any]
Trial = dict[str, Any]
PrepareFn = Callable[[ArmContext], tuple[Any, Objective]]


def search_settings(
    context: ArmContext, prepare: PrepareFn, seconds: dict[str, float]
) -> tuple[ArmContext, dict[str, Any] | None]:
    """The context with the settings of the lowest dev loss, and the record; unchanged where none is searched.

    prepare: a trial's context → its model, ready for the first step, and its objective. The time goes into
    `seconds`, that of trials before a stop with it.

    Raises: RunError where every trial diverged.
    """
    if context.search is None:
        return context, None
    started = time.perf_counter()
    search = _Search(context, context.search, prepare)
    earlier_s = sum(trial["time_s"] for trial in search.trials)
    chosen = search.run()
    seconds["search"] = earlier_s + time.perf_counter() - started
    record = {
        "settings": {name: list(values) for name, values in context.search.values.items()},
        "budget_steps": search.budget_steps,
        "trials": search.trials,
        "chosen": chosen,
    }
    context.monitor.message(search.sentence(chosen), recorded=True)
    return with_settings(context, chosen), record


def with_settings(context: ArmContext, settings: Settings) -> ArmContext:
    """The context of a trial, or of the arm with what was chosen."""
    arm = context.arm.model_copy(update={"options": with_values(context.arm.options, settings)})
    train = with_train_values(context.recipe.train, settings)
    study = replace(context.study, recipe=context.recipe.model_copy(update={"train": train}))
    return replace(context, arm=arm, study=study)


@dataclass
class _PreparedModel:
    """The model of the last trial, which the next one starts again where their options differ in the rate."""

    prepare: PrepareFn
    options: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    objective: Any = None
    start: Weights = field(default_factory=dict)

    def at_start(self, context: ArmContext) -> tuple[Any, Objective]:
        """The model as it is before the first step."""
        options = context.options.model_dump(exclude={RATE})
        if self.model is not None and options == self.options:
            restore_trained(self.model, self.start)
        else:
            self.release()
            self.model, self.objective = self.prepare(context)
            self.options, self.start = options, capture_trained(self.model)
        return self.model, self.objective

    def release(self) -> None:
        """Free the weights."""
        self.model = self.objective = None
        self.start = {}
        release_memory()


class _Search:
    """One arm's search; `trials` are the finished ones, in order."""

    def __init__(self, context: ArmContext, space: SearchSpace, prepare: PrepareFn) -> None:
        assert context.checkpoints is not None
        self.space, self.monitor, self.group = space, context.monitor, current_group()
        # what a model reports while it is prepared, the arm itself reports again
        monitor = replace(context.monitor, on_event=_without_messages(context.monitor), notes=[])
        self.context = replace(context, monitor=monitor)
        self.prepared = _PreparedModel(prepare)
        self.file = _TrialsFile(context.checkpoints)
        self.trials: list[Trial] = self.group.broadcast(self.file.read() if self.group.is_main else None)
        if self.file.rejected:
            self.monitor.message(self.file.rejected, "warning", recorded=True)
        train, items = context.recipe.train, len(make_objective(context).item_ids)
        per_epoch = count_batches(items, train.batch_size)
        epochs = training_cycles(context.options, train, per_epoch)[0]  # not those added later
        self.budget_steps = round(space.budget * per_epoch * epochs)
        self.rungs = plan_rungs(len(space.trials), self.budget_steps)
        self.total = sum(rung.trials * rung.steps for rung in self.rungs)
        self.finished: list[Trial] = []

    def run(self) -> Settings:
        """The settings that are left after the last rung."""
        candidates = self.space.trials
        try:
            for index, rung in enumerate(self.rungs):
                if len(candidates) == 1:  # the others diverged
                    break
                trials = [self._finish_trial(settings, index, rung) for settings in candidates]
                following = self.rungs[index + 1].trials if index + 1 < len(self.rungs) else 1
                candidates = self._best(trials, following)
        finally:
            self.prepared.release()
        return candidates[0]

    def sentence(self, chosen: Settings) -> str:
        """What was chosen, from what, and whether a wider search might find better."""
        values = ", ".join(f"{name} {_text(value)}" for name, value in chosen.items())
        steps = sum(trial["steps"] for trial in self.trials)
        text = f"{values}: chosen on dev from {len(self.space.trials)} settings in {steps:,} steps of search."
        rates = self.space.values.get(RATE, ())
        if len(rates) > 2 and chosen[RATE] in (min(rates), max(rates)):
            side = "lowest" if chosen[RATE] == min(rates) else "highest"
            text += f" It is the {side} learning rate that was tried: a wider search may find a better one."
        if self.space.missing:
            text += f" {self.context.arm.name} has no {', '.join(self.space.missing)}, which others search."
        return text

    def _finish_trial(self, settings: Settings, index: int, rung: Rung) -> Trial:
        """The trial, from the file where an earlier process finished it."""
        number = len(self.finished)
        identity = {"settings": _as_json(settings), "rung": index, "steps": self._steps(settings, rung)}
        if number < len(self.trials):
            trial = self.trials[number]
            if {name: trial[name] for name in identity} != identity:
                do = f"Run it again with --restart {self.context.arm.name}."
                raise RunError(str(self.file.path), "holds the trials of another search.", do=do)
        else:
            trial = self.group.broadcast(self._run_trial(identity, settings))
            self.trials.append(trial)
            self._write()
        self.finished.append(trial)
        return trial

    def _run_trial(self, identity: Trial, settings: Settings) -> Trial:
        started = time.perf_counter()
        context = with_settings(self.context, settings)
        model, objective = self.prepared.at_start(context)
        trial = _TrialTraining(context, model, objective, identity["steps"], self._start_stage)
        loss = trial.dev_loss()
        elapsed = time.perf_counter() - started
        return {**identity, "dev_loss": loss, "time_s": elapsed, "kept": False}

    def _steps(self, settings: Settings, rung: Rung) -> int:
        """Steps of a trial of the rung: as many items, whatever its batch size."""
        own = self.context.recipe.train.batch_size
        return max(1, rung.steps * own // settings.get("train.batch_size", own))

    def _best(self, trials: list[Trial], count: int) -> list[Settings]:
        """The settings of the `count` lowest dev losses, of equals the first; marked as kept.

        Raises: RunError where no trial has a loss.
        """
        finite = [trial for trial in trials if trial["dev_loss"] is not None]
        if not finite:
            problem = f"all {len(trials)} trials of its search diverged."
            raise RunError(self.context.arm.name, problem, do="Search lower learning rates.")
        best = sorted(finite, key=lambda trial: trial["dev_loss"])[:count]
        for trial in best:
            trial["kept"] = True
        self._write()
        return [s for s in self.space.trials if any(trial["settings"] == _as_json(s) for trial in best)]

    def _start_stage(self, steps: int = 0) -> None:
        """The stage of the progress bar; steps: those of the current trial so far."""
        done = sum(trial["steps"] for trial in self.finished) + steps
        self.monitor.stage("search", max(self.total, done), "steps", done=done)

    def _write(self) -> None:
        if self.group.is_main:
            self.file.write(self.trials)


@dataclass
class _TrialTraining:
    """The training of one trial. on_stage: called with the steps done where the progress bar starts anew."""

    context: ArmContext
    model: Any
    objective: Objective
    steps: int
    on_stage: Callable[[int], None]

    def dev_loss(self) -> float | None:
        """The lowest dev loss of its evaluations, after every epoch and at its end; None: it diverged."""
        train, monitor = self.context.recipe.train, self.context.monitor
        per_epoch = count_batches(len(self.objective.item_ids), train.batch_size)
        steps = fit(
            self.model,
            epoch_batches(self.context, self.objective),
            self.objective.loss,
            self.objective.count,
            make_optimizer(self.model, self.context.options.learning_rate, train.weight_decay),
            make_schedule(train.schedule, self.steps, train.warmup_share),
            epochs=math.ceil(self.steps / per_epoch),
            steps_per_epoch=per_epoch,
            clip_norm=train.clip_norm,
            seed=self.context.seed,
            accelerator=self.context.compute.accelerator.fresh(),
            nonfinite=train.nonfinite,
        )
        losses: list[float] = []
        self.on_stage(0)
        try:
            for step in islice(steps, self.steps):
                monitor.progress(1, f"loss {step.loss:.3f}")
                if step.step == self.steps or step.step % per_epoch == 0:
                    losses.append(self._evaluate())
                    self.on_stage(step.step)
        except NonfiniteError:
            return None
        finally:
            self.model.zero_grad(set_to_none=True)
        return min(losses) if all(map(math.isfinite, losses)) else None

    def _evaluate(self) -> float:
        dev = self.context.splits.dev
        self.context.monitor.stage("dev", len(dev))
        with unsharded(self.model):
            return self.objective.evaluate(self.model, dev)["dev_loss"]


class _TrialsFile:
    """The finished trials on disk with a checksum; those of another run, or damaged ones, are not used."""

    def __init__(self, checkpoints: CheckpointManager) -> None:
        self.path: Path = checkpoints.folder / SEARCH
        self.fingerprint = checkpoints.fingerprint
        self.accepted = {checkpoints.fingerprint, *checkpoints.accepted}
        self.rejected = ""

    def read(self) -> list[Trial]:
        """The trials; a file that cannot be used is renamed, with the reason in `rejected`."""
        if not self.path.is_file():
            return []
        try:
            values = read_json(self.path)
            if values["checksum"] == _checksum(values["trials"]) and values["fingerprint"] in self.accepted:
                return list(values["trials"])
            reason = "is damaged or belongs to another run."
        except (TuneproofError, KeyError, TypeError) as error:
            reason = f"is damaged ({type(error).__name__})."
        new = set_aside(self.path, BAD)
        self.rejected = f"{self.path.name} {reason} It was renamed {new.name}; the search starts again."
        return []

    def write(self, trials: list[Trial]) -> None:
        """Replace the file."""
        checksum = _checksum(trials)
        write_json(self.path, {"fingerprint": self.fingerprint, "checksum": checksum, "trials": trials})


def _checksum(trials: list[Trial]) -> str:
    return sha256_of_text(json.dumps(trials, sort_keys=True))


def _as_json(settings: Settings) -> Settings:
    values: Settings = json.loads(json.dumps(settings))
    return values


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _without_messages(monitor: Monitor) -> Callable[[Any], None]:
    """The monitor's listener for everything but messages."""

    def on_event(event: Any) -> None:
        if not isinstance(event, Message):
            monitor.on_event(event)

    return on_event
