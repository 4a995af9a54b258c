"""Two ways of doing the same work in turn, and the ratio of their process-CPU times.

In: two functions, how often, what must agree. Out: a line of the table.
Knows nothing of: what is measured.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

Timed = tuple[float, Any]  # process-CPU seconds, what it found


def timed(work: Callable[[], Any]) -> Timed:
    """Process-CPU seconds of `work` and what it returns."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def row(
    name: str,
    times: int,
    ours: Callable[[], Timed],
    theirs: Callable[[], Timed],
    to_reach: float | None = None,
    apart: Callable[[Any, Any], float] | None = None,
    bar: float = 0.0,
) -> bool:
    """Alternate, print how many times our time theirs is; false where results lie apart.

    apart: how far what we and they found differs, to be at most `bar`; None: nothing to compare.
    """
    ratios, seconds = [], []
    far = 0.0
    for turn in range(times):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        results = {first: first(), second: second()}
        ratios.append(results[theirs][0] / results[ours][0])
        seconds.append(results[ours][0])
        if apart is not None:
            far = max(far, apart(results[ours][1], results[theirs][1]))
    median = statistics.median(ratios)
    mark = "" if to_reach is None else f"  to reach {to_reach:g}{_judged(median, to_reach)}"
    agreement = "" if apart is None else f"; apart {far:.1e} (bar {bar:.0e})"
    print(
        f"{name:<58}{median:6.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
        f"  ours {statistics.median(seconds):.2f} s{mark}{agreement}",
        flush=True,
    )
    return far <= bar


def _judged(median: float, to_reach: float) -> str:
    return "" if median >= to_reach else ", short of it"


def widest(ours: Any, theirs: Any) -> float:
    """Largest difference of two sequences of numbers of one length."""
    return max((abs(a - b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
