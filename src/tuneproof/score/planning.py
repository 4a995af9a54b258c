"""What more seeds or more test items would show of a difference.

In: a comparison. Out: the interval and the smallest detectable difference that it would have.
Knows nothing of: files, predictions, what seeds and items cost.

The variance over items falls with their number, that over seeds with theirs; both are taken as seen.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt

from tuneproof.score.intervals import combined_df, t_quantile
from tuneproof.score.power import smallest_detectable, smallest_detectable_mcnemar
from tuneproof.score.verdict import Comparison

MOST_ITEMS = 100.0  # times as many
MOST_SEEDS = 100


@dataclass(frozen=True)
class Projection:
    """A comparison with `items` test items and `seeds`; half its interval and `mde` in the metric's unit."""

    items: int
    seeds: int
    half_width: float
    mde: float


def project(comparison: Comparison, items: float = 1.0, seeds: int | None = None) -> Projection | None:
    """The comparison with `items` times as many items and `seeds` seeds (None: as it has).

    The MDE is corrected for the number of claims. None where the seeds' spread is unknown, because an arm
    that varies with the seed ran once, or the comparison is without its errors.
    """
    c = comparison
    seeds = c.seeds if seeds is None else seeds
    more_seeds = seeds != c.seeds
    if c.error is None or c.item_df is None or (more_seeds and c.single_runs):
        return None
    size, item_df = round(c.n * items), c.item_df * items
    level = c.corrected_level
    if c.test == "McNemar":
        discordance = (c.only_arm_right + c.only_over_right) / c.n
        half = t_quantile(c.level, item_df) * c.item_error / sqrt(items)
        return Projection(size, seeds, half, smallest_detectable_mcnemar(size, discordance, level, c.power))
    error, df = _error_and_df(c, items, seeds) if items != 1 or more_seeds else (c.error, c.df or item_df)
    half = t_quantile(c.level, df) * error
    return Projection(size, seeds, half, smallest_detectable(error, df, level, c.power))


def _error_and_df(comparison: Comparison, items: float, seeds: int) -> tuple[float, float]:
    c = comparison
    assert c.error is not None
    assert c.item_df is not None
    variances, degrees = [c.item_error**2 / items], [c.item_df * items]
    seed_variance = max(c.error**2 - c.item_error**2, 0.0)
    if seed_variance and c.seed_df:
        variances.append(seed_variance * c.seeds / seeds)
        degrees.append(c.seed_df * (seeds - 1) / (c.seeds - 1))
    return sqrt(sum(variances)), combined_df(variances, degrees, c.level, seeds)


def more_to_tell(comparison: Comparison) -> str:
    """What would detect a difference as large as the one seen, in words; empty if equality is shown."""
    c = comparison
    size = abs(c.difference)
    is_told = c.outcome != "cannot tell" or c.margin_outcome not in ("", "cannot tell")
    if not size or is_told or size >= c.mde or project(c) is None:
        return ""
    if options := [*_by_seeds(c, size), *_by_items(c, size)]:
        more = " or ".join(options)
        return f"With about {more} a difference as large as the one seen would probably be detected."
    most = f"{MOST_ITEMS:.0f} times the test items"
    subject = f"Neither {most} nor {MOST_SEEDS} seeds" if c.seed_df else f"Not even {most}"
    return f"{subject} would detect a difference as small as the one seen."


def _by_seeds(comparison: Comparison, size: float) -> list[str]:
    c = comparison
    steps = [partial(project, c, seeds=seeds) for seeds in range(c.seeds + 1, MOST_SEEDS + 1)]
    planned = _least(steps if c.seed_df else [], size)
    if planned is None:
        return []
    more = planned.seeds - c.seeds
    return [f"{more} more {'seed' if more == 1 else 'seeds'}"]


def _by_items(comparison: Comparison, size: float) -> list[str]:
    steps = [partial(project, comparison, items=MOST_ITEMS ** (step / 100)) for step in range(1, 101)]
    planned = _least(steps, size)
    if planned is None:
        return []
    grouped = " in new groups" if comparison.clusters else ""
    return [f"{_rounded(planned.items - comparison.n):,} more test items{grouped}"]


def _least(steps: Sequence[Callable[[], Projection | None]], size: float) -> Projection | None:
    """The first of the steps, from the cheapest on, that detects a difference of this size."""

    def detects(step: Callable[[], Projection | None]) -> bool:
        planned = step()
        return planned is not None and planned.mde <= size

    index = bisect_left(steps, True, key=detects)
    return steps[index]() if index < len(steps) else None


def _rounded(items: int) -> int:
    """Two digits, rounded up: the estimate has no more."""
    scale = 10 ** max(len(str(items)) - 2, 0)
    return ceil(items / scale) * scale
