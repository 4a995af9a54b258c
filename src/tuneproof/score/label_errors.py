"""Which labels may be wrong: confident learning on probabilities of models that did not see the item.

In: probabilities, labels. Out: how many label errors to expect, between which labels, and the items in order
of suspicion. Knows nothing of: models, files, texts.

Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068: section 3 for the thresholds and the counts,
appendix B for the order by self-confidence.

Shapes: N items, C labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Suspicion:
    """`own_N`: the probability of the item's label, the lower the more suspect; `suggested_N`: the likeliest
    other label; `expected_CC`: how many items with the first label should have the second; `order`: the
    suspected items, the most suspect first.
    """

    own_N: Floats
    suggested_N: Ints
    expected_CC: Ints
    order: Ints

    @property
    def expected(self) -> int:
        """How many label errors to expect."""
        return int(self.expected_CC.sum())


def suspect(probabilities_NC: Floats, labels_N: Ints) -> Suspicion:
    """Count the items that are confidently of another label, and suspect that many.

    Those with the lowest probability of their label are suspected, where another label is likelier.
    """
    rows = np.arange(len(labels_N))
    own_N = probabilities_NC[rows, labels_N]
    others_NC = probabilities_NC.copy()
    others_NC[rows, labels_N] = -1.0
    suggested_N = others_NC.argmax(axis=1)
    expected_CC = expected_errors(probabilities_NC, labels_N)
    doubtful = np.flatnonzero(others_NC.max(axis=1, initial=-1.0) > own_N)
    ranked = doubtful[np.argsort(own_N[doubtful], kind="stable")]
    return Suspicion(own_N, suggested_N, expected_CC, ranked[: expected_CC.sum()])


def expected_errors(probabilities_NC: Floats, labels_N: Ints) -> Ints:
    """How many items with label i are of label j, zero on the diagonal.

    An item is counted as of j if the probability of j reaches its mean over the items with that label, and
    no other label that reaches its own is likelier. The counts are not scaled to all items of a label, as in
    section 3: where models are weak, that counts their own errors many times.
    """
    classes = probabilities_NC.shape[1]
    sizes_C = np.bincount(labels_N, minlength=classes)
    own_NC = np.where(labels_N[:, None] == np.arange(classes), probabilities_NC, 0.0)
    threshold_C = np.where(sizes_C > 0, own_NC.sum(axis=0) / np.maximum(sizes_C, 1), np.inf)
    confident_NC = np.where(probabilities_NC >= threshold_C, probabilities_NC, -1.0)
    counted_N = confident_NC.max(axis=1, initial=-1.0) >= 0
    expected_CC = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(expected_CC, (labels_N[counted_N], confident_NC.argmax(axis=1)[counted_N]), 1)
    np.fill_diagonal(expected_CC, 0)
    return expected_CC
