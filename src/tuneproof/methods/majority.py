"""The majority baseline: always the most frequent label in train; for questions, no answer.

In: labels of train. Out: the same probabilities, the label shares of train, for every item.
Knows nothing of: texts, models.
"""

from collections.abc import Sequence

import numpy as np

from tuneproof.methods.method import BaselineAnswers, BaselineFit, LabelledTexts, Method
from tuneproof.methods.options import MethodOptions
from tuneproof.tasks.task import Example


def fit_majority(
    options: MethodOptions, train: LabelledTexts, dev: LabelledTexts, texts: Sequence[str], classes: int
) -> BaselineFit:
    """Every item gets the label shares of train, so that the most frequent label is predicted."""
    counts_C = np.bincount(train.labels_N, minlength=classes)
    shares_C = counts_C / counts_C.sum()
    return BaselineFit(
        dev_NC=np.tile(shares_C, (len(dev.texts), 1)),
        test_NC=np.tile(shares_C, (len(texts), 1)),
        weights={"shares": shares_C.tolist()},
    )


def never_answer(train: Sequence[Example], questions: Sequence[Example]) -> BaselineAnswers:
    """No answer to any question, which is right for half of SQuAD 2.0's dev part."""
    size = len(questions)
    return BaselineAnswers([""] * size, np.zeros(size), np.zeros(size))


MAJORITY = Method(
    name="majority",
    kind="baseline",
    title="the most frequent label in train; for questions, no answer",
    options=MethodOptions,
    chance=False,
    paper="none",
    fit=fit_majority,
    answer=never_answer,
)
