"""The training of an arm: steps, evaluations on dev, checkpoints, and the best weights restored.

In: the arm's context, a model with its method applied, an objective. Out: steps.jsonl, what dev chose.
Knows nothing of: methods, predictions of test.

Where a stop is requested it writes a checkpoint and stops; from any checkpoint it continues to the same bits.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from tuneproof.arms.compile_layers import compile_layers, compile_message
from tuneproof.atomic import AppendFile, write_with
from tuneproof.context.arm_context import ArmContext
from tuneproof.data.batches import Batch, collate_epoch, count_batches
from tuneproof.data.class_weights import weighted_counts
from tuneproof.errors import RunError, StoppedError
from tuneproof.methods.linear_head import chosen_by
from tuneproof.methods.options import TunedOptions, uses_trainer
from tuneproof.models.compile import CompiledLayers
from tuneproof.models.device import float64_sum
from tuneproof.models.fsdp import gather_full_weights, local_part, unsharded
from tuneproof.objectives.objective import Objective
from tuneproof.process_group import current_group
from tuneproof.record.diagnose import diagnose_run, is_under_trained
from tuneproof.record.study_folder import read_steps
from tuneproof.settings import DEFAULT_EPOCHS, DEFAULT_MIN_STEPS, TrainSettings
from tuneproof.train.checkpoint import BestOnDev, Weights, capture_trained
from tuneproof.train.hf_trainer import TrainerSettings, fit_with_trainer
from tuneproof.train.loop import Step, fit
from tuneproof.train.optimizer import make_cycles, make_optimizer
from tuneproof.train.resume import CheckpointManager, TrainingState, broadcast_checkpoint
from tuneproof.train.trackers import open_trackers, track


class Training:
    """One arm's training; `state` is its progress at every moment."""

    def __init__(self, context: ArmContext, model: Any, objective: Objective) -> None:
        assert isinstance(context.options, TunedOptions)
        assert context.steps_file is not None
        assert context.checkpoints is not None
        self.context, self.model, self.objective = context, model, objective
        self.options: TunedOptions = context.options
        self.settings = context.recipe.train
        self.steps_file = context.steps_file
        self.checkpoints: CheckpointManager = context.checkpoints
        self.group = current_group()
        self.state = TrainingState()
        self.best = BestOnDev(patience=self.settings.patience)
        self.steps_per_epoch = count_batches(len(objective.item_ids), self.settings.batch_size)
        self.cycles = training_cycles(self.options, self.settings, self.steps_per_epoch)
        self.epochs = sum(self.cycles)
        rate = self.options.learning_rate
        assert isinstance(rate, float), "ArmRun has a number"
        self._rate = rate
        self.uses_trainer = uses_trainer(self.options)
        self.optimizer: Any = None  # the Trainer has its own
        if not self.uses_trainer:
            self.optimizer = make_optimizer(model, self._rate, self.settings.weight_decay)
        self.accelerator = context.compute.accelerator.fresh()
        self.scaler = self.accelerator.scaler
        self.compiled = CompiledLayers()
        self._resumed_s = time.perf_counter()

    def run(self) -> dict[str, Any]:
        """Train to the end, from the newest checkpoint if there is one. Returns what dev chose."""
        before = _weight_sums(self.model)
        state, monitor = self._resume(), self.context.monitor
        self.compiled = compile_layers(self.context, self.model)
        log = AppendFile(self.steps_file)
        total = self.steps_per_epoch * self.epochs
        folder = self.steps_file.parent
        names = self.settings.trackers if self.group.is_main else ()
        try:
            with open_trackers(names, folder.parent.parent, folder.name) as trackers:
                monitor.stage("train", total, "steps", done=max(0, state.step - bool(state.pending)))
                if self.context.arm.method.fits_head and not state.step:
                    self._evaluate(0, 0.0)  # the fitted head itself is a candidate: training may only hurt
                steps = self._remaining_steps()
                while not state.is_finished:
                    try:
                        with self.compiled.enabled():
                            step = next(steps, None)
                    except RunError as error:
                        raise self._with_last_checkpoint(error) from error
                    state.compile_s += self.compiled.take_compile_s()
                    if step is None:
                        break
                    self._after_step(step, log, trackers)
                    if self.best.is_patience_exhausted:
                        break
        except StoppedError:
            self.group.stop()
            self.save()
            raise
        finally:
            log.close(sync=True)
            self.compiled.close()
        return self._finish(before)

    def save(self) -> None:
        """Write a checkpoint of this moment; the Trainer keeps none."""
        if self.optimizer is None:
            return
        self.state.train_s, self._resumed_s = self._train_s(), time.perf_counter()
        lines = self.steps_file.read_bytes() if self.steps_file.is_file() else b""
        self.checkpoints.save(self.model, self.optimizer, self.best, self.state, lines, self.scaler)

    def gather_weights(self) -> Weights:
        """The best weights of a sharded model, gathered; its shards are freed.

        A checkpoint is written first, as none can be written afterwards.
        """
        self.save()
        trained = gather_full_weights(self.model, capture_trained(self.model))
        self.model = self.optimizer = None
        return trained

    def _train_s(self) -> float:
        """Seconds of training so far, those before a stop among them."""
        earlier = self.state.train_s
        return earlier if self.state.is_finished else earlier + time.perf_counter() - self._resumed_s

    def _resume(self) -> TrainingState:
        """Restore the newest checkpoint; without one, start."""
        monitor = self.context.monitor
        checkpoint = self.checkpoints.load_newest() if self.group.is_main else None
        for sentence in self.checkpoints.rejected:
            monitor.message(sentence, "warning", recorded=True)
        lines = b""
        checkpoint = broadcast_checkpoint(checkpoint, self.group)
        if checkpoint is not None:
            checkpoint.restore(self.model, self.optimizer, self.best, self.scaler)
            self.state, lines = checkpoint.state, checkpoint.lines
            self.state.resumed_at.append(self.state.step)
            if self.state.step < self.steps_per_epoch * self.epochs and not self.best.is_patience_exhausted:
                self.state.is_finished = False  # it was, with fewer epochs
            monitor.message(f"{self.context.arm.name} resumes after step {self.state.step}.", recorded=True)
        write_with(self.steps_file, lambda file: file.write_bytes(lines))
        self._resumed_s = time.perf_counter()
        return self.state

    def _remaining_steps(self) -> Iterator[Step]:
        """The steps that are left; first the one that was not evaluated before the stop."""
        state, settings, objective = self.state, self.settings, self.objective
        if state.is_finished or (self.best.is_patience_exhausted and not state.pending):
            return iter(())
        batches = epoch_batches(self.context, objective, state.step)
        if self.uses_trainer:
            return fit_with_trainer(
                self.model,
                batches,
                objective.loss,
                objective.count,
                TrainerSettings(
                    self._rate,
                    settings.weight_decay,
                    settings.schedule,
                    settings.warmup_share,
                    settings.clip_norm,
                ),
                epochs=self.epochs,
                steps_per_epoch=self.steps_per_epoch,
                seed=self.context.seed,
                accelerator=self.accelerator,
            )
        steps = fit(
            self.model,
            batches,
            objective.loss,
            objective.count,
            self.optimizer,
            make_cycles(
                settings.schedule,
                [epochs * self.steps_per_epoch for epochs in self.cycles],
                settings.warmup_share,
            ),
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            clip_norm=settings.clip_norm,
            seed=self.context.seed,
            accelerator=self.accelerator,
            start=state.step,
            halvings=state.halvings,
            nonfinite=settings.nonfinite,
        )
        return chain([state.pending] if state.pending else [], steps)

    def _after_step(self, step: Step, log: AppendFile, trackers: list[Any]) -> None:
        """Checkpoint, progress, evaluation and the line of one step."""
        state, monitor = self.state, self.context.monitor
        if step is not state.pending:
            state.step, state.pending = step.step, step
            state.halvings += step.retries
            if step.retries:
                monitor.message(_smaller_batches(step), "warning", recorded=True)
            if self.group.broadcast(self.checkpoints.is_due and not self.uses_trainer):
                self.save()
        monitor.progress(1, f"loss {step.loss:.3f}")
        values: dict[str, float] = {}
        parts = self.settings.evals_per_epoch
        evaluated = {self.steps_per_epoch * part // parts for part in range(1, parts + 1)}
        if (step.step - 1) % self.steps_per_epoch + 1 in evaluated:
            monitor.stage("dev", len(self.context.splits.dev))
            values = self._evaluate(step.step, step.epoch)
        # from here to `pending = None` the monitor is not called: a stop finds all of it done, or none
        line = _line(step, values)
        log.write(json.dumps(line) + "\n")
        track(trackers, line, step.step)
        state.skipped += int(step.skipped)
        state.pending = None
        if values:
            monitor.stage("train", self.steps_per_epoch * self.epochs, "steps", done=step.step)
            monitor.progress(0, f"loss {step.loss:.3f}, dev {values['dev_loss']:.3f}")

    def _evaluate(self, step: int, epoch: float) -> dict[str, float]:
        """Evaluate on dev; the weights are kept if they are the best so far."""
        with unsharded(self.model):
            values = self.objective.evaluate(self.model, self.context.splits.dev)
        self.state.evaluations.append({"step": step, "epoch": epoch, **values})
        self.best.record(self.model, values["dev_loss"], step)
        return values

    def _with_last_checkpoint(self, error: RunError) -> RunError:
        """The same error, naming the last good checkpoint."""
        do = f"{error.do} The last good checkpoint: {self.checkpoints.newest_name}."
        return RunError(error.where, error.problem, error.allowed, do)

    def _may_go_on(self) -> bool:
        """Whether the curves call for more training, which goes on from a checkpoint of the end."""
        if not self.group.is_main or self.checkpoints.every_s is None:
            return False
        steps = read_steps(self.steps_file)
        counts = self.context.splits.report["labels"]["train"] if self.context.study.kind == "labels" else {}
        counts = weighted_counts(self.settings.class_weights, counts)
        options = self.options.model_dump()
        return is_under_trained(diagnose_run(steps, self.state.evaluations, options, counts))

    def _finish(self, before: list[float]) -> dict[str, Any]:
        """Restore the best weights. Returns what dev chose.

        Raises: RunError where no weight changed.
        """
        state, monitor = self.state, self.context.monitor
        state.train_s, state.is_finished = self._train_s(), True
        is_final = bool(self.checkpoints.written) or self.checkpoints.is_due or self._may_go_on()
        if self.group.broadcast(not self.uses_trainer and is_final):
            self.save()
        if self.checkpoints.written:
            monitor.message(
                f"{self.checkpoints.written} checkpoints were written; they are deleted when the arm is "
                "finished.",
                level="detail",
                recorded=True,
            )
        if state.compile_s:
            monitor.message(compile_message(state.compile_s, bool(state.resumed_at)), recorded=True)
        changed = self.group.all_reduce_max(int(_weight_sums(self.model) != before))
        best_step = self.best.restore(self.model)
        if not changed:
            raise RunError(
                self.context.arm.name, "training changed no weight.", do="Raise the learning rate."
            )
        return {
            "step": best_step,
            "epoch": best_step / self.steps_per_epoch,
            "dev_loss": self.best.loss,
            "by": chosen_by(self.settings.class_weights is not None),
            "evaluations": state.evaluations,
            "steps_done": state.step,
            **({"steps_skipped": state.skipped} if state.skipped else {}),
        }


def epoch_batches(
    context: ArmContext, objective: Objective, start: int = 0
) -> Callable[[int], Iterator[Batch]]:
    """Epoch → its batches, or this process's part of them; those of the first `start` steps stay empty."""
    settings, group = context.recipe.train, current_group()
    steps_per_epoch = count_batches(len(objective.item_ids), settings.batch_size)

    def batches(epoch: int) -> Iterator[Batch]:
        return collate_epoch(
            objective.item_ids,
            objective.collate,
            settings.batch_size,
            context.seed,
            epoch,
            settings.micro_batch,
            objective.lengths.tolist(),
            settings.group_by_length,
            start - epoch * steps_per_epoch,
            (group.rank, group.world_size),
        )

    return batches


def training_cycles(options: TunedOptions, settings: TrainSettings, steps_per_epoch: int) -> tuple[int, ...]:
    """Epochs of each cycle of the schedule: the planned ones, then those added later."""
    epochs, min_steps = options.epochs or settings.epochs, settings.min_steps
    if min_steps is None:
        min_steps = DEFAULT_MIN_STEPS if epochs is None else 0
    return max(epochs or DEFAULT_EPOCHS, math.ceil(min_steps / steps_per_epoch)), *options.more_epochs


def _smaller_batches(step: Step) -> str:
    return (
        f"Out of memory in step {step.step}. The step was repeated in {step.micro_batches} micro-batches, "
        "and later steps use as many: the same items, the same update (with dropout, other random masks)."
    )


def _weight_sums(model: Any) -> list[float]:
    """Sums of the trainable weights, which training must change; no weight is copied whole."""
    return [float64_sum(local_part(p.detach())) for p in model.parameters() if p.requires_grad]


def _line(step: Step, values: dict[str, float]) -> dict[str, Any]:
    """A line of steps.jsonl; a loss that is not finite is null."""
    return {
        "step": step.step,
        "epoch": step.epoch,
        "loss": step.loss if math.isfinite(step.loss) else None,
        "dev_loss": values.get("dev_loss"),
        "dev_accuracy": values.get("dev_accuracy"),
        "dev_f1": values.get("dev_f1"),
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "count": step.count,
        "tokens": step.tokens,
        "tokens_per_s": step.tokens_per_s,
        "time_s": step.time_s,
        "skipped": step.skipped,
        "micro_batches": step.micro_batches,
    }
