"""What a metric is: a sum over items, and a formula on the sum.

In: nothing. Out: the types that every metric on the shelf fills in.
Knows nothing of: models, files, intervals.

A metric is written as two plain functions, so that ten thousand bootstrap draws are one matrix
product: `per_item` turns N items into statistics [N, K]; `from_totals` turns totals [..., K],
sums of those statistics over any (re)sample, into values [...].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

UNPARSED = -1


@dataclass(frozen=True)
class LabelItems:
    """What label metrics see: N items, C labels.

    `gold_N` in 0..C-1; `predicted_N` in 0..C-1 or UNPARSED; `probabilities_NC` rows sum to one,
    or None where the method gives none (majority, generated answers).
    """

    labels: tuple[str, ...]
    gold_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]
    probabilities_NC: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Metric:
    """One item of the shelf. `direction` says which end is better; `low` and `high` bound the value."""

    name: str
    title: str
    needs: Literal["predicted", "probabilities"]
    direction: Literal["up", "down"]
    low: float
    high: float
    per_item: Callable[[LabelItems], NDArray[np.float64]]
    from_totals: Callable[[NDArray[np.float64], int], NDArray[np.float64]]
    paper: str
    binary_only: bool = False
