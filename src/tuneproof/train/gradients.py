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
from tuneproof.models.device import on_device
from tuneproof.models.fsdp import is_sharded
from tuneproof.models.oom import WAY_OUT, give_back, tried
from tuneproof.process_group import FULL, GO_ON, Team, present

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

    Of several processes each has its hand of the batch; gradients, loss, counts and tokens are of the
    whole batch in all of them.
    """
    retries, team = 0, present()
    team.meet()
    while True:
        own = sum(count(micro_batch) for micro_batch in batch.micro_batches)
        total = _total_count(own, batch, number, team)
        fill = team.most(len(batch.micro_batches)) if is_sharded(model) else 0
        torch.manual_seed(seed_of(seed, number, team.rank))
        done, sums = _tried(
            model,
            team,
            lambda batch=batch, total=total, own=own, fill=fill: accumulate(  # type: ignore[misc]
                model, batch, loss, total, accelerator, number, own, fill
            ),
        )
        if done:
            assert sums is not None
            if not is_sharded(model):  # else the backward pass has
                team.sum_gradients(p for p in model.parameters() if p.requires_grad)
            return Tried(batch, total, _summed(sums, team), retries)
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


def _tried(model: nn.Module, team: Team, work: Callable[[], Sums]) -> tuple[bool, Sums | None]:
    """As `tried`, and False where memory ran out in any process.

    Raises: RunError where it ran out and the weights are shared out: the others wait in the middle of
    a pass, and cannot be told.
    """
    done, sums = tried(work)
    if not done and team.size > 1 and is_sharded(model):
        team.broken = True
        raise RunError(
            f"process {team.rank}",
            "ran out of memory in a model shared out over the processes.",
            do="Write train: {micro_batch: N} with a smaller N, or gradient_checkpointing: true.",
        )
    return FULL not in team.meet(GO_ON if done else FULL), sums


def _summed(sums: Sums, team: Team) -> Sums:
    if team.size == 1:
        return sums
    loss, tokens = team.totals([sums.loss.item(), sums.tokens])
    return Sums(torch.tensor(loss, device=sums.loss.device), int(tokens))


def accumulate(
    model: nn.Module,
    batch: Batch,
    loss: LossFn,
    total: int,
    accelerator: "Accelerator",
    number: int,
    own: int | None = None,
    fill: int = 0,
) -> Sums:
    """Forward and backward of every micro-batch; gradients and loss are means over `total` units.

    own: units of this process's micro-batches (None: all of them).
    fill: passes that every process makes at least, since each needs the others' shards of the weights;
    those beyond the batch are of one item that counts nothing.
    """
    mean_loss = torch.zeros((), device=accelerator.device)
    counted = tokens = 0
    own = total if own is None else own
    for micro_batch in batch.micro_batches:
        inputs = on_device(micro_batch, accelerator.device)
        with accelerator.autocast():
            part = loss(model, inputs)
        wide = torch.promote_types(part.sum.dtype, torch.float32)
        share = part.sum.to(wide) / total
        if share.requires_grad:  # a micro-batch without a supervised unit may have no graph
            accelerator.backward(share)
        mean_loss += share.detach()
        counted += part.count
        tokens += part.tokens
    for _ in range(fill - len(batch.micro_batches)):
        assert batch.collate is not None
        inputs = on_device(batch.collate(np.array([0])), accelerator.device)
        with accelerator.autocast():
            nothing = loss(model, inputs).sum * 0
        accelerator.backward(nothing)
    if counted != own:
        raise RunError(
            f"step {number}",
            f"the loss counted {counted} supervised units where the batch has {own}.",
            do="Let loss and count agree on what is supervised.",
        )
    return Sums(mean_loss, tokens)


def _total_count(own: int, batch: Batch, number: int, team: Team) -> int:
    total = int(team.totals([own])[0])
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


def seed_of(seed: int, number: int, rank: int = 0) -> int:
    """Of a step's random numbers; those of the first process are those of one alone."""
    parts = [seed, number, rank] if rank else [seed, number]
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
