"""Costs and times as a reader meets them: three digits, whatever their size."""

import pytest

from tuneproof.report.cost_text import amount_text, cost_text, items_of_cost, latency_text, price_text
from tuneproof.score.cost import Amount


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((2.58e-8, "< 0.01 EUR"), (0.0099, "< 0.01 EUR"), (0.01, "0.01 EUR"), (0.01234, "0.0123 EUR")),
        *((0.293, "0.293 EUR"), (60, "60 EUR"), (1234.5, "1,234 EUR"), (0, "0 EUR"), (None, "–")),
    ],
)
def test_money_has_three_digits_and_nothing_below_a_cent(value, text) -> None:
    assert cost_text(value, "EUR") == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.45e-7, "0.000000145 EUR"), (0.0005, "0.0005 EUR"), (2, "2 EUR"), (None, "–")]
)
def test_a_price_is_written_as_it_was_given_without_an_exponent(value, text) -> None:
    assert price_text(value, "EUR") == text


def test_costs_are_of_a_million_items_where_those_of_a_thousand_are_below_a_cent() -> None:
    dear, cheap, free = (Amount(value, value, value) for value in (0.1, 2e-6, 0.0))
    assert items_of_cost([dear, None, free], "EUR") == 1000
    assert items_of_cost([dear, cheap], "EUR") == 1_000_000
    assert items_of_cost([cheap], "s") == 1000
    assert items_of_cost([None], "EUR") == 1000


def test_seconds_below_a_hundredth_are_not_all_alike() -> None:
    assert [cost_text(seconds, "s") for seconds in (0, 3e-6, 0.004, 2.1)] == ["0 s", "3 µs", "4 ms", "2.1 s"]
    assert [latency_text(seconds) for seconds in (1.32e-5, 0.0126, 1.2)] == ["13.2 µs", "12.6 ms", "1.2 s"]


def test_a_spread_has_the_unit_once() -> None:
    assert amount_text(Amount(0.145, 0.14, 0.149), "EUR") == "0.145 EUR (0.14 to 0.149 EUR)"
    assert amount_text(Amount(1.45e-7, 1.4e-7, 1.49e-7), "EUR") == "< 0.01 EUR"
    assert amount_text(Amount(2, 2, 2), "EUR") == "2 EUR"
