"""The gradient of one effective batch, micro-batch by micro-batch, in smaller ones where memory ends.

In: a model, a batch on the host, a loss as (sum, count). Out: gradients as means over the batch's units.
Knows nothing of: optimizers, schedules, what is supervised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tuneproof.data.batches import Batch
from tuneproof.errors import RunError
from tuneproof.model.shortage import WAY_OUT, give_back, tried

if TYPE_CHECKING:
    from accelerate import Accelerator

IDS_SHOWN = 8


@dataclass(frozen=True)
class LossSum:
    """A micro-batch's loss: its sum over supervised units, and how many there were.

    A unit is an item for a head, a supervised token for a language model. `sum` is a scalar tensor
    with its graph; `tokens` counts what the model read, without padding.
    """

    sum: torch.Tensor
    count: int
    tokens: int


LossFn = Callable[[nn.Module, Any], LossSum]
CountFn = Callable[[Any], int]


@dataclass(frozen=True)
class Sums:
    """What the backward passes of one effective batch add up to."""

    loss: torch.Tensor
    tokens: int


@dataclass(frozen=True)
class Tried:
    """The gradients are there: the batch as it was cut in the end, its units, its sums, the retries."""

    batch: Batch
    count: int
    sums: Sums
    retries: int


def gradients(
    model: nn.Module,
    batch: Batch,
    loss: LossFn,
    count: CountFn,
    accelerator: "Accelerator",
    number: int,
    seed: int,
    clear: Callable[[], None],
) -> Tried:
    """Accumulate the batch's gradients; where memory runs out, again in half the micro-batches.

    clear: takes back what a pass that was broken off has added.
    """
    retries = 0
    while True:
        total = _total_count(batch, count, number)
        torch.manual_seed(_seed_of(seed, number))
        done, sums = tried(
            lambda batch=batch, total=total: accumulate(  # type: ignore[misc]
                model, batch, loss, total, accelerator, number
            )
        )
        if done:
            assert sums is not None
            return Tried(batch, total, sums, retries)
        clear()
        give_back()
        smaller = batch.halved()
        if smaller is None:
            raise RunError(
                f"step {number}",
                f"the device has too little memory for a micro-batch of {shown(batch)} one by one.",
                "The weights are still those from before this step.",
                f"Write train: {{gradient_checkpointing: true}}, or see what fits. {WAY_OUT}",
            )
        batch, retries = smaller, retries + 1


def accumulate(
    model: nn.Module,
    batch: Batch,
    loss: LossFn,
    total: int,
    accelerator: "Accelerator",
    number: int,
) -> Sums:
    """Forward and backward of every micro-batch; gradients and loss are means over `total` units."""
    from accelerate.utils import send_to_device

    mean_loss = torch.zeros((), device=accelerator.device)
    counted = tokens = 0
    for micro_batch in batch.micro_batches:
        inputs = send_to_device(micro_batch, accelerator.device)
        with accelerator.autocast():
            part = loss(model, inputs)
        wide = torch.promote_types(part.sum.dtype, torch.float32)
        share = part.sum.to(wide) / total
        if share.requires_grad:  # a micro-batch without a supervised unit may have no graph
            accelerator.backward(share)
        mean_loss += share.detach()
        counted += part.count
        tokens += part.tokens
    if counted != total:
        raise RunError(
            f"step {number}",
            f"the loss counted {counted} supervised units where the batch has {total}.",
            do="Let loss and count agree on what is supervised.",
        )
    return Sums(mean_loss, tokens)


def _total_count(batch: Batch, count: CountFn, number: int) -> int:
    total = sum(count(micro_batch) for micro_batch in batch.micro_batches)
    if total < 1:
        raise RunError(
            f"step {number}",
            f"nothing is supervised in the batch of {shown(batch)}: its loss would be 0 / 0.",
            do="Look at how these items are encoded; a longer max_length may save their labels.",
        )
    return total


def shown(batch: Batch) -> str:
    more = len(batch.ids) - IDS_SHOWN
    return ", ".join(batch.ids[:IDS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
