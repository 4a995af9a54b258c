"""The no-answer threshold: the best cut, ties, and that equal scores are never parted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.score.answered import answered
from tuneproof.metrics import METRICS, evaluate
from tuneproof.score.threshold import best_threshold


def f1_at(found, threshold: float) -> float:
    return evaluate(METRICS["squad_f1"], found.with_threshold(threshold).items)


def test_the_best_cut_lies_between_what_should_be_answered_and_what_should_not():
    found = answered(["x", "x", None, None], ["x", "y", "x", "x"], [-3.0, -1.0, 2.0, 4.0])
    best = best_threshold(found)
    assert best.f1 == 0.75
    assert best.threshold == 0.0  # the default is among the best
    assert best.default_f1 == 0.75
    late = best_threshold(answered(["x", "x", None], ["x", "x", "y"], [1.0, 2.0, 6.0]))
    assert late.threshold == 4.0
    assert (late.f1, late.default_f1) == (1.0, pytest.approx(1 / 3))


def test_equal_scores_are_not_parted():
    found = answered(["x", None, "x", None], ["x", "x", "x", "x"], [1.0, 1.0, 1.0, 1.0])
    best = best_threshold(found)
    assert best.f1 == 0.5
    assert f1_at(found, best.threshold) == best.f1


def test_of_several_best_cuts_the_one_nearest_to_the_default_is_taken():
    found = answered([None, None, None], ["x", "x", "x"], [5.0, 6.0, 7.0])
    assert best_threshold(found).threshold == 0.0
    up = answered(["x", "x"], ["x", "x"], [5.0, 6.0])
    assert best_threshold(up).threshold == 7.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["x", "y z", None]),
            st.sampled_from(["x", "z", "w"]),
            st.sampled_from([-2.0, -0.5, 0.0, 0.5, 3.0]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_threshold_at_all_is_better_and_the_figures_are_those_of_the_metric(rows):
    found = answered(*(list(column) for column in zip(*rows, strict=True)))
    best = best_threshold(found)
    assert f1_at(found, best.threshold) == pytest.approx(best.f1)
    assert f1_at(found, 0.0) == pytest.approx(best.default_f1)
    exact = evaluate(METRICS["squad_exact"], found.with_threshold(best.threshold).items)
    assert exact == pytest.approx(best.exact)
    for threshold in np.linspace(-3, 4, 29):
        assert f1_at(found, float(threshold)) <= best.f1 + 1e-12
