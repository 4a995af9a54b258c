"""Out of memory: recognise the error, free the memory, and try again with smaller batches.

In: an error; items' lengths and a batch size. Out: batches that fit the device.
Knows nothing of: what is computed, losses, labels.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from tuneproof.data.batches import batch_by_length
from tuneproof.errors import RunError
from tuneproof.process_group import CONTINUE, OUT_OF_MEMORY, current_group

if TYPE_CHECKING:
    from tuneproof.models.resume_log import ResumeLog

T = TypeVar("T")
Work = Callable[[np.ndarray], T]
Batches = Sequence[np.ndarray]

# messages of the allocators of CUDA, MPS and XPU, of the CPU, and of cuBLAS
OOM_MESSAGES = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
OOM_ADVICE = (
    "`tuneproof memory MODEL` shows what fits: shorter texts (encode.max_length), half precision, lora."
)


def is_oom(error: BaseException) -> bool:
    """Whether an error means that a device, of any kind, is out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in OOM_MESSAGES)


def release_memory() -> None:
    """Free the memory of a failed computation; call it outside of the `except` that caught the error."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def run_or_oom(work: Callable[[], T]) -> tuple[bool, T | None]:
    """(True, the result of `work`), or (False, None) where the device ran out of memory.

    The error is dropped before this returns, and with it the tensors that its frames reference.
    """
    try:
        return True, work()
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
    return False, None


def _ignore(count: int) -> None:
    """Report nothing."""


@dataclass
class AdaptiveBatchSize:
    """How many items are on the device at once; halved when they do not fit.

    resume_log: finished batches of an earlier process, and where new ones are added. on_progress: called
    with the number of items of each finished batch. on_oom: called with a size that did not fit.
    """

    size: int
    resume_log: "ResumeLog | None" = None
    on_progress: Callable[[int], None] = _ignore
    on_oom: Callable[[int], None] = _ignore

    def follow_log(self) -> None:
        """Use the size of the log's next batch where it is smaller."""
        next_size = self.resume_log.next_size if self.resume_log is not None else None
        if next_size is not None:
            self.size = min(self.size, next_size)

    def count_items(self, rows: int, items: int) -> "AdaptiveBatchSize":
        """The same for batches of `rows` rows that belong to `items` items; progress counts whole items."""
        done_rows = done_items = 0

        def on_progress(count: int) -> None:
            nonlocal done_rows, done_items
            done_rows += count
            finished = items * done_rows // rows
            self.on_progress(finished - done_items)
            done_items = finished

        return replace(self, on_progress=on_progress)


def run_in_batches(
    lengths: Sequence[int], adaptive_size: AdaptiveBatchSize, work: Work[T], batches: Batches | None = None
) -> Iterator[tuple[np.ndarray, T]]:
    """(indices of the items, result of `work`) for every batch, longest items first.

    batches: indices of the items of each batch; by length where none are given. A batch that does not fit the
    device is halved, and so is every later one (`adaptive_size` changes); results stay the same.

    With several processes each works on different batches and all of them yield all results, which must
    be arrays. The resume log is not read then. Raises: RunError where a single item does not fit.
    """
    pending = list(batch_by_length(lengths, adaptive_size.size) if batches is None else batches)[::-1]
    run = _run_in_group if current_group().world_size > 1 else _run_alone
    return run(lengths, adaptive_size, work, pending)


def _run_alone(
    lengths: Sequence[int], adaptive_size: AdaptiveBatchSize, work: Work[T], pending: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, T]]:
    resume_log = adaptive_size.resume_log
    while pending:
        batch = pending.pop()
        adaptive_size.follow_log()
        if len(batch) > adaptive_size.size:
            pending += _split(batch, adaptive_size.size)[::-1]
            continue
        result: Any = resume_log.pop(batch) if resume_log is not None else None
        if result is None:
            fits, result = run_or_oom(lambda batch=batch: work(batch))  # type: ignore[misc]
            if not fits:
                release_memory()
                _halve(adaptive_size, [batch], lengths)
                pending.append(batch)
                continue
            if resume_log is not None:
                resume_log.add(batch, adaptive_size.size, result)
        yield batch, result
        adaptive_size.on_progress(len(batch))


def _run_in_group(
    lengths: Sequence[int], adaptive_size: AdaptiveBatchSize, work: Work[T], pending: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, T]]:
    """As `run_in_batches`: in every round each process works on one batch."""
    group = current_group()
    while pending:
        round_batches: list[np.ndarray] = []
        while pending and len(round_batches) < group.world_size:
            batch = pending.pop()
            if len(batch) > adaptive_size.size:
                pending += _split(batch, adaptive_size.size)[::-1]
            else:
                round_batches.append(batch)
        fits, own = True, None
        if group.rank < len(round_batches):
            fits, own = run_or_oom(lambda batch=round_batches[group.rank]: work(batch))  # type: ignore[misc]
        if OUT_OF_MEMORY in group.barrier(CONTINUE if fits else OUT_OF_MEMORY):
            release_memory()
            _halve(adaptive_size, round_batches, lengths)
            pending += round_batches[::-1]
            continue
        for batch, result in zip(round_batches, group.all_gather(own), strict=False):
            yield batch, result
            adaptive_size.on_progress(len(batch))


def _split(batch: np.ndarray, size: int) -> list[np.ndarray]:
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def _halve(adaptive_size: AdaptiveBatchSize, batches: Batches, lengths: Sequence[int]) -> None:
    """Set the size to half of the largest of these batches."""
    largest = max(len(batch) for batch in batches)
    if largest == 1:
        longest = max(lengths[batch[0]] for batch in batches)
        problem = f"the device has too little memory for a single item of {longest} tokens."
        raise RunError("predict", problem, do=OOM_ADVICE)
    adaptive_size.size = -(-largest // 2)
    adaptive_size.on_oom(largest)


def recompute_activations(model: Any) -> None:
    """Turn on gradient checkpointing: the backward pass computes activations again, for less memory.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    model.enable_input_require_grads()
    # transformers 5 renames it; older releases have only the old name
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
