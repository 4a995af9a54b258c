"""Two ways of doing the same work in turn, and the ratio of their times.

In: two functions, how often, what must agree. Out: a line of the table.
Knows nothing of: what is measured.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Timed = tuple[float, Any]  # seconds, what it found


def timed(work: Callable[[], Any], device: str = "cpu") -> Timed:
    """Seconds of `work` and what it returns: of the process on a CPU, else by the clock, the device idle."""
    synchronize(device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    result = work()
    synchronize(device)
    return clock() - started, result


def synchronize(device: str) -> None:
    """Wait until a GPU has done what was asked of it."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


@dataclass(frozen=True)
class Alternation:
    """How many times our time theirs was, our seconds and how far the results lay apart, turn by turn."""

    ratios: list[float]
    seconds: list[float]
    far: float

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def spread(self) -> str:
        """The median, lowest and highest ratio."""
        return f"{self.ratio:6.2f}x ({min(self.ratios):.2f} to {max(self.ratios):.2f})"


def alternate(
    times: int,
    ours: Callable[[], Timed],
    theirs: Callable[[], Timed],
    apart: Callable[[Any, Any], float] | None = None,
) -> Alternation:
    """Both in turn, ours first in every other one. apart: how far the results lie apart; None: no matter."""
    ratios, seconds = [], []
    far = 0.0
    for turn in range(times):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        results = {first: first(), second: second()}
        ratios.append(results[theirs][0] / results[ours][0])
        seconds.append(results[ours][0])
        if apart is not None:
            far = max(far, apart(results[ours][1], results[theirs][1]))
    return Alternation(ratios, seconds, far)


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
    turns = alternate(times, ours, theirs, apart)
    mark = "" if to_reach is None else f"  to reach {to_reach:g}{_judged(turns.ratio, to_reach)}"
    agreement = "" if apart is None else f"; apart {turns.far:.1e} (bar {bar:.0e})"
    print(
        f"{name:<58}{turns.spread}  ours {statistics.median(turns.seconds):.2f} s{mark}{agreement}",
        flush=True,
    )
    return turns.far <= bar


def _judged(median: float, to_reach: float) -> str:
    return "" if median >= to_reach else ", short of it"


def widest(ours: Any, theirs: Any) -> float:
    """Largest difference of two sequences of numbers of one length."""
    return max((abs(a - b) for a, b in zip(ours, theirs, strict=True)), default=0.0)
