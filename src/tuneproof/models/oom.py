"""A device that runs out of memory: known by its error, given its memory back, asked for less.

In: an error; items' lengths and how many may be on the device at once. Out: batches that fit it.
Knows nothing of: what is computed, losses, labels.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from tuneproof.data.batches import by_length
from tuneproof.errors import RunError
from tuneproof.process_group import FULL, GO_ON, Team, present

if TYPE_CHECKING:
    from tuneproof.models.resume_log import Journal

T = TypeVar("T")

# What the allocators of CUDA, MPS and XPU, of the CPU, and cuBLAS's own say.
SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
WAY_OUT = "`tuneproof fit MODEL` says what fits: shorter texts (encode.max_length), half precision, lora."


def ran_out(error: BaseException) -> bool:
    """Whether an error means that the device has no memory left, whichever device it is."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def give_back() -> None:
    """Free what a failed computation left behind; call it outside of the `except` that caught it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def tried(work: Callable[[], T]) -> tuple[bool, T | None]:
    """(True, what `work` returns), or (False, None) where the device ran out of memory.

    The error is gone when this returns, and with it the tensors that its frames held.
    """
    try:
        return True, work()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
    return False, None


@dataclass
class AtOnce:
    """How many items may be on the device at once; `too_many` holds the numbers that did not fit.

    kept: where finished batches are kept, and found again.
    """

    size: int
    too_many: list[int] = field(default_factory=list)
    kept: "Journal | None" = None


def in_batches(
    lengths: Sequence[int],
    at_once: AtOnce,
    work: Callable[[np.ndarray], T],
    batches: Sequence[np.ndarray] | None = None,
) -> Iterator[tuple[np.ndarray, T]]:
    """(positions of the items, what `work` makes of them) for every batch, longest items first.

    batches: which items go together; by length where none are given.

    A batch that does not fit the device is halved, and so is every later one; `at_once` takes note.
    What is computed is the same: an item's row does not depend on its neighbours.

    Of several processes each works on other batches, and all of them get what all made: arrays. What is
    kept on disk is not looked for then.

    Raises: RunError where a single item does not fit.
    """
    waiting = list(by_length(lengths, at_once.size) if batches is None else batches)[::-1]
    kept = at_once.kept
    if present().size > 1:
        yield from _dealt(lengths, at_once, work, waiting, present())
        return
    while waiting:
        batch = waiting.pop()
        if kept is not None and kept.next_size is not None:
            at_once.size = min(at_once.size, kept.next_size)
        if len(batch) > at_once.size:
            waiting += _cut(batch, at_once.size)[::-1]
            continue
        known: Any = kept.take(batch) if kept is not None else None
        if known is not None:
            yield batch, known
            continue
        done, found = tried(lambda batch=batch: work(batch))  # type: ignore[misc]
        if done:
            if kept is not None:
                kept.add(batch, at_once.size, found)  # type: ignore[arg-type]
            yield batch, found  # type: ignore[misc]
            continue
        give_back()
        _ask_for_less(at_once, [batch], lengths)
        waiting.append(batch)


def _dealt(
    lengths: Sequence[int],
    at_once: AtOnce,
    work: Callable[[np.ndarray], T],
    waiting: list[np.ndarray],
    team: Team,
) -> Iterator[tuple[np.ndarray, T]]:
    """The same by several processes: a batch each, round after round."""
    while waiting:
        dealt: list[np.ndarray] = []
        while waiting and len(dealt) < team.size:
            batch = waiting.pop()
            if len(batch) > at_once.size:
                waiting += _cut(batch, at_once.size)[::-1]
            else:
                dealt.append(batch)
        done, found = True, None
        if team.rank < len(dealt):
            done, found = tried(lambda batch=dealt[team.rank]: work(batch))  # type: ignore[misc]
        if FULL in team.meet(GO_ON if done else FULL):
            give_back()
            _ask_for_less(at_once, dealt, lengths)
            waiting += dealt[::-1]
            continue
        yield from zip(dealt, team.gather(found), strict=False)


def _cut(batch: np.ndarray, size: int) -> list[np.ndarray]:
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def _ask_for_less(at_once: AtOnce, batches: Sequence[np.ndarray], lengths: Sequence[int]) -> None:
    """Half as many items at once as the largest of these batches had."""
    most = max(len(batch) for batch in batches)
    if most == 1:
        longest = max(lengths[batch[0]] for batch in batches)
        raise RunError(
            "predict", f"the device has too little memory for a single item of {longest} tokens.", do=WAY_OUT
        )
    at_once.too_many.append(most)
    at_once.size = -(-most // 2)


def recompute_activations(model: Any) -> None:
    """Let the backward pass compute activations again instead of keeping them: less memory, more time.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    model.enable_input_require_grads()
    # transformers 5 renames it; older releases know the old name alone
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
