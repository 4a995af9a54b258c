"""The majority baseline: the most frequent label of train, always.

In: labels of train. Out: the same probabilities, the label shares of train, for every item.
Knows nothing of: texts, models.
"""

from collections.abc import Sequence

import numpy as np

from tuneproof.methods.method import Fitted, Labelled, Method, MethodOptions


def fit_majority(
    options: MethodOptions, train: Labelled, dev: Labelled, texts: Sequence[str], classes: int
) -> Fitted:
    """Every item gets the label shares of train, so that the most frequent label is predicted."""
    counts_C = np.bincount(train.labels_N, minlength=classes)
    shares_C = counts_C / counts_C.sum()
    return Fitted(
        dev_NC=np.tile(shares_C, (len(dev.texts), 1)),
        test_NC=np.tile(shares_C, (len(texts), 1)),
        weights={"shares": shares_C.tolist()},
    )


MAJORITY = Method(
    name="majority",
    kind="baseline",
    title="the most frequent label of train",
    options=MethodOptions,
    chance=False,
    paper="none",
    fit=fit_majority,
)
