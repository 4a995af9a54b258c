"""Costs and times as a reader meets them: three digits, whatever their size."""

import pytest

from tuneproof.report.cost_text import amount_text, cost_text, latency_text
from tuneproof.score.cost import Amount


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((2.58e-8, "2.58e-8 EUR"), (1.449e-12, "1.45e-12 EUR"), (0.000099, "9.9e-5 EUR")),
        *((0.0001234, "0.000123 EUR"), (0.0293, "0.0293 EUR"), (60, "60 EUR"), (1234.5, "1,234 EUR")),
        *((0, "0 EUR"), (None, "–")),
    ],
)
def test_money_has_three_digits_and_no_row_of_zeros(value, text) -> None:
    assert cost_text(value, "EUR") == text


def test_seconds_below_a_hundredth_are_not_all_alike() -> None:
    assert [cost_text(seconds, "s") for seconds in (0, 3e-6, 0.004, 2.1)] == ["0 s", "3 µs", "4 ms", "2.1 s"]
    assert [latency_text(seconds) for seconds in (1.32e-5, 0.0126, 1.2)] == ["13.2 µs", "12.6 ms", "1.2 s"]


def test_a_spread_has_the_unit_once() -> None:
    assert amount_text(Amount(1.45e-7, 1.4e-7, 1.49e-7), "EUR") == "1.45e-7 EUR (1.4e-7 to 1.49e-7 EUR)"
    assert amount_text(Amount(2, 2, 2), "EUR") == "2 EUR"
