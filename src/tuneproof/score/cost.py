"""Costs that are known up to an interval, and the number of items from which one arm pays against another.

In: costs an item and costs once. Out: break-evens. Knows nothing of: arms, prices, files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

SPREAD = (2.5, 97.5)  # percentiles of what was measured
Outcome = Literal["always", "never", "from", "up to", "cannot tell"]


@dataclass(frozen=True)
class Amount:
    """A cost with the spread of its measurements."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Amount":
        """As many times the amount."""
        return Amount(factor * self.value, factor * self.low, factor * self.high)

    def overlaps(self, other: "Amount") -> bool:
        """Whether the spreads have a value in common."""
        return self.low <= other.high and other.low <= self.high


def measured(values: Sequence[float]) -> Amount:
    """The mean of measurements, with the range that holds 95 % of them."""
    low, high = np.percentile(values, SPREAD)
    mean = float(np.mean(values))
    return Amount(mean, min(mean, float(low)), max(mean, float(high)))


@dataclass(frozen=True)
class BreakEven:
    """From ("from") or up to ("up to") how many items an arm is cheaper in all than another.

    items, low, high: their number with its interval, None where it has no end; "cannot tell": the costs an
    item do not differ by more than they spread.
    """

    outcome: Outcome
    items: float | None = None
    low: float | None = None
    high: float | None = None


def break_even(once: float, item: Amount, over_once: float, over_item: Amount) -> BreakEven:
    """Compare an arm with another by what each costs once and for an item.

    The interval is that of the difference between the costs of an item, whose ends are those of both spreads
    at their worst; what is paid once counts as exact.
    """
    extra = once - over_once
    gain, low, high = (over_item.value - item.value, over_item.low - item.high, over_item.high - item.low)
    if low < 0 < high:
        return BreakEven("cannot tell")
    if extra == 0 and gain == 0:
        return BreakEven("cannot tell")
    if (gain >= 0 and extra <= 0) or (gain <= 0 and extra >= 0):
        return BreakEven("always" if gain >= 0 and extra <= 0 else "never")
    ends = sorted(extra / end for end in (low, high) if end)
    open_ended = len(ends) < 2
    return BreakEven("from" if gain > 0 else "up to", extra / gain, ends[0], None if open_ended else ends[1])
