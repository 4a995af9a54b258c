"""The gradient of one effective batch, accumulated over micro-batches that shrink when memory runs out.

In: a model, a batch on the host, a loss as (sum, count). Out: gradients as means over the batch's units.
Knows nothing of: optimizers, schedules, what is supervised.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tuneproof.data.batches import Batch
from tuneproof.errors import RunError
from tuneproof.models.device import to_device
from tuneproof.models.fsdp import is_sharded, trained_whole
from tuneproof.models.oom import OOM_ADVICE, is_oom, release_memory
from tuneproof.process_group import CONTINUE, OUT_OF_MEMORY, ProcessGroup, current_group
from tuneproof.train.accelerator import Accelerator

MAX_IDS = 8  # in an error message
WEIGHTS_STAY = "The weights are still those from before this step."


@dataclass(frozen=True)
class LossSum:
    """A micro-batch's loss as a scalar with its graph, summed over `count` supervised units.

    A unit is an item for a head, a supervised token for a language model; where classes have weights, `count`
    is the sum of the units' weights. tokens: without padding.
    """

    sum: torch.Tensor
    count: float
    tokens: int


LossFn = Callable[[nn.Module, Any], LossSum]
CountFn = Callable[[Any], float]


@dataclass(frozen=True)
class LossTotals:
    """Mean loss and tokens of one effective batch."""

    loss: torch.Tensor
    tokens: int


@dataclass(frozen=True)
class BatchGradients:
    """The gradients are on the parameters; this is the batch as split in the end, its units and totals."""

    batch: Batch
    count: float
    totals: LossTotals
    retries: int


@dataclass
class GradientInputs:
    """What the gradients of every step are computed from."""

    model: nn.Module
    loss: LossFn
    count: CountFn
    accelerator: Accelerator
    seed: int


def compute_gradients(
    inputs: GradientInputs, batch: Batch, step: int, clear: Callable[[], None]
) -> BatchGradients:
    """Accumulate the batch's gradients; out of memory, `clear` them and try again with micro-batches halved.

    Each process has its part of the batch; gradients and totals are of the whole batch in all of them.
    """
    retries, group, model = 0, current_group(), inputs.model
    group.barrier()
    while True:
        own = sum(inputs.count(micro_batch) for micro_batch in batch.micro_batches)
        total = _total_count(own, batch, step, group)
        passes = group.all_reduce_max(len(batch.micro_batches)) if is_sharded(model) else 0
        torch.manual_seed(step_seed(inputs.seed, step, group.rank))
        totals = None
        try:
            totals = accumulate_gradients(
                model, batch, inputs.loss, total, inputs.accelerator, step, own, passes
            )
        except (RuntimeError, MemoryError) as error:  # gone after this block, and its tensors with it
            if not is_oom(error):
                raise
        if _fits_in_group(model, group, totals is not None):
            assert totals is not None
            group.all_reduce_gradients(trained_whole(model))
            return BatchGradients(batch, total, _reduce_totals(totals, group), retries)
        clear()
        release_memory()
        smaller = batch.halved()
        if smaller is None:
            problem = f"the device has too little memory for a micro-batch of {ids_text(batch)} one by one."
            advice = f"Write train: {{gradient_checkpointing: true}}. {OOM_ADVICE}"
            raise RunError(f"step {step}", problem, WEIGHTS_STAY, advice)
        batch, retries = smaller, retries + 1


def _fits_in_group(model: nn.Module, group: ProcessGroup, fits: bool) -> bool:
    """Whether the batch fitted the memory of every process; fits: of this one.

    Raises: RunError where a sharded model is out of memory: other processes wait in the middle of a pass.
    """
    if not fits and group.world_size > 1 and is_sharded(model):
        group.broken = True
        raise RunError(
            f"process {group.rank}",
            "ran out of memory in a model that is sharded over the processes.",
            do="Write train: {micro_batch: N} with a smaller N, or gradient_checkpointing: true.",
        )
    return OUT_OF_MEMORY not in group.barrier(CONTINUE if fits else OUT_OF_MEMORY)


def _reduce_totals(totals: LossTotals, group: ProcessGroup) -> LossTotals:
    if group.world_size == 1:
        return totals
    loss, tokens = group.all_reduce_sum([totals.loss.item(), totals.tokens])
    return LossTotals(torch.tensor(loss, device=totals.loss.device), int(tokens))


def accumulate_gradients(
    model: nn.Module,
    batch: Batch,
    loss: LossFn,
    total: float,
    accelerator: Accelerator,
    step: int,
    own: float | None = None,
    passes: int = 0,
) -> LossTotals:
    """Forward and backward of every micro-batch; gradients and loss are means over `total` units.

    own: units of this process's micro-batches (None: all of them).
    passes: that every process makes at least, since each needs the others' shards of the weights; those
    beyond the batch are of one item that counts nothing.
    """
    mean_loss = torch.zeros((), device=accelerator.device)
    counted, tokens = 0.0, 0
    own = total if own is None else own
    for micro_batch in batch.micro_batches:
        inputs = to_device(micro_batch, accelerator.device)
        with accelerator.autocast():
            part = loss(model, inputs)
        dtype = torch.promote_types(part.sum.dtype, torch.float32)
        share = part.sum.to(dtype) / total
        if share.requires_grad:  # a micro-batch without a supervised unit may have no graph
            accelerator.backward(share)
        mean_loss += share.detach()
        counted += part.count
        tokens += part.tokens
    for _ in range(passes - len(batch.micro_batches)):
        assert batch.collate is not None
        inputs = to_device(batch.collate(np.array([0])), accelerator.device)
        with accelerator.autocast():
            zero = loss(model, inputs).sum * 0
        accelerator.backward(zero)
    if counted != own:
        problem = f"the loss counted {counted:g} supervised units where the batch has {own:g}."
        raise RunError(f"step {step}", problem, do="Let loss and count agree on what is supervised.")
    return LossTotals(mean_loss, tokens)


def _total_count(own: float, batch: Batch, step: int, group: ProcessGroup) -> float:
    """The units of the whole batch: a whole number unless they have weights."""
    total = float(group.all_reduce_sum([own])[0])
    if total <= 0:
        problem = f"nothing is supervised in the batch of {ids_text(batch)}: its loss would be 0 / 0."
        advice = "Check how these items are encoded; a longer max_length may keep their labels."
        raise RunError(f"step {step}", problem, do=advice)
    return int(total) if total.is_integer() else total


def ids_text(batch: Batch) -> str:
    """The batch's ids for an error message, the first of them where there are many."""
    more = len(batch.ids) - MAX_IDS
    return ", ".join(batch.ids[:MAX_IDS]) + (f" and {more} more" if more > 0 else "")


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """The seed of a step's random numbers; the main process has that of a single process."""
    parts = [seed, step, rank] if rank else [seed, step]
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
