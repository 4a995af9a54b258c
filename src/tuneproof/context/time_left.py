"""How long a running study still takes: predicted seconds, corrected by what finished arms took.

In: predicted seconds by arm, then what happens. Out: the share that is done, the seconds left, in words.
Knows nothing of: how seconds are predicted, how anything is shown.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

TRUST = 0.1  # share of the study that counts as predicted right, before arms tell
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


@dataclass
class TimeLeft:
    """The seconds that a study still takes. predicted_s: by the label of each arm that is to run.

    The predictions of arms to come are multiplied by `factor`, spent over predicted time of the finished
    ones. The running arm takes at least as long as its stage still needs at its present rate.
    """

    predicted_s: Mapping[str, float]
    finished: set[str] = field(default_factory=set)
    spent_s: float = 0.0
    running: str | None = None
    arm_started_s: float = 0.0
    stage_started_s: float = 0.0
    stage_share: float = 0.0

    def start_arm(self, label: str, now_s: float | None = None) -> None:
        """An arm starts."""
        self.running, self.arm_started_s = label, _or_now(now_s)
        self.start_stage(now_s)

    def start_stage(self, now_s: float | None = None) -> None:
        """A stage of the running arm starts."""
        self.stage_started_s, self.stage_share = _or_now(now_s), 0.0

    def finish_arm(self, label: str, time_s: float) -> None:
        """An arm has finished or failed after so many seconds; one that is skipped was not predicted."""
        self.running = None
        if label in self.predicted_s and label not in self.finished:
            self.finished.add(label)
            self.spent_s += time_s

    @property
    def factor(self) -> float:
        """Spent over predicted time of the finished arms, less trusted while they are few."""
        done_s = sum(self.predicted_s[label] for label in self.finished)
        trusted_s = TRUST * sum(self.predicted_s.values())
        return (self.spent_s + trusted_s) / (done_s + trusted_s) if done_s + trusted_s else 1.0

    def left_s(self, now_s: float | None = None) -> float:
        """Seconds until the last arm ends."""
        now_s = _or_now(now_s)
        waiting = set(self.predicted_s) - self.finished - {self.running}
        left_s = self.factor * sum(self.predicted_s[label] for label in waiting)
        if self.running is None or self.running not in self.predicted_s:
            return left_s
        arm_s = self.factor * self.predicted_s[self.running] - (now_s - self.arm_started_s)
        stage_s = 0.0
        if self.stage_share > 0:
            stage_s = (now_s - self.stage_started_s) * (1 - self.stage_share) / self.stage_share
        return left_s + max(arm_s, stage_s, 0.0)

    def done_share(self, now_s: float | None = None) -> float:
        """The share of the study's time that has passed."""
        now_s = _or_now(now_s)
        passed_s = self.spent_s + (now_s - self.arm_started_s if self.running in self.predicted_s else 0.0)
        total_s = passed_s + self.left_s(now_s)
        return passed_s / total_s if total_s else 1.0


def clock() -> float:
    """Seconds from an arbitrary moment on: the clock of all forecasts."""
    return time.perf_counter()


def _or_now(now_s: float | None) -> float:
    return clock() if now_s is None else now_s


def about(seconds: float) -> str:
    """A rounded duration in words: "5 seconds", "12 minutes", "3.5 hours", "2 days"."""
    if seconds < 1.5 * MINUTE_S:
        count, unit = max(1, round(seconds)), "second"
    elif seconds < 1.5 * HOUR_S:
        count, unit = round(seconds / MINUTE_S), "minute"
    elif seconds < 2 * DAY_S:
        hours = seconds / HOUR_S
        return f"{hours:.1f} hours" if hours < 10 else f"{hours:.0f} hours"
    else:
        count, unit = round(seconds / DAY_S), "day"
    return f"{count} {unit}{'' if count == 1 else 's'}"
