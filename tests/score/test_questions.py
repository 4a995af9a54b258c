"""Questions through scores and comparisons: whole articles, paragraphs beside them, one code path."""

import numpy as np
import pytest

from tests.score.answered import answered
from tuneproof.errors import RunError
from tuneproof.metrics import METRICS, evaluate
from tuneproof.score.compare import compare
from tuneproof.score.scores import score
from tuneproof.settings import ScoreSettings

SETTINGS = ScoreSettings()


def made(skill: float, seed: int, articles: int = 24):
    """Articles of 4 paragraphs with 5 questions; how hard an article is, is shared by its questions."""
    rng, hard = np.random.default_rng(seed), np.random.default_rng(7)
    golds, answers, groups, paragraphs = [], [], [], []
    for article in range(articles):
        ease = hard.normal(0, 0.25)
        for paragraph in range(4):
            for question in range(5):
                gold = None if question % 2 else f"word {article} {question}"
                right = rng.random() < np.clip(skill + ease, 0, 1)
                golds.append(gold)
                answers.append((gold or "") if right else "another word")
                groups.append(f"a{article}")
                paragraphs.append(f"p{article}.{paragraph}")
    return answered(golds, answers, None, groups, paragraphs)


def test_whole_articles_are_resampled_and_paragraphs_stand_beside():
    found = score([made(0.6, 1)], ["squad_f1", "squad_exact", "rouge1"], SETTINGS, True)
    for name in ("squad_f1", "squad_exact"):
        one = found[name]
        assert one.clusters == 24
        assert one.n == 480
        assert one.by_paragraph is not None
        assert one.by_paragraph["clusters"] == 96
        narrow = one.by_paragraph["high"] - one.by_paragraph["low"]
        assert narrow < one.high - one.low, "questions of an article are alike"
        assert one.value == pytest.approx(evaluate(METRICS[name], made(0.6, 1).items))


def test_a_comparison_of_questions_says_both_intervals():
    found = compare([made(0.8, 1)], [made(0.5, 2)], "squad_f1", "full", "lexical", SETTINGS, True)
    assert found.outcome == "better"
    assert found.clusters == 24
    assert found.test == "t"
    assert found.by_paragraph["clusters"] == 96
    assert "in 24 groups; " in found.sentence
    assert " over 96 paragraphs)." in found.sentence
    assert found.only_arm_right > found.only_over_right


@pytest.mark.parametrize(
    ("metric", "kind", "n"),
    [
        ("squad_f1", None, 480),
        ("squad_f1_has_answer", True, 288),
        ("squad_no_answer", False, 192),
        ("rouge1", None, 480),
        ("rouge1_has_answer", True, 288),
    ],
)
def test_a_metric_of_some_questions_counts_those_alone(metric, kind, n):
    arm, over = made(0.8, 1), made(0.5, 2)
    found = compare([arm], [over], metric, "full", "lexical", SETTINGS, True)
    of_N = np.ones(480, bool) if kind is None else arm.items.answerable_N == kind
    assert found.n == of_N.sum() == n
    only_N = arm.items.right_N & ~over.items.right_N & of_N
    assert found.only_arm_right == only_N.sum()
    assert f"n = {n} in" in found.sentence
    assert score([arm], [metric], SETTINGS, True)[metric].n == n


def test_where_groups_are_the_paragraphs_nothing_stands_beside():
    one = made(0.5, 3)
    same = answered(
        [golds[0] if golds else None for golds in one.golds],
        one.answers,
        None,
        one.paragraphs,
        one.paragraphs,
    )
    assert score([same], ["squad_f1"], SETTINGS, True)["squad_f1"].by_paragraph is None


def test_metrics_of_labels_are_refused_for_questions_by_name():
    with pytest.raises(RunError, match="accuracy is for tasks of labels"):
        score([made(0.5, 1)], ["accuracy"], SETTINGS, True)
    everything = score([made(0.5, 1)], None, SETTINGS, True)
    assert {METRICS[name].kind for name in everything} == {"questions"}


def test_other_golds_are_named():
    one = answered(["x", "y"], ["x", "y"])
    other = answered(["x", "z"], ["x", "y"])
    with pytest.raises(RunError, match="the gold answers of 1 items differ, first q1: y and z"):
        compare([one], [other], "squad_f1", "a", "b", SETTINGS, True)


@pytest.mark.parametrize("metric", ["rougeL", "squad_f1", "bleu"])
def test_graded_metrics_have_no_floor_of_right_and_wrong_items(metric):
    golds = [f"the answer to question {i} is a long one" for i in range(30)]
    near = [gold if i % 3 else gold.replace("long", "short") for i, gold in enumerate(golds)]
    found = compare([answered(golds, golds)], [answered(golds, near)], metric, "a", "b", SETTINGS, False)
    assert 0 < found.item_error < 1.96 / 30, "less than the floor of a proportion"
    same = compare([answered(golds, near)], [answered(golds, near)], metric, "a", "b", SETTINGS, False)
    assert same.low < 0 < same.high
