"""The no-answer threshold: the null score above which the prediction is "no answer".

In: answers with null scores. Out: the best threshold, with F1 and exact match at it.
Knows nothing of: models, files, which part the predictions belong to.

Dev chooses the threshold. On test the best threshold is an oracle: reported, never used.
"""

from dataclasses import dataclass

import numpy as np

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.metrics.metric import AnswerItems
from tuneproof.metrics.squad import exact_N, f1_N

SAME = 1e-12


@dataclass(frozen=True)
class Threshold:
    """A threshold with its F1 and exact match (0 to 1), and the F1 of the default threshold."""

    threshold: float
    f1: float
    exact: float
    default_f1: float


def best_threshold(predictions: AnswerPredictions) -> Threshold:
    """The threshold with the highest F1; if several tie, the one nearest to the default.

    Candidates are the midpoints between distinct null scores, and one unit outside all of them.

    Source: find_best_thresh of the official script, by F1; it chooses on the part that it reports.
    Differs: dev chooses.
    """
    default_threshold, size = predictions.default_threshold, len(predictions)
    order = np.argsort(predictions.null_N, kind="stable")
    null_N = predictions.null_N[order]
    answered = AnswerItems(predictions.golds, predictions.answers)
    unanswered = AnswerItems(predictions.golds, [""] * size)
    means = []
    for metric in (f1_N, exact_N):
        answered_N, unanswered_N = metric(answered)[order], metric(unanswered)[order]
        after = np.concatenate([[0.0], np.cumsum(answered_N)])  # the first k are answered
        before = unanswered_N.sum() - np.concatenate([[0.0], np.cumsum(unanswered_N)])
        means.append((after + before) / size)
    f1_K, exact_K = means
    cuts_K = np.concatenate([[null_N[0] - 1], (null_N[1:] + null_N[:-1]) / 2, [null_N[-1] + 1]])
    valid_K = np.concatenate([[True], null_N[1:] > null_N[:-1], [True]])  # no cut between equal scores
    default = int(np.searchsorted(null_N, default_threshold, side="right"))
    highest = f1_K[valid_K].max()
    if f1_K[default] >= highest - SAME:
        index, cut = default, default_threshold
    else:
        best = np.flatnonzero(valid_K & (f1_K >= highest - SAME))
        index = int(best[np.argmin(np.abs(cuts_K[best] - default_threshold))])
        cut = float(cuts_K[index])
    return Threshold(cut, float(f1_K[index]), float(exact_K[index]), float(f1_K[default]))
