"""Item by item: sets of labels that hold the right one, and when to abstain.

In: probabilities, gold labels and mistakes of dev. Out: thresholds, with what they promise.
Knows nothing of: files, reports, how predictions were made.

Dev chooses both thresholds. What they promise holds for items like those of dev, on average over them.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tuneproof.score.intervals import exact_interval

Floats = NDArray[np.float64]

COVERAGES = tuple(step / 10 for step in range(10, 0, -1))  # shares of the items that are answered
CONFIDENCE = 0.95  # that the error among the answered items is within the tolerance


@dataclass(frozen=True)
class Abstention:
    """Answer where the confidence is `threshold` or more: `coverage` of dev, with `error` there.

    `bound`: the error among answered items is at most this with 95 % confidence.
    """

    threshold: float
    coverage: float
    error: float
    bound: float


def label_set_threshold(probabilities_NC: Floats, gold_N: NDArray[np.int64], tolerance: float) -> float:
    """The probability from which a label belongs to the set, so that sets miss the right label in at most a
    share `tolerance` of new items; 0 (every label) if dev has too few items to say so.

    Source: split conformal prediction: Sadinle, Lei and Wasserman 2019, doi:10.1080/01621459.2017.1395341;
    Angelopoulos and Bates 2021, arXiv:2107.07511, section 1.
    """
    of_gold_N = np.sort(probabilities_NC[np.arange(len(gold_N)), gold_N])
    missed = len(gold_N) - ceil((len(gold_N) + 1) * (1 - tolerance))
    return float(of_gold_N[missed]) if missed >= 0 else 0.0


def choose_abstention(
    probabilities_NC: Floats, wrong_N: NDArray[np.bool_], tolerance: float
) -> Abstention | None:
    """The largest share of the items that can be answered with an error of at most `tolerance`.

    Ten shares are tried, the largest first; each has the exact one-sided bound of its error, at a tenth of
    5 %, so that the one that is chosen holds with 95 % confidence. None if no share does.

    Source: Geifman and El-Yaniv 2017, arXiv:1705.08500, section 3; the correction: Angelopoulos et al. 2021,
    arXiv:2110.01052.
    """
    confidence_N = probabilities_NC.max(axis=1)
    one_sided = 1 - 2 * (1 - CONFIDENCE) / len(COVERAGES)
    for coverage in COVERAGES:
        threshold = float(np.quantile(confidence_N, 1 - coverage, method="lower"))
        answered_N = confidence_N >= threshold
        error = float(wrong_N[answered_N].mean())
        bound = exact_interval(error, int(answered_N.sum()), one_sided).high
        if bound <= tolerance:
            return Abstention(threshold, float(answered_N.mean()), error, bound)
    return None
