"""Above which null score no answer is given: the best threshold on some predictions.

In: answers with null scores. Out: a threshold and what it is worth.
Knows nothing of: models, files, which part the predictions are of.

Dev chooses by it. On test it is an oracle, which may be shown beside a score and never used.
"""

from dataclasses import dataclass

import numpy as np

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.metrics.metric import AnswerItems
from tuneproof.metrics.squad import exact_N, f1_N

SAME = 1e-12


@dataclass(frozen=True)
class Threshold:
    """A threshold with F1 and exact match there (0 to 1), and those at the default threshold."""

    threshold: float
    f1: float
    exact: float
    default_f1: float
    default_exact: float


def best_threshold(found: AnswerPredictions) -> Threshold:
    """The threshold of the highest F1; of several, the one nearest to the default.

    A threshold lies half-way between two null scores that differ, or one unit outside all of them.

    Source: find_best_thresh of the official script, by F1; it chooses on the part that it reports.
    Differs: dev chooses.
    """
    order = np.argsort(found.null_N, kind="stable")
    null_N = found.null_N[order]
    given = AnswerItems(found.golds, found.answers)
    kept = AnswerItems(found.golds, [""] * len(found))
    sums = []
    for of in (f1_N, exact_N):
        answered_N, withheld_N = of(given)[order], of(kept)[order]
        after = np.concatenate([[0.0], np.cumsum(answered_N)])  # the first k are answered
        before = withheld_N.sum() - np.concatenate([[0.0], np.cumsum(withheld_N)])
        sums.append((after + before) / len(found))
    f1_K, exact_K = sums
    cuts_K = np.concatenate([[null_N[0] - 1], (null_N[1:] + null_N[:-1]) / 2, [null_N[-1] + 1]])
    real_K = np.concatenate([[True], null_N[1:] > null_N[:-1], [True]])  # no cut between equals
    default = int(np.searchsorted(null_N, found.default_threshold, side="right"))
    best = f1_K[real_K].max()
    if f1_K[default] >= best - SAME:
        place, cut = default, found.default_threshold
    else:
        among = np.flatnonzero(real_K & (f1_K >= best - SAME))
        place = int(among[np.argmin(np.abs(cuts_K[among] - found.default_threshold))])
        cut = float(cuts_K[place])
    return Threshold(
        cut, float(f1_K[place]), float(exact_K[place]), float(f1_K[default]), float(exact_K[default])
    )
