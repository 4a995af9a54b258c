"""Intervals against published numbers, and what clusters and seeds do to them."""

import numpy as np
import pytest

from tuneproof.score.intervals import Side, estimate, t_quantile, wilson_interval
from tuneproof.score.resample import cluster_sums, distinct_rows, resampled_totals


@pytest.mark.parametrize(
    ("n", "value", "low", "high"),
    [
        (872, 0.913, 89.2, 93.0),
        (200, 0.90, 85.1, 93.4),
        (1821, 0.913, 89.9, 92.5),
        (25_000, 0.93, 92.7, 93.3),
    ],
)
def test_wilson_agrees_with_published_intervals(n, value, low, high):
    interval = wilson_interval(value, n, 0.95)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    theirs = binomtest(47, 50).proportion_ci(0.9, method="wilson")
    ours = wilson_interval(47 / 50, 50, 0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_wilson_of_all_or_nothing_has_width_and_holds_the_value(value):
    interval = wilson_interval(value, 20, 0.95)
    assert interval.low <= value <= interval.high
    assert 0.1 < interval.high - interval.low < 0.2


def test_student_quantiles():
    assert t_quantile(0.95, 1e9) == pytest.approx(1.959964, abs=1e-6)
    assert t_quantile(0.95, 2) == pytest.approx(4.302653, abs=1e-6)


def test_clusters_are_summed_in_order_of_appearance():
    sums = cluster_sums(np.array([[1.0], [2.0], [4.0]]), ["b", "a", "b"])
    assert sums.tolist() == [[5.0], [2.0]]


def test_distinct_rows_come_most_frequent_first():
    rows, counts = distinct_rows(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]]))
    assert rows.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert counts.tolist() == [2, 1]


@pytest.mark.parametrize("digits", [1, 15])
def test_draws_have_the_mean_and_deviation_of_resampling_by_hand(digits):
    # few distinct rows are drawn as counts, many by index: the same distribution
    rows = np.round(np.random.default_rng(0).random((400, 2)), digits)
    rows = rows[np.zeros(400, dtype=int) + np.arange(400) % 20] if digits == 1 else rows
    totals = resampled_totals(rows, 4000, np.random.default_rng(1))
    assert totals.mean(axis=0) == pytest.approx(rows.sum(axis=0), rel=0.002)
    assert totals.std(axis=0) == pytest.approx(rows.std(axis=0) * 20, rel=0.05)
    by_hand = np.corrcoef(rows, rowvar=False)[0, 1]
    assert np.corrcoef(totals, rowvar=False)[0, 1] == pytest.approx(by_hand, abs=0.05)


def test_equal_seeds_draw_equal_totals():
    rows = np.random.default_rng(0).random((50, 3))
    twice = [resampled_totals(rows, 200, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*twice)


def test_the_error_of_several_seeds_holds_items_and_seeds():
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 0.01, size=(20_000, 1)) + rng.normal(0, 1e-9, size=(20_000, 3))
    values = np.array([0.90, 0.92, 0.94])
    found = estimate(values, draws, [Side(0, 3, 1.0)], 500, 0.95, rng)
    assert found.value == pytest.approx(0.92)
    assert found.item_error == pytest.approx(0.01, rel=0.02)
    assert found.error == pytest.approx(np.sqrt(0.01**2 + 0.02**2 / 3), rel=0.02)
    assert 2 < found.df < 10


def test_one_run_repeated_adds_no_seed_error():
    draws = np.repeat(np.random.default_rng(0).normal(0, 0.01, size=(5000, 1)), 3, axis=1)
    found = estimate(np.full(3, 0.9), draws, [Side(0, 3, 1.0)], 500, 0.95, np.random.default_rng(0))
    assert found.error == pytest.approx(found.item_error)
