"""The statistics are proved by simulation: the short form, with slack for its few studies."""

import numpy as np
import pytest
from benchmarks import simulate_statistics as simulation


@pytest.fixture(scope="module")
def rows():
    return simulation.simulate(short=True, studies=150, say=str, settle=False)


def test_intervals_of_scores_and_differences_hold_the_truth(rows):
    asked = [row for row in rows if row.what in ("score", "no gap", "gap") and not row.warned]
    assert len(asked) >= 20
    assert [str(row) for row in asked if not row.within(errors=3)] == []
    assert 0.94 < np.mean([row.share for row in asked]) < 0.97


def test_equal_arms_are_seldom_called_better_or_worse(rows):
    claims = [row for row in rows if row.what == "claims"]
    assert len(claims) >= 16
    assert [str(row) for row in claims if not row.within(errors=3)] == []
    assert np.mean([row.share for row in claims]) <= 0.05


def test_the_smallest_detectable_difference_is_detected_in_four_of_five_studies(rows):
    power = [row for row in rows if row.what.startswith("power")]
    assert len(power) >= 3
    assert [str(row) for row in power if not row.within(errors=3)] == []


def test_the_first_of_equal_arms_on_a_board_is_seldom_called_better(rows):
    boards = [row for row in rows if row.what.startswith("board")]
    assert [str(row) for row in boards if not row.within(errors=3)] == []
    assert len(boards) == 1


def test_true_level_of_the_exact_test_is_at_most_five_per_cent():
    # no simulation: both wrong directions summed over the binomial counts
    from tuneproof.score.power import _exact_power

    for n, discordance in ((50, 0.25), (200, 0.1), (500, 0.25), (872, 0.06), (2000, 0.1)):
        assert 2 * _exact_power(n, discordance, 0.0, 0.95) <= 0.05


def test_the_same_holds_on_unkind_data(rows):
    unkind = [row for row in rows if row.what.split(":")[0] not in ("score", "no gap", "gap", "claims")]
    kinds = {row.what.split(":")[0] for row in unkind}
    assert {"one group of 40 %", "5 groups", "repeated, 28 % distinct", "calibration", "best of 8"} <= kinds
    assert [str(row) for row in unkind if not row.within(errors=3)] == []


@pytest.mark.slow
def test_the_full_simulation_has_no_violation():
    assert simulation.main([]) == 0
