"""A row of the simulation's table, and the bars that its share must lie between.

In: a share of the studies of a setting. Out: a verdict on it. Knows nothing of: how studies are simulated.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.simulated_arms import World


@dataclass(frozen=True)
class Row:
    """What a setting gave: a share, the bars it must lie between, and whether the package warned."""

    world: World
    what: str
    share: float
    low: float
    high: float
    studies: int
    warned: bool

    def within(self, errors: float) -> bool:
        """Whether the share lies between the bars, give or take standard errors of the simulation."""
        bar = min(max(self.share, self.low), self.high)
        return abs(self.share - bar) <= errors * float(np.sqrt(bar * (1 - bar) / self.studies))

    @property
    def verdict(self) -> str:
        """'ok'; 'ok within simulation error'; 'warned', where the package says so; or 'VIOLATION'."""
        if self.within(errors=0):
            return "ok"
        if self.warned and self.what != "claims" and self.share >= 0.90:
            return "warned"
        return "ok within simulation error" if self.within(errors=2) else "VIOLATION"

    def __str__(self) -> str:
        return f"{self.world}  {self.what:10} {100 * self.share:5.1f} % of {self.studies:,}  {self.verdict}"


BARS = {"score": (0.93, 0.97), "no gap": (0.93, 0.97), "gap": (0.93, 0.97), "claims": (0.0, 0.05)}
