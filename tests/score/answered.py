"""Answers of made-up arms, for the tests of this folder."""

from collections.abc import Sequence

import numpy as np

from tuneproof.inference.answers import AnswerPredictions


def answered(
    golds: Sequence[str | None],
    answers: Sequence[str],
    null: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
    paragraphs: Sequence[str] | None = None,
) -> AnswerPredictions:
    """One gold a question, None where it has no answer; null scores 0 unless given."""
    n = len(golds)
    null_N = np.zeros(n) if null is None else np.asarray(null, dtype=np.float64)
    nothing_N = np.zeros(n, dtype=bool)
    return AnswerPredictions(
        ids=[f"q{i}" for i in range(n)],
        groups=list(groups or [f"article {i // 4}" for i in range(n)]),
        paragraphs=list(paragraphs or [f"paragraph {i // 2}" for i in range(n)]),
        golds=[() if gold is None else (gold,) for gold in golds],
        answers=list(answers),
        null_N=null_N,
        score_N=-null_N,
        nbest=[[{"text": text, "score": 1.5}] for text in answers],
        tokens_N=np.ones(n, dtype=np.int64),
        truncated_N=nothing_N,
        outside_N=nothing_N,
    )
