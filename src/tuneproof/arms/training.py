"""The training of an arm: steps, evaluations on dev, checkpoints, and the best weights put back.

In: a model with its method applied, an objective, a keeper of checkpoints. Out: events, steps.jsonl, what
dev chose. Knows nothing of: methods, predictions of test.

Where a caller throws StoppedError into it, it writes a checkpoint and stops; from any checkpoint it goes
on to the same bits.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tuneproof.arms.compile_layers import compiled_layers, warm_up_said
from tuneproof.atomic import Appended, write_with
from tuneproof.context.model_spec import Compute
from tuneproof.context.monitor import Advanced, Running, Said, StageBegun
from tuneproof.context.study_data import Shared
from tuneproof.data.batches import Batch, collate_epoch, count_batches
from tuneproof.errors import RunError, StoppedError
from tuneproof.models.compile import CompiledLayers
from tuneproof.models.fsdp import made_whole, own_part, whole_weights
from tuneproof.objectives.objective import Objective
from tuneproof.process_group import present
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example
from tuneproof.train.checkpoint import BestOnDev, Weights, capture_trained
from tuneproof.train.hf_trainer import Rates, fit_by_trainer
from tuneproof.train.loop import Step, fit
from tuneproof.train.optimizer import make_optimizer, make_schedule
from tuneproof.train.resume import Keeper, Place, handed_out
from tuneproof.train.trackers import open_trackers, track

AT_ONCE = 1 << 20  # weights that are summed at once
FIRST_SCALE = 65536.0  # of fp16's scaler, which outlives an arm


class Training:
    """One arm's training. `place` says where it stands at every moment."""

    def __init__(
        self,
        model: Any,
        objective: Objective,
        arm: Arm,
        shared: Shared,
        compute: Compute,
        seed: int,
        steps_file: Path,
        keeper: Keeper,
    ) -> None:
        self.model, self.objective, self.arm = model, objective, arm
        self.shared, self.compute, self.seed = shared, compute, seed
        self.steps_file, self.keeper = steps_file, keeper
        self.settings: Any = shared.recipe.train
        self.team = present()
        self.place = Place()
        self.best = BestOnDev(patience=self.settings.patience)
        self.per_epoch = count_batches(len(objective.unit_ids), self.settings.batch_size)
        epochs = getattr(arm.options, "epochs", None) or self.settings.epochs
        self.epochs = max(epochs, math.ceil(self.settings.min_steps / self.per_epoch))
        options: Any = arm.options
        self.by_trainer = getattr(options, "engine", "loop") == "trainer"
        self.optimizer: Any = None  # the Trainer has its own
        if not self.by_trainer:
            rate, decay = options.learning_rate, self.settings.weight_decay
            self.optimizer = make_optimizer(model, rate, decay)
        self.scaler = compute.accelerator.scaler
        if self.scaler is not None:
            fresh = {"scale": FIRST_SCALE, "_growth_tracker": 0}
            self.scaler.load_state_dict({**self.scaler.state_dict(), **fresh})
        self.compiled = CompiledLayers()
        self._since = time.perf_counter()

    def run(self) -> Running[dict[str, Any]]:
        """Train to the end, or go on with it. Returns what dev chose."""
        before = _fingerprint(self.model)
        yield from self._take_up()
        folder = self.steps_file.parent
        asked = self.settings.trackers if self.team.leads else ()
        sent = open_trackers(asked, folder.parent.parent, folder.name)
        compute = self.shared.recipe.compute
        self.compiled = yield from compiled_layers(self.model, self.arm, compute)
        log = Appended(self.steps_file)
        try:
            with sent as trackers:
                yield from self._steps(log, trackers)
        except StoppedError:
            self.team.stop()
            self.save()
            raise
        finally:
            log.close(sync=True)
            self.compiled.close()
        self.place.done, self.place.train_s = True, self._seconds()
        if self.team.say(not self.by_trainer and (bool(self.keeper.written) or self.keeper.due)):
            self.save()
        if self.keeper.written:
            count = self.keeper.written
            yield Said(f"{count} checkpoints; deleted when the arm is complete.", noted=True)
        if self.place.compile_s:
            yield warm_up_said(self.place.compile_s, bool(self.place.resumed_at))
        changed = self.team.most(int(_fingerprint(self.model) != before))
        chosen_step = self.best.restore(self.model)
        if not changed:
            raise RunError(self.arm.name, "no weight changed in training.", do="Raise the learning rate.")
        return {
            "step": chosen_step,
            "epoch": chosen_step / self.per_epoch,
            "dev_loss": self.best.loss,
            "by": "lowest loss on dev",
            "evaluations": self.place.evaluations,
            "steps_done": self.place.step,
            **({"steps_skipped": self.place.skipped} if self.place.skipped else {}),
        }

    def save(self) -> None:
        """Write a checkpoint of this moment; while the Trainer trains there is nothing to go on from."""
        if self.optimizer is None:
            return
        self.place.train_s, self._since = self._seconds(), time.perf_counter()
        lines = self.steps_file.read_bytes() if self.steps_file.is_file() else b""
        self.keeper.save(self.model, self.optimizer, self.best, self.place, lines, self.scaler)

    def let_go(self) -> Weights:
        """The best weights of a model that is shared out, whole; its shards are free then.

        A checkpoint is written first: there is none to be written later.
        """
        self.save()
        trained = made_whole(self.model, capture_trained(self.model))
        self.model = self.optimizer = None
        return trained

    def _seconds(self) -> float:
        """Of training, those before a stop among them; until training is done."""
        known = self.place.train_s
        return known if self.place.done else known + time.perf_counter() - self._since

    def _take_up(self) -> Running[None]:
        """Put back what the newest checkpoint holds; without one, begin."""
        found = self.keeper.newest() if self.team.leads else None
        for sentence in self.keeper.set_aside:
            yield Said(sentence, "warning", noted=True)
        lines = b""
        found = handed_out(found, self.team)
        if found is not None:
            found.put_back(self.model, self.optimizer, self.best, self.scaler)
            self.place, lines = found.place, found.lines
            self.place.resumed_at.append(self.place.step)
            yield Said(f"{self.arm.name} goes on after step {self.place.step}.", noted=True)
        write_with(self.steps_file, lambda file: file.write_bytes(lines))
        self._since = time.perf_counter()

    def _fit(self) -> Iterator[Step]:
        """The steps that are left, first the one whose evaluation is."""
        place, settings, objective = self.place, self.settings, self.objective
        ids, done = objective.unit_ids, place.step

        def batches(epoch: int) -> Iterator[Batch]:
            return collate_epoch(
                ids,
                objective.collate,
                settings.batch_size,
                self.seed,
                epoch,
                settings.micro_batch,
                objective.lengths.tolist(),
                settings.group_by_length,
                done - epoch * self.per_epoch,
                (self.team.rank, self.team.size),
            )

        if self.by_trainer:
            return fit_by_trainer(
                self.model,
                batches,
                objective.loss,
                objective.count,
                self._rates(),
                epochs=self.epochs,
                steps_per_epoch=self.per_epoch,
                seed=self.seed,
                accelerator=self.compute.accelerator,
            )
        steps = fit(
            self.model,
            batches,
            objective.loss,
            objective.count,
            self.optimizer,
            make_schedule(settings.schedule, self.per_epoch * self.epochs, settings.warmup_share),
            epochs=self.epochs,
            steps_per_epoch=self.per_epoch,
            clip_norm=settings.clip_norm,
            seed=self.seed,
            accelerator=self.compute.accelerator,
            start=place.step,
            halvings=place.halvings,
            nonfinite=settings.nonfinite,
        )
        return chain([place.pending] if place.pending else [], steps)

    def _rates(self) -> Rates:
        options: Any = self.arm.options
        known = self.settings
        return Rates(
            options.learning_rate, known.weight_decay, known.schedule, known.warmup_share, known.clip_norm
        )

    def _steps(self, log: Appended, trackers: list[Any]) -> Running[None]:
        place, total, asked = (self.place, self.per_epoch * self.epochs, self.settings.evals_per_epoch)
        dev = self.shared.splits.dev
        places = {self.per_epoch * part // asked for part in range(1, asked + 1)}  # the end is one
        yield StageBegun("train", total, "steps", done=max(0, place.step - bool(place.pending)))
        if self.arm.method.probe and not place.step:
            # the fitted head itself is a candidate: training may only hurt
            found = yield from self._measure(dev)
            self._measured(0, 0.0, found)
        if place.done or (self.best.used_up and not place.pending):
            return
        steps = self._fit()
        while (step := self._next(steps)) is not None:
            if step is not place.pending:
                place.step, place.pending = step.step, step
                place.halvings += step.retries
                if step.retries:
                    yield Said(_cut_smaller(step), "warning", noted=True)
                if self.team.say(self.keeper.due and not self.by_trainer):
                    self.save()
            yield Advanced(1, f"loss {step.loss:.3f}")
            found = {}
            if (step.step - 1) % self.per_epoch + 1 in places:
                yield StageBegun("dev", len(dev))
                found = yield from self._measure(dev)
                self._measured(step.step, step.epoch, found)
            # from here to `pending = None` nothing is yielded: a stop finds all of it done, or none
            line = _line(step, found)
            log.write(json.dumps(line) + "\n")
            track(trackers, line, step.step)
            place.skipped += int(step.skipped)
            place.pending = None
            if found:
                yield StageBegun("train", total, "steps", done=step.step)
                yield Advanced(0, f"loss {step.loss:.3f}, dev {found['dev_loss']:.3f}")
            if self.best.used_up:
                break

    def _next(self, steps: Iterator[Step]) -> Step | None:
        """The next step; what stops it says which checkpoint is the last good one."""
        try:
            with self.compiled.in_force():
                step = next(steps, None)
            self.place.compile_s += self.compiled.spent_s()
            return step
        except RunError as error:
            raise RunError(
                error.where,
                error.found,
                error.allowed,
                f"{error.do} The last good checkpoint: {self.keeper.newest_name}.",
            ) from error

    def _measure(self, dev: Sequence[Example]) -> Running[dict[str, float]]:
        with whole_weights(self.model):
            return (yield from self.objective.measure(self.model, dev))

    def _measured(self, step: int, epoch: float, found: dict[str, float]) -> None:
        self.place.evaluations.append({"step": step, "epoch": epoch, **found})
        self.best.offer(self.model, found["dev_loss"], step)


def _cut_smaller(step: Step) -> str:
    return (
        f"Memory ran out in step {step.step}; it was taken again, and later ones are, in "
        f"{step.micro_batches} micro-batches: the same items, the same update (where there is dropout, "
        "other draws of it)."
    )


def _fingerprint(model: Any) -> list[float]:
    """Sums of the trainable weights, which training must change; no weight is copied whole."""
    return [
        sum(float(piece.double().sum()) for piece in own_part(p.detach()).flatten().split(AT_ONCE))
        for p in model.parameters()
        if p.requires_grad
    ]


def _line(step: Step, found: dict[str, float]) -> dict[str, Any]:
    """A step as steps.jsonl says it; a loss that is not finite is null."""
    return {
        "step": step.step,
        "epoch": step.epoch,
        "loss": step.loss if math.isfinite(step.loss) else None,
        "dev_loss": found.get("dev_loss"),
        "dev_accuracy": found.get("dev_accuracy"),
        "dev_f1": found.get("dev_f1"),
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "count": step.count,
        "tokens": step.tokens,
        "tokens_per_s": step.tokens_per_s,
        "time_s": step.time_s,
        "skipped": step.skipped,
        "micro_batches": step.micro_batches,
    }
