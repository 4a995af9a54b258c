"""What every metric on the shelf must keep, for nothing but being listed."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

import tuneproof.metrics
from tuneproof.errors import DataError
from tuneproof.metrics import (
    METRICS,
    UNPARSED,
    AnswerItems,
    Items,
    LabelItems,
    Metric,
    evaluate,
    why_not_computable,
)

LABELS = ("one", "two", "three", "four")
WORDS = ("the", "old", "grey", "house", "on", "a", "hill", "1066", "Normandy", "café", "")
HERE = [m for m in METRICS.values() if m.missing_requirement is None or not m.missing_requirement()]
EVERY = pytest.mark.parametrize("metric", HERE, ids=[metric.name for metric in HERE])


def test_the_shelf_is_not_empty_and_equals_the_folder():
    assert METRICS
    defined = set()
    for module in pkgutil.iter_modules(tuneproof.metrics.__path__):
        for value in vars(importlib.import_module(f"tuneproof.metrics.{module.name}")).values():
            members = value if isinstance(value, tuple) else (value,)
            defined |= {member.name for member in members if isinstance(member, Metric)}
    assert set(METRICS) == defined
    assert all(name == metric.name for name, metric in METRICS.items())
    assert all(metric.paper and metric.title for metric in METRICS.values())


def answers_of(size: int, rng: np.random.Generator) -> AnswerItems:
    """Questions of both kinds, answered by words of the golds or by none."""

    def words() -> str:
        return " ".join(rng.choice(WORDS, rng.integers(1, 7))).strip()

    golds = [tuple(words() or "x" for _ in range(rng.integers(0, 3))) for _ in range(size - 2)]
    golds += [("the old grey house on a hill",), ()]
    return AnswerItems(golds, [words() if rng.random() < 0.8 else "" for _ in range(size)])


@st.composite
def items_of(draw, metric: Metric) -> Items:
    if metric.kind == "questions":
        rng = np.random.default_rng(draw(st.integers(0, 10**6)))
        return answers_of(draw(st.integers(2, 40)), rng)
    labels = 2 if metric.binary_only else draw(st.integers(2, 4))
    size = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    predicted_N = rng.integers(UNPARSED, labels, size)
    probabilities_NC = rng.dirichlet(np.ones(labels), size)
    if metric.needs == "probabilities":
        predicted_N = probabilities_NC.argmax(axis=1)
    gold_N = rng.integers(0, labels, size)
    return LabelItems(LABELS[:labels], gold_N, predicted_N, probabilities_NC, costs_of(labels))


def costs_of(labels: int) -> np.ndarray:
    """A right label costs nothing, a mistake more the farther the gold comes in the list."""
    return (1.0 - np.eye(labels)) * np.arange(1, labels + 1)[:, None]


@EVERY
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_value_is_in_range_and_free_of_order(metric, data):
    items = data.draw(items_of(metric))
    value = evaluate(metric, items)
    assert metric.low <= value <= metric.high
    order = data.draw(st.permutations(range(len(items))))
    if isinstance(items, AnswerItems):
        shuffled: Items = AnswerItems(
            [items.golds[index] for index in order], [items.texts[index] for index in order]
        )
        assert evaluate(metric, shuffled) == pytest.approx(value, abs=1e-12)
        return
    shuffled = some_of(items, list(order))
    assert evaluate(metric, shuffled) == pytest.approx(value, abs=1e-12)


@EVERY
def test_perfect_answers_give_the_best_end(metric):
    if metric.kind == "questions":  # of five words, so that BLEU has its four orders
        golds = [("the battle of Hastings in", "in the year of 1066"), ()]
        value = evaluate(metric, AnswerItems(golds, [golds[0][1], ""]))
        near = 0.01 if metric.name.startswith("meteor") else 1e-12  # a chunk costs half / words³
        assert value == pytest.approx(metric.best, abs=near)
        return
    gold_N = np.array([0, 1, 1, 0, 1])
    items = LabelItems(LABELS[:2], gold_N, gold_N, np.eye(2)[gold_N], costs_of(2))
    assert evaluate(metric, items) == pytest.approx(metric.best, abs=1e-12)


@EVERY
def test_no_items_are_refused(metric):
    none = np.zeros(0, dtype=np.int64)
    of_labels = LabelItems(LABELS[:2], none, none, np.zeros((0, 2)))
    with pytest.raises(DataError, match="there are no items"):
        evaluate(metric, AnswerItems([], []) if metric.kind == "questions" else of_labels)


@EVERY
def test_totals_of_many_samples_are_valued_at_once(metric):
    rng = np.random.default_rng(0)
    gold_N = rng.integers(0, 2, 30)
    probabilities_NC = rng.dirichlet(np.ones(2), 30)
    predicted_N = probabilities_NC.argmax(axis=1)
    items: Items = LabelItems(LABELS[:2], gold_N, predicted_N, probabilities_NC, costs_of(2))
    if metric.kind == "questions":
        items = answers_of(30, rng)
    stats_NK = metric.per_item(items)
    half_N = [*range(0, 28, 2), 28, 29]  # of questions these are answerable and not
    totals_BSK = np.stack([stats_NK.sum(axis=0), stats_NK[half_N].sum(axis=0)])[:, None, :]
    values_BS = metric.from_totals(totals_BSK, 2)
    assert values_BS.shape == (2, 1)
    expected = [[evaluate(metric, items)], [evaluate(metric, some_of(items, half_N))]]
    assert values_BS == pytest.approx(np.array(expected))


def some_of(items: Items, rows: list[int]) -> Items:
    if isinstance(items, AnswerItems):
        return AnswerItems([items.golds[row] for row in rows], [items.texts[row] for row in rows])
    assert items.probabilities_NC is not None
    return replace(
        items,
        gold_N=items.gold_N[rows],
        predicted_N=items.predicted_N[rows],
        probabilities_NC=items.probabilities_NC[rows],
    )


def _brier(items: LabelItems) -> float:
    truth_NC = np.eye(len(items.labels))[items.gold_N]
    return float(((items.probabilities_NC - truth_NC) ** 2).sum(axis=1).mean())


def _average(name: str, average: str) -> Callable[[LabelItems], float]:
    def value(items: LabelItems) -> float:
        labels = list(range(len(items.labels)))
        function = getattr(sklearn.metrics, f"{name}_score")
        return function(
            items.gold_N,
            items.predicted_N,
            labels=labels if average else labels[-1:],
            average=average or "macro",
            zero_division=0,
        )

    return value


REFERENCES: dict[str, Callable[[LabelItems], float]] = {
    "accuracy": lambda items: sklearn.metrics.accuracy_score(items.gold_N, items.predicted_N),
    "brier": _brier,
    "log_loss": lambda items: sklearn.metrics.log_loss(
        items.gold_N, items.probabilities_NC, labels=list(range(len(items.labels)))
    ),
    **{
        f"{name}_{average}".rstrip("_"): _average(name, average)
        for name in ("precision", "recall", "f1")
        for average in ("", "macro", "weighted")
    },
}  # of any other metric the hand-made test holds a worked example or a reference


@pytest.mark.parametrize("name", REFERENCES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_value_agrees_with_scikit_learn(name, data):
    items = data.draw(items_of(METRICS[name]))
    assert evaluate(METRICS[name], items) == pytest.approx(REFERENCES[name](items), abs=1e-9)


@EVERY
def test_why_a_metric_cannot_be_computed_is_said(metric):
    three = LabelItems(LABELS[:3], np.array([0, 1, 2]), np.array([0, 1, 2]), np.eye(3), costs_of(3))
    two = LabelItems(LABELS[:2], np.array([0, 1]), np.array([0, 1]))
    if metric.kind == "questions":
        assert "is for tasks of questions" in why_not_computable(metric, two)
        assert why_not_computable(metric, AnswerItems([("a",), ()], ["a", ""])) == ""
        needed = metric.counted_questions or metric.required_questions
        one_kind = AnswerItems([("a",)] if needed == "no answer" else [()], ["a"])
        assert ("there are none" in why_not_computable(metric, one_kind)) == bool(needed)
        return
    assert "is for tasks of labels" in why_not_computable(metric, AnswerItems([()], [""]))
    if metric.needs == "probabilities":
        assert "probabilities" in why_not_computable(metric, two)
    if metric.needs == "costs":
        assert "decision.costs" in why_not_computable(metric, two)
    assert bool(why_not_computable(metric, three)) == metric.binary_only
