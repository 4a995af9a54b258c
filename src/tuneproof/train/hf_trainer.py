"""The Hugging Face Trainer instead of the loop: the same batches, its own optimizer, schedule and clipping.

In: the arguments of `fit`. Out: the same `Step`s. Knows nothing of: tasks, methods, metrics, files.

Where our loop yields, the Trainer calls back: it runs in its own thread, which waits while the caller
handles a step.
"""

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tuneproof.errors import RunError
from tuneproof.train.accelerator import Accelerator
from tuneproof.train.gradients import CountFn, LossFn, LossSum, step_seed
from tuneproof.train.loop import BatchesFn, Step
from tuneproof.train.optimizer import ScheduleKind, warmup_steps

if TYPE_CHECKING:
    from transformers import TrainingArguments

# our name of a schedule: the Trainer's
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of the Trainer's optimizer and schedule; meanings as in the recipe."""

    learning_rate: float
    weight_decay: float
    schedule: ScheduleKind
    warmup_share: float
    clip_norm: float


def fit_with_trainer(
    model: nn.Module,
    batches: BatchesFn,
    loss: LossFn,
    count: CountFn,
    settings: TrainerSettings,
    *,
    epochs: int,
    steps_per_epoch: int,
    seed: int,
    accelerator: Accelerator,
) -> Iterator[Step]:
    """Train with transformers' Trainer; yields after every update, and continues on `next`.

    batches: as in `fit`, one micro-batch each: the Trainer's accumulation multiplies the gradients of a
    head (transformers#47688). Parameter groups, AdamW, schedule, clipping and autocast are the Trainer's
    own. Dropout is seeded at every step, as in `fit`, so that both draw the same masks.

    Raises: RunError where a loss or a gradient is not finite; the weights have moved by then. In fp16 a
    gradient that overflows is no error: the Trainer's loss scale halves, and the step is skipped.
    """
    exchange = _Exchange(loss, count)
    loader = _Epochs(batches, steps_per_epoch)
    folder = tempfile.gettempdir()  # the Trainer requires one that exists; nothing is written
    arguments = _training_arguments(
        settings, epochs, epochs * steps_per_epoch, accelerator, output_dir=folder, seed=seed
    )
    trainer = _make_trainer(model, loader, arguments, exchange)
    thread = Thread(target=exchange.run, args=(trainer,), daemon=True)
    thread.start()
    try:
        while (step := exchange.steps.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            yield step
            exchange.stop_requests.put(False)
    finally:
        exchange.stop_requests.put(True)  # the caller stops early
        thread.join()


@dataclass
class _Exchange:
    """The data between the Trainer's thread and the caller's. loss: of the current step."""

    loss_fn: LossFn
    count: CountFn
    steps: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    stop_requests: SimpleQueue[bool] = field(default_factory=SimpleQueue)
    loss: LossSum | None = None
    step_start: float = 0.0

    def run(self, trainer: Any) -> None:
        """Train in the thread; puts None at the end, or the error."""
        try:
            trainer.train()
        except BaseException as error:
            self.steps.put(error)
        else:
            self.steps.put(None)


class _Epochs:
    """The data loader of the Trainer: each iteration yields the batches of the next epoch."""

    def __init__(self, batches: BatchesFn, steps_per_epoch: int) -> None:
        self.batches, self.steps_per_epoch, self.epoch = batches, steps_per_epoch, 0

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        for batch in self.batches(epoch):
            (micro_batch,) = batch.micro_batches
            yield micro_batch


def _make_trainer(
    model: nn.Module, loader: _Epochs, arguments: "TrainingArguments", exchange: _Exchange
) -> Any:
    from transformers import PrinterCallback, Trainer, TrainerCallback

    class LoopTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            return loader

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            exchange.step_start = time.perf_counter()
            torch.manual_seed(step_seed(arguments.seed, self.state.global_step + 1))
            return super().training_step(model, inputs, num_items_in_batch)

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            exchange.loss = exchange.loss_fn(model, inputs)
            return exchange.loss.sum / exchange.count(inputs)

    class StepCallback(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in logs:
                return
            _check_finite(state.global_step, logs, fp16=arguments.fp16)
            assert exchange.loss is not None
            skipped = not math.isfinite(logs["grad_norm"])
            exchange.steps.put(
                Step(
                    step=state.global_step,
                    epoch=state.global_step / loader.steps_per_epoch,
                    loss=logs["loss"],
                    count=exchange.loss.count,
                    learning_rate=logs["learning_rate"],
                    gradient_norm=None if skipped else logs["grad_norm"],
                    tokens=exchange.loss.tokens,
                    time_s=time.perf_counter() - exchange.step_start,
                    skipped=skipped,
                )
            )
            if exchange.stop_requests.get():
                control.should_training_stop = True

    trainer = LoopTrainer(model, arguments, train_dataset=[None], callbacks=[StepCallback()])
    trainer.remove_callback(PrinterCallback)
    return trainer


def _check_finite(step: int, logs: dict[str, Any], fp16: bool) -> None:
    """Raises RunError where the loss, or the gradient in a precision that skips no step, is not finite."""
    if not math.isfinite(logs["loss"]):
        problem = f"the Trainer's loss is {logs['loss']}."
    elif not fp16 and not math.isfinite(logs["grad_norm"]):
        problem = f"the Trainer's gradient has a norm of {logs['grad_norm']}."
    else:
        return
    advice = "Lower the learning rate, lengthen the warm-up, or check these items."
    raise RunError(f"step {step}", problem, do=advice)


def _training_arguments(
    settings: TrainerSettings, epochs: int, total_steps: int, accelerator: Accelerator, **options: Any
) -> "TrainingArguments":
    from transformers import TrainingArguments

    precision = accelerator.mixed_precision
    arguments = TrainingArguments(
        num_train_epochs=epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=warmup_steps(total_steps, settings.warmup_share),
        max_grad_norm=settings.clip_norm,
        optim="adamw_torch",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=accelerator.device.type == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        **options,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one process uses one device
    return arguments
