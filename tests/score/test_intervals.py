"""Intervals against published numbers, and what clusters and seeds do to them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.score.arms import noisy_arm
from tuneproof.metrics import METRICS, evaluate
from tuneproof.score.intervals import Side, estimate, t_quantile, wilson_interval
from tuneproof.score.jackknife import ItemSpread, bell_mccaffrey_df, item_spread
from tuneproof.score.scores import score
from tuneproof.settings import ScoreSettings


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


def test_degrees_of_freedom_of_equal_groups_are_one_less_than_the_groups():
    assert bell_mccaffrey_df(np.full(12, 1 / 12)) == pytest.approx(11)


def test_degrees_of_freedom_are_those_of_the_eigenvalues():
    # Bell and McCaffrey's definition by hand: G'G of the adjusted residual maker, identity as working model
    sizes = np.array([8, 1, 1, 3])
    n, owner = sizes.sum(), np.repeat(np.arange(4), sizes)
    columns = []
    for group, size in enumerate(sizes):
        column = (owner == group) - size / n
        columns.append(column / np.sqrt(1 - size / n))
    matrix = np.stack(columns, axis=1)
    eigenvalues = np.linalg.eigvalsh(matrix.T @ matrix)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert bell_mccaffrey_df(sizes / n) == pytest.approx(expected)


def test_the_spread_of_a_mean_over_single_items_is_the_textbooks():
    run = noisy_arm(50, 0.8, 0).items
    spread = item_spread(METRICS["accuracy"], [run], None)
    assert spread.covariance_RR[0, 0] == pytest.approx(run.right_N.var(ddof=1) / 50)
    assert spread.df == pytest.approx(49)


def test_the_spread_over_groups_is_cr2():
    run = noisy_arm(40, 0.7, 0).items
    right = run.right_N
    groups = np.repeat([0, 1, 2, 3, 4], [20, 5, 5, 5, 5])
    spread = item_spread(METRICS["accuracy"], [run], [str(g) for g in groups])
    residual = np.bincount(groups, right - right.mean())
    shares = np.bincount(groups) / 40
    assert spread.covariance_RR[0, 0] == pytest.approx((residual**2 / (1 - shares)).sum() / 40**2)
    assert spread.clusters == 5


@pytest.mark.parametrize("metric", ["f1_macro", "f1_weighted", "brier", "log_loss"])
def test_the_spread_of_other_metrics_is_that_of_resampling(metric):
    arm = noisy_arm(300, 0.8, 0)
    rng = np.random.default_rng(1)
    values = [evaluate(METRICS[metric], arm.take(rng.integers(0, 300, 300)).items) for _ in range(1500)]
    spread = item_spread(METRICS[metric], [arm.items], None)
    assert np.sqrt(spread.covariance_RR[0, 0]) == pytest.approx(np.std(values), rel=0.1)


def test_one_group_shows_nothing():
    run = noisy_arm(30, 0.8, 0)
    only = score([replace(run, groups=["a"] * 30)], None, ScoreSettings(), True)
    assert (only["accuracy"].low, only["accuracy"].high) == pytest.approx((0.0, 1.0), abs=0.001)
    assert all(np.isfinite([value.low, value.high]).all() for value in only.values())


def test_the_error_of_several_seeds_holds_items_and_seeds():
    values = np.array([0.90, 0.92, 0.94])
    found = estimate(values, ItemSpread(np.full((3, 3), 0.01**2), 499, 500), [Side(0, 3, 1.0)], 0.95)
    assert found.value == pytest.approx(0.92)
    assert found.item_error == pytest.approx(0.01)
    assert found.error == pytest.approx(np.sqrt(0.01**2 + 0.02**2 / 3))
    assert 2 < found.df < 10


def test_from_five_seeds_on_degrees_of_freedom_are_satterthwaites():
    values = np.array([0.90, 0.92, 0.94, 0.91, 0.93])
    items, seeds = 0.01**2, values.var(ddof=1) / 5
    found = estimate(values, ItemSpread(np.full((5, 5), items), 499, 500), [Side(0, 5, 1.0)], 0.95)
    assert found.df == pytest.approx((items + seeds) ** 2 / (items**2 / 499 + seeds**2 / 4))


def test_one_run_repeated_adds_no_seed_error():
    spread = ItemSpread(np.full((3, 3), 0.01**2), 499, 500)
    found = estimate(np.full(3, 0.9), spread, [Side(0, 3, 1.0)], 0.95)
    assert found.error == found.item_error
