"""Whether two arms are as good as each other within a margin, or differ by more than it.

In: a difference with its standard error, a margin. Out: a verdict. Knows nothing of: arms, metrics, files.

"Not significantly different" says that the data cannot tell, not that the arms are equal. Equality within a
margin is shown where the interval lies within it.
"""

from dataclasses import dataclass
from typing import Literal

from tuneproof.score.intervals import Estimate, Interval, student_interval

MarginOutcome = Literal[
    "better by more",
    "as good either way",
    "as good or better",
    "as good or worse",
    "worse by more",
    "cannot tell",
]


@dataclass(frozen=True)
class MarginVerdict:
    """The verdict with the interval that it rests on, at its `level`; positive differences are better."""

    outcome: MarginOutcome
    interval: Interval
    level: float


def judge_margin(estimated: Estimate, margin: float, level: float) -> MarginVerdict:
    """Compare a difference with a margin, both in one unit, positive where the arm is better.

    "better by more", "worse by more": the interval at `level` lies beyond the margin. "as good": one-sided
    tests at 1 - level, that is the interval at 2 level - 1, show that the difference is no further than the
    margin on both sides ("either way": equivalence), not below ("or better": non-inferiority), or not above
    ("or worse": the other arm is not inferior).

    Source: Schuirmann 1987, doi:10.1007/BF01068419 (two one-sided tests); Piaggio et al. 2012,
    doi:10.1001/jama.2012.87802 (non-inferiority by an interval).
    """
    wide = student_interval(estimated, level)
    if wide.low > margin:
        return MarginVerdict("better by more", wide, level)
    if wide.high < -margin:
        return MarginVerdict("worse by more", wide, level)
    one_sided = 2 * level - 1
    narrow = student_interval(estimated, one_sided)
    not_below, not_above = narrow.low > -margin, narrow.high < margin
    outcomes: dict[tuple[bool, bool], MarginOutcome] = {
        (True, True): "as good either way",
        (True, False): "as good or better",
        (False, True): "as good or worse",
        (False, False): "cannot tell",
    }
    return MarginVerdict(outcomes[not_below, not_above], narrow, one_sided)
