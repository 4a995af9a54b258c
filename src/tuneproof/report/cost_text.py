"""Costs as short text: amounts of money or of seconds, with their spread, and break-evens.

In: costs. Out: short strings. Knows nothing of: studies, arms, files.
"""

import math

from tuneproof.record.costs import SECONDS
from tuneproof.report.formatting import NOTHING, abbreviate_count, format_duration
from tuneproof.score.cost import Amount, BreakEven


def cost_text(value: float | None, unit: str) -> str:
    """A cost with its unit, to three digits: 0.00123 USD, 1,230 USD, 2.1 s."""
    if value is None:
        return NOTHING
    return format_duration(value) if unit == SECONDS else f"{_three_digits(value)} {unit}"


def amount_text(amount: Amount | None, unit: str) -> str:
    """A cost with the spread of its measurements, where it has any."""
    if amount is None:
        return NOTHING
    text, low, high = (cost_text(value, unit) for value in (amount.value, amount.low, amount.high))
    return text if low == high else f"{text} ({low.removesuffix(f' {unit}')} to {high})"


def latency_text(seconds: float | None) -> str:
    """A latency to three digits: 0.012 ms, 12.3 ms, 1.2 s."""
    if seconds is None:
        return NOTHING
    return format_duration(seconds) if seconds >= 1 else f"{_three_digits(1000 * seconds)} ms"


def break_even_text(pays: BreakEven | None) -> str:
    """From or up to how many items an arm pays, with the interval."""
    if pays is None:
        return "not known"
    if pays.items is None:
        return pays.outcome
    low = abbreviate_count(pays.low)
    spread = f"{low} to {abbreviate_count(pays.high)}" if pays.high is not None else f"{low} or more"
    return f"{pays.outcome} {abbreviate_count(pays.items)} items ({spread})"


def _three_digits(value: float) -> str:
    if not value:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 10)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
