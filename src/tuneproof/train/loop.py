"""The training loop: a generator of steps, so that everything else is the caller's next line.

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
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from tuneproof.data.batches import Batch
from tuneproof.errors import RunError
from tuneproof.models.oom import WAY_OUT, ran_out
from tuneproof.process_group import present
from tuneproof.train.embeddings import RowGradients
from tuneproof.train.gradients import CountFn, LossFn, LossSum, gradients, shown
from tuneproof.train.optimizer import Schedule

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["LossSum", "Step", "fit", "make_accelerator"]

Nonfinite = Literal["stop", "skip"]
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


BatchesFn = Callable[[int], Iterable[Batch]]


@dataclass(frozen=True)
class Step:
    """One optimizer update.

    step: from 1. epoch: passes over train so far (0.5 is half of the first). loss: mean per
    supervised unit of the effective batch, before the update. count: those units. learning_rate:
    of this update. gradient_norm: L2, before clipping. tokens: read, without padding. time_s: of
    this step, the caller's own time between steps not counted. skipped: no weight moved, since fp16's
    scaled gradient overflowed, or loss or gradient was not finite and `nonfinite` is skip;
    gradient_norm is None then. micro_batches: how many the batch was
    cut into; retries: how often in this step memory ran out and they were halved.
    """

    step: int
    epoch: float
    loss: float
    count: int
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


def make_accelerator(device: str, precision: str) -> "Accelerator":
    """Accelerate's view of this machine. `device`: cpu, or any other word for the best one there is.

    `precision`: fp32, bf16 or fp16; the last two are autocast, the trained weights stay float32.
    One process has one precision: Accelerate refuses a second one.
    """
    from accelerate import Accelerator

    return Accelerator(mixed_precision=PRECISIONS[precision], cpu=device == "cpu")


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
    accelerator: "Accelerator | None" = None,
    start: int = 0,
    halvings: int = 0,
    nonfinite: Nonfinite = "stop",
) -> Iterator[Step]:
    """Train; yields after every update, and goes on when asked for the next step.

    batches: epoch (from 0) → its effective batches, micro-batches collated and on the host.
    loss: (model, micro-batch on the device) → `LossSum`. count: supervised units of a micro-batch
    on the host; known before the first backward, so that every micro-batch's sum is divided by the
    whole batch's count and 1×8, 2×4 and 8×1 are one and the same update.
    schedule: step from 0 → factor on the rates that the optimizer came with.
    clip_norm: bound of the gradient's global L2 norm. start: steps already done; halvings: how often
    their micro-batches had been halved (the sum of their `retries`). nonfinite: "skip" leaves out an
    update whose loss or gradient is not finite (`Step.skipped`) instead of stopping.

    Random numbers (dropout) are seeded by (seed, step) at every step: what the caller draws in
    between changes nothing, and a step can be done again. `train()` is set again at every step.

    In several processes (see `Team`) each one's `batches` give its hand of every effective batch; the
    update is that of the whole batch, and the same in all of them.

    Where the device runs out of memory before the weights move, the step is done again with every
    micro-batch halved, and so are all later ones: the same sum over the same items. Without dropout the
    update is the same to rounding (1e-6); with it the masks are other draws, as with another `micro_batch`.

    Raises: RunError, the weights as before the step, where loss or gradient is not finite, a batch has
    nothing supervised, an epoch is not `steps_per_epoch` long, or one item does not fit the device.
    Source: transformers#34198 on what the mean of unequal micro-batches' means gets wrong.
    """
    accelerator = accelerator or make_accelerator("auto", "fp32")
    _check_start(model, optimizer, accelerator)
    model.to(accelerator.device)
    job = _Job(
        model,
        loss,
        count,
        optimizer,
        schedule,
        accelerator,
        clip_norm,
        seed,
        steps_per_epoch,
        [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups],
        RowGradients(model if present().size == 1 else nn.Module()),
        nonfinite,
    )

    def steps(halvings: int) -> Iterator[Step]:
        with job.rows.kept():
            for number, batch in _numbered(batches, epochs, steps_per_epoch, start):
                for _ in range(halvings):
                    batch = batch.halved() or batch
                step = _take(job, number, batch)
                halvings += step.retries
                yield step

    return steps(halvings)


@dataclass(frozen=True)
class _Job:
    """What stays the same from step to step; `rates` are those that the optimizer came with."""

    model: nn.Module
    loss: LossFn
    count: CountFn
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    accelerator: "Accelerator"
    clip_norm: float
    seed: int
    steps_per_epoch: int
    rates: list[float]
    rows: RowGradients
    nonfinite: Nonfinite

    def clear(self, whole: bool = False) -> None:
        """No gradients; `whole`: also where no row was read."""
        self.optimizer.zero_grad(set_to_none=True)
        self.rows.wipe(whole)


def _take(job: _Job, number: int, batch: Batch) -> Step:
    """One update by this batch."""
    begun = time.perf_counter()
    job.model.train()
    factor = job.schedule(number - 1)
    for group, rate in zip(job.optimizer.param_groups, job.rates, strict=True):
        group["lr"] = rate * factor
    scaler, optimizer = job.accelerator.scaler, job.optimizer
    done = gradients(job.model, batch, job.loss, job.count, job.accelerator, number, job.seed, job.clear)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    with _room_to_move(number):
        if scaler is not None:
            scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(trained, job.clip_norm)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        # The one place where the host waits for the device.
        mean_loss, gradient_norm = torch.stack((done.sums.loss, norm.float())).tolist()
        try:
            skipped = _update(job, mean_loss, gradient_norm, batch, number)
        finally:
            job.clear(whole=not math.isfinite(gradient_norm + mean_loss))
    return Step(
        step=number,
        epoch=number / job.steps_per_epoch,
        loss=mean_loss,
        count=done.count,
        learning_rate=optimizer.param_groups[0]["lr"],
        gradient_norm=None if skipped else gradient_norm,
        tokens=done.sums.tokens,
        time_s=time.perf_counter() - begun,
        skipped=skipped,
        micro_batches=len(done.batch.micro_batches),
        retries=done.retries,
    )


@contextmanager
def _room_to_move(number: int) -> Iterator[None]:
    """Smaller micro-batches are no help where gradients and the optimizer's state alone are too much.

    Raises: RunError.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise RunError(
            f"step {number}",
            "the device has too little memory for the gradients and the optimizer's state.",
            "Weights may have moved in part: this run is lost.",
            f"Train fewer weights. {WAY_OUT}",
        ) from None


def _update(job: _Job, mean_loss: float, gradient_norm: float, batch: Batch, number: int) -> bool:
    """Move the weights, or refuse to; true where fp16's scaler, or who asked for it, skipped the step."""
    scaler = job.accelerator.scaler
    overflowed = not math.isfinite(gradient_norm)
    bad_loss = not math.isfinite(mean_loss)
    if (bad_loss or (overflowed and scaler is None)) and job.nonfinite == "skip":
        if scaler is not None:
            scaler.update()
        return True
    if bad_loss:
        raise _not_finite("loss", mean_loss, batch, number)
    if overflowed and scaler is None:
        raise _not_finite("gradient's norm", gradient_norm, batch, number)
    if scaler is None:
        job.optimizer.step()
    else:
        scaler.step(job.optimizer)
        scaler.update()
        if overflowed and scaler.get_scale() < 1:  # no smaller scale will save it
            raise _not_finite("gradient's norm", gradient_norm, batch, number)
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
        found = number - epoch * steps_per_epoch
        if found != steps_per_epoch:
            raise RunError(
                f"epoch {epoch + 1}",
                f"{found} batches came where {steps_per_epoch} were announced.",
                do="Give steps_per_epoch the number of batches.",
            )


def _check_start(model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: "Accelerator") -> None:
    if accelerator.num_processes != present().size:
        raise RunError(
            "fit",
            f"{accelerator.num_processes} processes share this run, and it knows of {present().size}.",
            do="Call tuneproof.process_group.join(device) in each of them first.",
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise RunError(
            "fit",
            "the accelerator divides the loss by gradient_accumulation_steps, and so does the loop.",
            do="Leave gradient_accumulation_steps at 1 and give micro-batches.",
        )
    half = [n for n, p in model.named_parameters() if p.requires_grad and p.dtype == torch.float16]
    if half:
        raise RunError(
            "fit",
            f"{len(half)} trained weights are float16, the first {half[0]}: updates would round away.",
            do="Load what is trained as float32; precision: fp16 computes in float16 all the same.",
        )


def _not_finite(what: str, value: float, batch: Batch, number: int) -> RunError:
    return RunError(
        f"step {number}",
        f"the {what} is {value} in the batch of {shown(batch)}.",
        "The weights are still those from before this step.",
        "Lower the learning rate, lengthen the warm-up, or look at these items.",
    )
