"""Exact match and F1 of answers, as the official SQuAD script counts them.

In: gold answers, predicted answers ("" is no answer). Out: per-item statistics and formulas.
Knows nothing of: models, files, intervals, thresholds.

Shapes: N items, K statistics. An item with a gold answer is answerable, one without is not; a question that
has none is right where nothing is answered. Without unanswerable items the figures are those of SQuAD v1.1.

Source: Rajpurkar, Jia and Liang 2018, arXiv:1806.03822, and their evaluation script for version 2.0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.metrics.matching import best_of
from tuneproof.metrics.metric import AnswerItems, Metric, QuestionKind

Floats = NDArray[np.float64]

PAPER = "Rajpurkar et al. 2018, arXiv:1806.03822, section 5.1, and the official evaluation script"
NO_TARGET = "EM and F1 are one there: a question without an answer is right or wrong"


def exact_N(items: AnswerItems) -> Floats:
    """Exact match of every item."""
    pairs = zip(items.golds, items.texts, strict=True)
    return np.array([best_of(golds, text)[0] for golds, text in pairs], dtype=np.float64)


def f1_N(items: AnswerItems) -> Floats:
    """F1 of every item."""
    pairs = zip(items.golds, items.texts, strict=True)
    return np.array([best_of(golds, text)[1] for golds, text in pairs], dtype=np.float64)


def _statistics(items: AnswerItems) -> Floats:
    """[N, 6]: EM, F1 and number of items, of the answerable ones and of the others."""
    values_N3 = np.stack([exact_N(items), f1_N(items), np.ones(len(items))], axis=1)
    has_N1 = items.answerable_N[:, None].astype(np.float64)
    return np.hstack([values_N3 * has_N1, values_N3 * (1 - has_N1)])


def _share(value: int, parts: tuple[int, ...]) -> Callable[[Floats, int], Floats]:
    """Value 0 (EM) or 1 (F1) of the parts 0 (answerable), 1 (not): a mean over their items."""

    def formula(totals_K: Floats, _classes: int) -> Floats:
        above = sum(totals_K[..., 3 * part + value] for part in parts)
        below = np.asarray(sum(totals_K[..., 3 * part + 2] for part in parts))
        return np.divide(above, below, out=np.zeros_like(below), where=below > 0)

    return formula


_BOTH, _ANSWERABLE, _UNANSWERABLE = (0, 1), (0,), (1,)
_COUNTED: dict[tuple[int, ...], QuestionKind] = {_BOTH: "", _ANSWERABLE: "answer", _UNANSWERABLE: "no answer"}


def _metric(
    name: str, title: str, value: int, parts: tuple[int, ...], in_sentence: str, **more: Any
) -> Metric:
    return Metric(
        name=name,
        title=title,
        per_item=_statistics,
        from_totals=_share(value, parts),
        paper=PAPER,
        kind="questions",
        counted_questions=_COUNTED[parts],
        name_in_sentence=in_sentence,
        **more,
    )


SQUAD_METRICS = (
    _metric("squad_f1", "F1", 1, _BOTH, "F1"),
    _metric("squad_exact", "Exact match", 0, _BOTH, "exact match", proportion=True),
    _metric("squad_f1_has_answer", "F1, answerable (HasAns)", 1, _ANSWERABLE, "F1 of answerable questions"),
    _metric(
        "squad_exact_has_answer",
        "Exact match, answerable",
        0,
        _ANSWERABLE,
        "exact match of answerable questions",
    ),
    _metric(
        "squad_no_answer",
        "Accuracy, unanswerable (NoAns)",
        0,
        _UNANSWERABLE,
        "unanswerable questions right",
        note=NO_TARGET,
    ),
)
