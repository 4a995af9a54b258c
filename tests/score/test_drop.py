"""Drops: two independent sets of items, the same models seed by seed."""

import numpy as np
import pytest

from tests.score.arms import noisy_arm, predictions_of
from tuneproof.score.drop import OnTest, adjust_drops, measure_drop
from tuneproof.settings import ScoreSettings

SETTINGS = ScoreSettings()


def on_test(right: int, n: int, prefix: str = "item") -> OnTest:
    gold = [1] * n
    ids = [f"{prefix}{i}" for i in range(n)]
    return OnTest([predictions_of(gold, [1] * right + [0] * (n - right), ids=ids)], grouped=False)


def drop_of(main: OnTest, further: OnTest, metric: str = "accuracy"):
    return measure_drop(main, further, metric, SETTINGS)


def test_the_interval_is_newcombes_method_10_with_students_quantile() -> None:
    """Newcombe 1998, table II, contrast (a): 0.0524 to 0.3339 with the normal quantile."""
    drop = drop_of(on_test(56, 70), on_test(48, 80, "other"))
    assert drop.value == pytest.approx(0.2)
    assert (drop.low, drop.high) == (pytest.approx(0.0524, abs=0.005), pytest.approx(0.3339, abs=0.005))
    assert drop.low < 0.0524 < 0.3339 < drop.high


def test_a_set_that_is_all_right_twice_has_an_interval_all_the_same() -> None:
    drop = drop_of(on_test(40, 40), on_test(30, 30))
    assert drop.value == 0
    assert drop.low < -0.05 < 0.05 < drop.high
    assert not drop.is_shown


def test_the_drop_is_positive_where_a_lower_metric_is_better() -> None:
    main, further = (OnTest([noisy_arm(400, accuracy, 3)], False) for accuracy in (0.95, 0.6))
    assert drop_of(main, further, "brier").value > 0.1
    assert drop_of(main, further).value > 0.2


def test_seeds_are_paired_so_that_what_both_sets_share_does_not_widen_the_interval() -> None:
    shares = (0.9, 0.7, 0.8)
    main = OnTest([noisy_arm(4000, share, 7) for share in shares], False)
    alike = OnTest([noisy_arm(4000, share - 0.1, 8) for share in shares], False)
    crossed = OnTest([noisy_arm(4000, share - 0.1, 8) for share in (0.7, 0.9, 0.8)], False)
    paired, other = drop_of(main, alike), drop_of(main, crossed)
    assert paired.value == pytest.approx(other.value)
    assert paired.high - paired.low < (other.high - other.low) / 3
    assert paired.is_shown
    assert not other.is_shown


def test_items_of_one_group_count_as_one() -> None:
    main = OnTest([noisy_arm(400, 0.9, 1)], False)
    further = [noisy_arm(400, 0.7, 2, group_size=10)]
    single, whole = (drop_of(main, OnTest(further, grouped)) for grouped in (False, True))
    assert whole.high - whole.low > 1.5 * (single.high - single.low)


def test_drops_are_corrected_together() -> None:
    main = on_test(90, 100)
    drops = [drop_of(main, on_test(79, 100, "other")), *(drop_of(main, on_test(90, 100)) for _ in range(9))]
    adjusted = adjust_drops(drops)
    assert drops[0].is_shown
    assert not adjusted[0].is_shown
    assert adjusted[0].p_adjusted == pytest.approx(10 * drops[0].p_value)


def test_the_interval_holds_the_truth_in_about_95_of_100_samples() -> None:
    random, hits = np.random.default_rng(5), 0
    for _ in range(200):
        sides = [on_test(int(random.binomial(n, share)), n) for n, share in ((150, 0.9), (80, 0.75))]
        drop = drop_of(*sides)
        hits += drop.low <= 0.15 <= drop.high
    assert 182 <= hits <= 199
