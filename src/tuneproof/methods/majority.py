"""The majority baseline: always the most frequent label or answer in train; for questions, no answer.

In: labels of train. Out: the same probabilities, the label shares of train, for every item.
Knows nothing of: texts, models.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tuneproof.methods.method import BaselineAnswers, BaselineFit, LabelledTexts, Method
from tuneproof.methods.nearest_answer import has_written_answers, most_frequent_answer
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.text_classifier import LabelShares
from tuneproof.tasks.task import Example


def fit_majority(
    options: MethodOptions, train: LabelledTexts, dev: LabelledTexts, texts: Sequence[str], classes: int
) -> BaselineFit:
    """Every item gets the label shares of train, so that the most frequent label is predicted."""
    counts_C = np.bincount(train.labels_N, minlength=classes)
    shares_C = counts_C / counts_C.sum()
    classifier = LabelShares(shares_C)
    return BaselineFit(
        dev_NC=classifier.probabilities(dev.texts),
        test_NC=classifier.probabilities(texts),
        predict=classifier.probabilities,
        save=classifier.save,
    )


def never_answer(train: Sequence[Example]) -> Callable[[Sequence[Example]], BaselineAnswers]:
    """No answer to any question, which is right for half of SQuAD 2.0's dev part.

    Where answers are written, every text has one: the most frequent one in train.
    """
    if has_written_answers(train):
        return most_frequent_answer(train)
    return lambda questions: BaselineAnswers([""] * len(questions), *np.zeros((2, len(questions))))


MAJORITY = Method(
    name="majority",
    kind="baseline",
    title="the most frequent label or written answer in train; for questions, no answer",
    options=MethodOptions,
    chance=False,
    paper="none",
    fit=fit_majority,
    answer=never_answer,
)
