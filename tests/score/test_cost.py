"""Break-evens of two arms, and the spread of measurements, by hand."""

import pytest

from tuneproof.score.cost import Amount, break_even, measured

CHEAP, DEAR = Amount(1.0, 0.9, 1.1), Amount(2.0, 1.9, 2.1)


def test_an_arm_that_is_trained_first_pays_from_the_items_that_win_it_back() -> None:
    pays = break_even(10.0, CHEAP, 0.0, DEAR)
    assert pays.outcome == "from"
    assert pays.items == pytest.approx(10.0)
    assert (pays.low, pays.high) == (pytest.approx(10 / 1.2), pytest.approx(10 / 0.8))


def test_the_other_arm_pays_up_to_the_same_items() -> None:
    pays = break_even(0.0, DEAR, 10.0, CHEAP)
    assert pays.outcome == "up to"
    assert pays.items == pytest.approx(10.0)
    assert (pays.low, pays.high) == (pytest.approx(10 / 1.2), pytest.approx(10 / 0.8))


def test_an_arm_that_is_cheaper_in_both_ways_always_pays_and_the_other_never() -> None:
    assert break_even(0.0, CHEAP, 10.0, DEAR).outcome == "always"
    assert break_even(10.0, DEAR, 0.0, CHEAP).outcome == "never"
    assert break_even(10.0, CHEAP, 10.0, DEAR).outcome == "always"


def test_costs_an_item_that_differ_by_less_than_they_spread_have_no_break_even() -> None:
    assert break_even(10.0, Amount(2.0, 1.0, 3.0), 0.0, Amount(2.5, 2.0, 3.0)).outcome == "cannot tell"
    free = Amount(0.0, 0.0, 0.0)
    assert break_even(0.0, free, 0.0, free).outcome == "cannot tell"


def test_a_spread_that_reaches_the_other_cost_leaves_the_interval_open() -> None:
    pays = break_even(10.0, Amount(2.0, 2.0, 2.0), 0.0, Amount(2.5, 2.0, 3.0))
    assert (pays.outcome, pays.low, pays.high) == ("from", 10.0, None)


def test_the_spread_of_measurements_holds_their_mean() -> None:
    amount = measured([1.0, 1.0, 1.0, 1.0, 50.0])
    assert amount.value == pytest.approx(10.8)
    assert amount.low <= 10.8 <= amount.high
    assert measured([0.5]) == Amount(0.5, 0.5, 0.5)
