"""What every metric on the shelf must keep, for nothing but being listed."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tuneproof.metrics
from tuneproof.errors import DataError
from tuneproof.metrics import METRICS, UNPARSED, AnswerItems, Items, LabelItems, Metric, evaluate, why_not
from tuneproof.metrics.wordnet import wordnet_folder

LABELS = ("one", "two", "three", "four")
WORDS = ("the", "old", "grey", "house", "on", "a", "hill", "1066", "Normandy", "café", "")
HERE = [m for m in METRICS.values() if m.lacks is None or wordnet_folder() is not None]
EVERY = pytest.mark.parametrize("metric", HERE, ids=[metric.name for metric in HERE])
OF_LABELS = [metric for metric in HERE if metric.kind == "labels"]


def test_the_shelf_is_not_empty_and_equals_the_folder():
    assert METRICS
    folder = Path(tuneproof.metrics.__file__).parent
    listed = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Metric":
                listed.add(file.name)
    assert listed == {"labels.py", "squad.py", "text.py"}, (
        "a file with a Metric is missing here or on the shelf"
    )
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
    return LabelItems(LABELS[:labels], rng.integers(0, labels, size), predicted_N, probabilities_NC)


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
            [items.golds[place] for place in order], [items.texts[place] for place in order]
        )
        assert evaluate(metric, shuffled) == pytest.approx(value, abs=1e-12)
        return
    shuffled = LabelItems(
        items.labels, items.gold_N[order], items.predicted_N[order], items.probabilities_NC[order]
    )
    assert evaluate(metric, shuffled) == pytest.approx(value, abs=1e-12)


@EVERY
def test_perfect_answers_give_the_best_end(metric):
    if metric.kind == "questions":  # of five words, so that BLEU has its four orders
        golds = [("the battle of Hastings in", "in the year of 1066"), ()]
        found = evaluate(metric, AnswerItems(golds, [golds[0][1], ""]))
        near = 0.01 if metric.name.startswith("meteor") else 1e-12  # a chunk costs half / words³
        assert found == pytest.approx(metric.best, abs=near)
        return
    gold_N = np.array([0, 1, 1, 0, 1])
    items = LabelItems(LABELS[:2], gold_N, gold_N, np.eye(2)[gold_N])
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
    items: Items = LabelItems(LABELS[:2], gold_N, probabilities_NC.argmax(axis=1), probabilities_NC)
    if metric.kind == "questions":
        items = answers_of(30, rng)
    stats_NK = metric.per_item(items)
    times = 1 if metric.name.startswith("bleu") else 2  # smoothing counts, so size matters
    totals_BSK = np.stack([stats_NK.sum(axis=0), times * stats_NK.sum(axis=0)])[:, None, :]
    values_BS = metric.from_totals(totals_BSK, 2)
    assert values_BS.shape == (2, 1)
    assert values_BS == pytest.approx(evaluate(metric, items))


def by_scikit_learn(metric: Metric, items: LabelItems) -> float:
    from sklearn import metrics as theirs

    gold_N, predicted_N = items.gold_N, items.predicted_N
    labels = list(range(len(items.labels)))
    if metric.name == "accuracy":
        return theirs.accuracy_score(gold_N, predicted_N)
    if metric.name == "brier":
        truth_NC = np.eye(len(labels))[gold_N]
        return float(((items.probabilities_NC - truth_NC) ** 2).sum(axis=1).mean())
    if metric.name == "log_loss":
        return theirs.log_loss(gold_N, items.probabilities_NC, labels=labels)
    kind, _, average = metric.name.partition("_")
    function = {"precision": theirs.precision_score, "recall": theirs.recall_score, "f1": theirs.f1_score}[
        kind
    ]
    named = [labels[-1]] if not average else labels
    return function(gold_N, predicted_N, labels=named, average=average or "macro", zero_division=0)


@pytest.mark.parametrize("metric", OF_LABELS, ids=[metric.name for metric in OF_LABELS])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_value_agrees_with_scikit_learn(metric, data):
    if metric.name == "expected_calibration_error":
        pytest.skip("scikit-learn has none; tests/metrics holds a worked example")
    items = data.draw(items_of(metric))
    assert evaluate(metric, items) == pytest.approx(by_scikit_learn(metric, items), abs=1e-9)


@EVERY
def test_what_a_metric_lacks_is_said(metric):
    three = LabelItems(LABELS[:3], np.array([0, 1, 2]), np.array([0, 1, 2]), np.eye(3))
    two = LabelItems(LABELS[:2], np.array([0, 1]), np.array([0, 1]))
    if metric.kind == "questions":
        assert "is for tasks of questions" in why_not(metric, two)
        assert why_not(metric, AnswerItems([("a",), ()], ["a", ""])) == ""
        needed = metric.only or metric.items_with
        one_kind = AnswerItems([("a",)] if needed == "no answer" else [()], ["a"])
        assert ("there are none" in why_not(metric, one_kind)) == bool(needed)
        return
    assert "is for tasks of labels" in why_not(metric, AnswerItems([()], [""]))
    if metric.needs == "probabilities":
        assert "probabilities" in why_not(metric, two)
    assert bool(why_not(metric, three)) == metric.binary_only
