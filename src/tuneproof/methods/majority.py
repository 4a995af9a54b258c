"""The majority baseline: the most frequent label of train, always; of questions: no answer, always.

In: labels of train. Out: the same probabilities, the label shares of train, for every item.
Knows nothing of: texts, models.
"""

from collections.abc import Sequence

import numpy as np

from tuneproof.methods.method import Answered, Fitted, Labelled, Method, MethodOptions
from tuneproof.tasks.task import Example


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


def never_answer(train: Sequence[Example], asked: Sequence[Example]) -> Answered:
    """No answer to any question, which half of SQuAD 2.0's dev part wants."""
    return Answered([""] * len(asked), np.zeros(len(asked)), np.zeros(len(asked)))


MAJORITY = Method(
    name="majority",
    kind="baseline",
    title="the most frequent label of train; for questions: never an answer",
    options=MethodOptions,
    chance=False,
    paper="none",
    fit=fit_majority,
    answer=never_answer,
)
