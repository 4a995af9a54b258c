"""The training loop: a generator of steps; everything else is the caller's next line.

In: a model, batches on the host, a loss as (sum, count), an optimizer, a schedule. Out: `Step`s.
Knows nothing of: tasks, methods, metrics, files.

    for step in fit(model, batches, loss, count, optimizer, schedule, ...):
        write(step)
        if step.step % every == 0 and best.offer(model, dev_loss(model), step.step).stop:
            break
    best.restore(model)
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from tuneproof.data.batches import Batch
from tuneproof.errors import NonfiniteError, RunError
from tuneproof.models.fsdp import clip_gradients
from tuneproof.models.oom import OOM_ADVICE, is_oom
from tuneproof.process_group import current_group
from tuneproof.train.accelerator import Accelerator, make_accelerator
from tuneproof.train.embeddings import RowGradients
from tuneproof.train.gradients import (
    WEIGHTS_STAY,
    BatchGradients,
    CountFn,
    GradientInputs,
    LossFn,
    compute_gradients,
    ids_text,
)
from tuneproof.train.optimizer import Schedule

Nonfinite = Literal["stop", "skip"]
BatchesFn = Callable[[int], Iterable[Batch]]


@dataclass(frozen=True)
class Step:
    """One optimizer update.

    step: from 1. epoch: passes over train so far (0.5 is half of the first). loss: mean per supervised unit
    of the effective batch, before the update. count: those units, or their weights. gradient_norm: L2, before
    clipping.
    tokens: read, without padding. time_s: without the caller's time. skipped: no weight moved, since fp16's
    scaled gradient overflowed, or `nonfinite` is skip; gradient_norm is None then. micro_batches: in the end.
    retries: how often they were halved in this step because memory ran out.
    """

    step: int
    epoch: float
    loss: float
    count: float
    learning_rate: float
    gradient_norm: float | None
    tokens: int
    time_s: float
    skipped: bool = False
    micro_batches: int = 1
    retries: int = 0

    @property
    def tokens_per_s(self) -> float:
        """Tokens read a second, without padding."""
        return self.tokens / self.time_s if self.time_s > 0 else 0.0


def fit(
    model: nn.Module,
    batches: BatchesFn,
    loss: LossFn,
    count: CountFn,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    epochs: int,
    steps_per_epoch: int,
    clip_norm: float,
    seed: int,
    accelerator: Accelerator | None = None,
    start: int = 0,
    halvings: int = 0,
    nonfinite: Nonfinite = "stop",
) -> Iterator[Step]:
    """Train; yields after every update, and continues with the next step on `next`.

    batches: epoch (from 0) → its effective batches, micro-batches collated and on the host. loss: (model,
    micro-batch on the device) → `LossSum`. count: supervised units of a micro-batch on the host: every
    micro-batch's sum is divided by the whole batch's count, so that 1×8, 2×4 and 8×1 are the same update.
    schedule: step from 0 → factor on the initial learning rates. clip_norm: bound of the gradient's global
    L2 norm. accelerator: its fp16 scaler is of this training alone (see `Accelerator.fresh`).
    start: steps already done; halvings: how often their micro-batches were halved.
    nonfinite: "skip" leaves out an update whose loss or gradient is not finite (`Step.skipped`) instead of
    stopping.

    Dropout is seeded by (seed, step): what the caller draws in between changes nothing, and a step can be
    repeated. `train()` is set again at every step. Of several processes (see `ProcessGroup`) each one's
    `batches` yield its part of every effective batch; the update is the same in all of them.

    When the device runs out of memory before the weights move, the step is repeated with every micro-batch
    halved, and so are all later ones. Without dropout the update is the same to rounding (1e-6); with it
    the masks differ, as with another `micro_batch`.

    Raises: RunError, the weights as before the step, where loss or gradient is not finite, a batch has
    nothing supervised, an epoch is not `steps_per_epoch` long, or one item does not fit the device.
    Source: transformers#34198 on the error in the mean of unequal micro-batches' means.
    """
    accelerator = accelerator or make_accelerator("auto", "fp32")
    _check_start(model)
    model.to(accelerator.device)
    loop = _Loop(
        model, loss, count, accelerator, seed, optimizer, schedule, clip_norm, steps_per_epoch, nonfinite
    )
    return _run_steps(loop, _numbered(batches, epochs, steps_per_epoch, start), halvings)


def _run_steps(loop: "_Loop", numbered: Iterable[tuple[int, Batch]], halvings: int) -> Iterator[Step]:
    """One update after the other; halvings: of every batch's micro-batches, so far."""
    with loop.row_gradients.active():
        for number, batch in numbered:
            for _ in range(halvings):
                batch = batch.halved() or batch
            start_s = time.perf_counter()
            loop.prepare_step(number)
            gradients = compute_gradients(loop, batch, number, loop.clear_gradients)
            step = _update_weights(loop, number, batch, gradients, start_s)
            halvings += step.retries
            yield step


@dataclass
class _Loop(GradientInputs):
    """What stays the same from step to step. initial_rates: the optimizer's own learning rates."""

    optimizer: torch.optim.Optimizer
    schedule: Schedule
    clip_norm: float
    steps_per_epoch: int
    nonfinite: Nonfinite

    def __post_init__(self) -> None:
        groups = self.optimizer.param_groups
        self.initial_rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        alone = current_group().world_size == 1  # other processes may read other rows
        self.row_gradients = RowGradients(self.model if alone else nn.Module())

    def prepare_step(self, number: int) -> None:
        """Training mode, and the schedule's learning rates of step `number` (from 1)."""
        self.model.train()
        factor = self.schedule(number - 1)
        for group, rate in zip(self.optimizer.param_groups, self.initial_rates, strict=True):
            group["lr"] = rate * factor

    def clear_gradients(self, all_rows: bool = False) -> None:
        """Remove the gradients. all_rows: also of embedding rows that were not read."""
        self.optimizer.zero_grad(set_to_none=True)
        self.row_gradients.clear(all_rows)


def _update_weights(
    loop: _Loop, number: int, batch: Batch, gradients: BatchGradients, start_s: float
) -> Step:
    """Clip the gradients and update the weights; start_s: when the step started."""
    scaler, optimizer = loop.accelerator.scaler, loop.optimizer
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    with _name_oom_of_update(number):
        if scaler is not None:
            scaler.unscale_(optimizer)
        norm = clip_gradients(trained, loop.clip_norm)
        # the only place where the host waits for the device
        mean_loss, gradient_norm = torch.stack((gradients.totals.loss, norm.float())).tolist()
        try:
            skipped = _update(loop, mean_loss, gradient_norm, batch, number)
        finally:
            loop.clear_gradients(all_rows=not math.isfinite(gradient_norm + mean_loss))
    return Step(
        step=number,
        epoch=number / loop.steps_per_epoch,
        loss=mean_loss,
        count=gradients.count,
        learning_rate=optimizer.param_groups[0]["lr"],
        gradient_norm=None if skipped else gradient_norm,
        tokens=gradients.totals.tokens,
        time_s=time.perf_counter() - start_s,
        skipped=skipped,
        micro_batches=len(gradients.batch.micro_batches),
        retries=gradients.retries,
    )


@contextmanager
def _name_oom_of_update(number: int) -> Iterator[None]:
    """Raises: RunError where memory runs out here: smaller micro-batches do not shrink AdamW's state."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        raise RunError(
            f"step {number}",
            "the device has too little memory for the gradients and the optimizer's state.",
            "Some weights may have moved: this run cannot go on.",
            f"Train fewer weights. {OOM_ADVICE}",
        ) from None


def _update(loop: _Loop, mean_loss: float, gradient_norm: float, batch: Batch, number: int) -> bool:
    """Move the weights; True where fp16's scaler or `nonfinite` skips the step instead."""
    scaler = loop.accelerator.scaler
    overflowed = not math.isfinite(gradient_norm)
    is_error = not math.isfinite(mean_loss) or (overflowed and scaler is None)
    if is_error and loop.nonfinite == "skip":
        if scaler is not None:
            scaler.update()
        return True
    if is_error:
        raise _not_finite_error(mean_loss, gradient_norm, batch, number)
    if scaler is None:
        loop.optimizer.step()
        return False
    scaler.step(loop.optimizer)
    scaler.update()
    if overflowed and scaler.get_scale() < 1:  # a smaller scale does not help
        raise _not_finite_error(mean_loss, gradient_norm, batch, number)
    return overflowed


def _numbered(
    batches: BatchesFn, epochs: int, steps_per_epoch: int, start: int
) -> Iterator[tuple[int, Batch]]:
    """(step from 1, batch) from the first step after `start` to the last."""
    for epoch in range(start // steps_per_epoch, epochs):
        number = epoch * steps_per_epoch
        for batch in batches(epoch):
            number += 1
            if number > start:
                yield number, batch
        count = number - epoch * steps_per_epoch
        if count != steps_per_epoch:
            raise RunError(
                f"epoch {epoch + 1}",
                f"has {count} batches where steps_per_epoch is {steps_per_epoch}.",
                do="Set steps_per_epoch to the number of batches.",
            )


def _check_start(model: nn.Module) -> None:
    half = [n for n, p in model.named_parameters() if p.requires_grad and p.dtype == torch.float16]
    if half:
        raise RunError(
            "fit",
            f"{len(half)} trained weights are float16, the first {half[0]}: updates would round to zero.",
            do="Load trained weights as float32; precision: fp16 still computes in float16.",
        )


def _not_finite_error(mean_loss: float, gradient_norm: float, batch: Batch, number: int) -> NonfiniteError:
    norm_text = f"gradient's norm is {gradient_norm}"
    value = norm_text if math.isfinite(mean_loss) else f"loss is {mean_loss}"
    return NonfiniteError(
        f"step {number}",
        f"the {value} in the batch of {ids_text(batch)}.",
        WEIGHTS_STAY,
        "Lower the learning rate, lengthen the warm-up, or check these items.",
    )
