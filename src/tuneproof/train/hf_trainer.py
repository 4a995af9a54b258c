"""The Hugging Face Trainer in the loop's place: the same batches, its own optimizer, schedule and clipping.

In: what `fit` takes. Out: the same `Step`s. Knows nothing of: tasks, methods, metrics, files.

The Trainer calls back where ours yields: it runs in a thread of its own, which waits while the caller has
the step in hand.
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
from tuneproof.train.gradients import CountFn, LossFn, LossSum, seed_of
from tuneproof.train.loop import BatchesFn, Step
from tuneproof.train.optimizer import ScheduleKind, warmup_steps

if TYPE_CHECKING:
    from accelerate import Accelerator

# our names of the schedules: the Trainer's
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class Rates:
    """What the Trainer makes its optimizer and schedule of; meanings as in the recipe."""

    learning_rate: float
    weight_decay: float
    schedule: ScheduleKind
    warmup_share: float
    clip_norm: float


def fit_by_trainer(
    model: nn.Module,
    batches: BatchesFn,
    loss: LossFn,
    count: CountFn,
    rates: Rates,
    *,
    epochs: int,
    steps_per_epoch: int,
    seed: int,
    accelerator: "Accelerator",
) -> Iterator[Step]:
    """Train by transformers' Trainer; yields after every update, and goes on when asked for the next.

    batches: as `fit` takes them, a micro-batch each: the Trainer's accumulation multiplies what a head
    learns (transformers#47688). Groups of weights, AdamW, schedule, clipping and autocast are the Trainer's
    own. Dropout is seeded a step, as in `fit`, so that both draw the same masks.

    Raises: RunError where a loss is not finite; by then the weights have moved.
    """
    told = _Told()
    with tempfile.TemporaryDirectory() as folder:  # the Trainer wants one; nothing is written
        trainer = _trainer(
            model,
            _Epochs(batches, steps_per_epoch),
            loss,
            count,
            rates,
            epochs,
            seed,
            accelerator,
            told,
            folder,
        )
        thread = Thread(target=told.run, args=(trainer,), daemon=True)
        thread.start()
        try:
            while (step := told.steps.get()) is not None:
                if isinstance(step, BaseException):
                    raise step
                yield step
                told.answers.put(False)
        finally:
            told.answers.put(True)  # where the caller wants no more
            thread.join()


@dataclass
class _Told:
    """What the Trainer's thread and the caller's tell each other; `last` is the loss of this step."""

    steps: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    answers: SimpleQueue[bool] = field(default_factory=SimpleQueue)
    last: LossSum | None = None
    begun: float = 0.0

    def run(self, trainer: Any) -> None:
        """The thread: train, and say that the end is reached, or what went wrong."""
        try:
            trainer.train()
        except BaseException as error:
            self.steps.put(error)
        else:
            self.steps.put(None)


class _Epochs:
    """The batches of every epoch in turn, as the Trainer asks a loader for them."""

    def __init__(self, batches: BatchesFn, steps_per_epoch: int) -> None:
        self.batches, self.steps_per_epoch, self.epoch = batches, steps_per_epoch, 0

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        for batch in self.batches(epoch):
            (whole,) = batch.micro_batches
            yield whole


def _trainer(
    model: nn.Module,
    loader: _Epochs,
    loss: LossFn,
    count: CountFn,
    rates: Rates,
    epochs: int,
    seed: int,
    accelerator: "Accelerator",
    told: _Told,
    folder: str,
) -> Any:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class Ours(Trainer):
        def get_train_dataloader(self) -> Any:
            return loader

        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            told.begun = time.perf_counter()
            torch.manual_seed(seed_of(seed, self.state.global_step + 1))
            return super().training_step(model, inputs, num_items_in_batch)

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            told.last = loss(model, inputs)
            return told.last.sum / count(inputs)

    class Telling(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise RunError(
                    f"step {state.global_step}",
                    f"the Trainer's loss is {logs['loss']}.",
                    do="Lower the learning rate, lengthen the warm-up, or look at these items.",
                )
            assert told.last is not None
            told.steps.put(
                Step(
                    step=state.global_step,
                    epoch=state.global_step / loader.steps_per_epoch,
                    loss=logs["loss"],
                    count=told.last.count,
                    learning_rate=logs["learning_rate"],
                    gradient_norm=logs["grad_norm"],
                    tokens=told.last.tokens,
                    time_s=time.perf_counter() - told.begun,
                )
            )
            if told.answers.get():
                control.should_training_stop = True

    precision = accelerator.mixed_precision
    arguments = TrainingArguments(
        folder,
        num_train_epochs=epochs,
        learning_rate=rates.learning_rate,
        weight_decay=rates.weight_decay,
        lr_scheduler_type=SCHEDULES[rates.schedule],
        warmup_steps=warmup_steps(epochs * loader.steps_per_epoch, rates.warmup_share),
        max_grad_norm=rates.clip_norm,
        optim="adamw_torch",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=accelerator.device.type == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        seed=seed,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one process, one device: no copies on the others
    trainer = Ours(model, arguments, train_dataset=[None], callbacks=[Telling()])
    trainer.remove_callback(PrinterCallback)
    return trainer
