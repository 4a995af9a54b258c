"""The baselines of written answers: the most frequent answer of train, and that of the most similar text.

In: texts of train with their answers, texts to answer. Out: an answer and scores for each.
Knows nothing of: language models, thresholds.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tuneproof.methods.method import BaselineAnswers
from tuneproof.metrics.words import word_pattern
from tuneproof.tasks.task import Example

COMPARED = 10_000_000  # pairs of texts at once: common words make nearly all of their products non-zero


def has_written_answers(train: Sequence[Example]) -> bool:
    """Whether the items are texts with answers of their own, not questions about a context."""
    return bool(train) and not train[0].required_question.question


def most_frequent_answer(train: Sequence[Example]) -> Callable[[Sequence[Example]], BaselineAnswers]:
    """The first accepted answer that most items of train have; of several the first in train."""
    counts = Counter(item.required_question.answers[0] for item in train)
    answer, count = counts.most_common(1)[0]
    share = count / len(train)

    def predict(texts: Sequence[Example]) -> BaselineAnswers:
        share_N = np.full(len(texts), share)
        return BaselineAnswers([answer] * len(texts), -share_N, share_N)

    return predict


def answer_of_nearest(train: Sequence[Example]) -> Callable[[Sequence[Example]], BaselineAnswers]:
    """The answer of the train text with the highest cosine of TF-IDF weights of words and word pairs.

    Texts that share no word with train get the answer of its first text, with the score 0.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=word_pattern(), sublinear_tf=True)
    answers = [item.required_question.answers[0] for item in train]
    try:
        train_TV = vectorizer.fit_transform([item.text for item in train])
    except ValueError:  # no text of train has a word
        return most_frequent_answer(train)

    def predict(texts: Sequence[Example]) -> BaselineAnswers:
        nearest, scores = [], []
        size = max(1, COMPARED // len(train))
        for start in range(0, len(texts), size):
            batch = [item.text for item in texts[start : start + size]]
            cosine_BT = (vectorizer.transform(batch) @ train_TV.T).tocsr()
            for row in range(len(batch)):
                similar = cosine_BT[row]
                best = int(np.argmax(similar.data)) if similar.nnz else -1
                nearest.append(int(similar.indices[best]) if best >= 0 else 0)
                scores.append(float(similar.data[best]) if best >= 0 else 0.0)
        score_N = np.array(scores, dtype=np.float64)
        return BaselineAnswers([answers[index] for index in nearest], -score_N, score_N, train_TV.nnz)

    return predict
