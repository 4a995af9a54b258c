"""Progress as lines on standard error, for pipes and logs, where no bar is drawn.

In: a study's or an arm's events. Out: at most a line every half a minute. Knows nothing of: bars, results.
"""

import sys
import time
from collections.abc import Callable

from tuneproof.context.monitor import ArmStarted, Event, Progress, StageStarted
from tuneproof.context.time_left import about
from tuneproof.redact import printable

INTERVAL_S = 30.0


class ProgressLines:
    """Says how far the current stage is, unless it ends sooner."""

    def __init__(self, interval_s: float = INTERVAL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.interval_s, self.clock = interval_s, clock
        self.arm = ""
        self.stage = StageStarted("", None)
        self.done = 0
        self.started_at = self.printed_at = clock()

    def show(self, event: Event) -> None:
        """Take note of an event, and print a line if the last one is long ago."""
        now = self.clock()
        if isinstance(event, ArmStarted):
            self.arm = f"{event.number}/{event.total} {event.label} · "
        elif isinstance(event, StageStarted):
            self.stage, self.done, self.started_at = event, event.done, now
        elif isinstance(event, Progress):
            self.done += event.done
            if now - self.printed_at >= self.interval_s:
                self.printed_at = now
                print(printable(self._line(now, event.note)), file=sys.stderr, flush=True)

    def _line(self, now: float, note: str) -> str:
        rate = (self.done - self.stage.done) / max(now - self.started_at, 1e-9)
        total = "" if self.stage.total is None else f" of {self.stage.total:,}"
        parts = [f"{self.arm}{self.stage.name}: {self.done:,}{total} {self.stage.unit}", f"{rate:,.1f}/s"]
        if self.stage.total is not None and rate > 0:
            parts.append(f"{about(max(0, self.stage.total - self.done) / rate)} left in this stage")
        return ", ".join([*parts, note] if note else parts)
