"""Scores of a model that are not finite: which items they belong to.

In: items, their scores. Out: an error that names them. Knows nothing of: models, files, metrics.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError
from tuneproof.tasks.task import Example

NOT_FINITE = "are not finite (NaN or infinite)."
USE_FP32 = "Its numbers may exceed half precision: set compute: {precision: fp32}. Or use another model."
_EXAMPLES = 3


class NonfiniteItemsError(RunError):
    """The scores of some items, by their indices, are not finite."""

    def __init__(self, items: Sequence[int]) -> None:
        super().__init__("predictions", f"the scores of {len(items):,} items {NOT_FINITE}", do=USE_FP32)
        self.items = sorted(set(items))


def refuse_nonfinite_items(items: Sequence[int]) -> None:
    """Raises NonfiniteItemsError if there are any."""
    if len(items):
        raise NonfiniteItemsError([int(item) for item in items])


def refuse_nonfinite(examples: Sequence[Example], scores_N: NDArray[np.floating[Any]]) -> None:
    """Raises RunError naming the items with a score that is not finite; scores [N, ...]."""
    with naming_items(examples):
        rows = ~np.isfinite(scores_N.reshape(len(scores_N), -1)).all(axis=1)
        refuse_nonfinite_items(np.flatnonzero(rows).tolist())


@contextmanager
def naming_items(examples: Sequence[Example]) -> Iterator[None]:
    """Within it, an error about items by their indices names them."""
    try:
        yield
    except NonfiniteItemsError as error:
        names = ", ".join(examples[item].id for item in error.items[:_EXAMPLES])
        more = ", …" if len(error.items) > _EXAMPLES else ""
        count = f"{len(error.items):,} of {len(examples):,} items ({names}{more})"
        raise RunError("predictions", f"the model's scores of {count} {NOT_FINITE}", do=USE_FP32) from None
