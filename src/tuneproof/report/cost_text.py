"""Costs as short text: amounts of money or of seconds, with their spread, and break-evens.

In: costs, names of arms. Out: short strings. Knows nothing of: studies, files.
"""

import math
from collections.abc import Callable, Sequence

from tuneproof.record.costs import MILLION, SECONDS, THOUSAND
from tuneproof.report.formatting import NOTHING, abbreviate_count, format_duration, spell_count
from tuneproof.score.cost import Amount, BreakEven
from tuneproof.score.verdict import join_names

NO_BREAK = "\u00a0"
CENT = 0.01  # of a currency: what costs less has no more digits
MICROSECONDS = 1e-4  # below, seconds are written in microseconds
SHORT_S = 0.01  # below, seconds are written in milliseconds
PAYS_PHRASES = {
    "always": "it costs less than {} at any number of items",
    "never": "it never costs less than {}",
    "cannot tell": "whether it costs less than {} cannot be told",
    "not known": "what {} would cost is not known",
}
NAMES = {THOUSAND: "1,000 items", MILLION: "1 million items"}


def items_of_cost(per_item: Sequence[Amount | None], unit: str) -> float:
    """For how many items the costs of arms are written: 1,000, or a million where some would be tiny."""
    values = [amount.value for amount in per_item if amount is not None and amount.value > 0]
    is_tiny = unit != SECONDS and bool(values) and THOUSAND * min(values) < CENT
    return MILLION if is_tiny else THOUSAND


def price_text(value: float | None, unit: str) -> str:
    """A price as it was given, with its unit and no exponent: 0.000015 EUR, 1,230 EUR."""
    return NOTHING if value is None else f"{_three_digits(value)} {unit}"


def cost_text(value: float | None, unit: str) -> str:
    """A cost with its unit, to three digits: 0.0123 USD, < 0.01 USD, 1,230 USD, 2.1 s."""
    if value is None:
        return NOTHING
    if unit != SECONDS:
        return f"< {CENT} {unit}" if 0 < value < CENT else price_text(value, unit)
    return latency_text(value) if 0 < value < SHORT_S else format_duration(value)


def amount_text(amount: Amount | None, unit: str) -> str:
    """A cost with the spread of its measurements, where it has any."""
    if amount is None:
        return NOTHING
    text, low, high = (cost_text(value, unit) for value in (amount.value, amount.low, amount.high))
    is_tiny = text.startswith("<")
    return text if low == high or is_tiny else f"{text} ({low.removesuffix(f' {unit}')} to {high})"


def latency_text(seconds: float | None) -> str:
    """A latency to three digits: 13.2 µs, 12.3 ms, 1.2 s."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return format_duration(seconds)
    if seconds < MICROSECONDS:
        return f"{_three_digits(1e6 * seconds)} µs"
    return f"{_three_digits(1000 * seconds)} ms"


def break_even_text(pays: BreakEven | None) -> str:
    """From or up to how many items an arm pays, with the interval."""
    if pays is None:
        return "not known"
    return f"{pays.outcome}{_number(pays, spell_count, ' items')}"


def break_even_cell(pays: BreakEven | None) -> str:
    """The same, short for a table whose cells all count items; its numbers do not break."""
    if pays is None:
        return break_even_text(pays)
    outcome, bracket, interval = f"{pays.outcome}{_number(pays, abbreviate_count)}".partition(" (")
    return "".join((outcome.replace(" ", NO_BREAK), bracket, interval.replace(" ", NO_BREAK)))


def _number(pays: BreakEven, show: Callable[[float | None], str], unit: str = "") -> str:
    """The number of items with its interval; "" without one."""
    if pays.items is None:
        return ""
    low, high = show(pays.low), show(pays.high)
    spread = f"{low} or more" if pays.high is None else f"{low} to {high}"
    return f" {show(pays.items)}{unit}{f' ({spread})' if low != high else ''}"


def break_even_sentence(pairs: Sequence[tuple[str, BreakEven | None]], unit: str) -> str:
    """From how many items one arm costs less than each other one; "" without a known cost.

    pairs: each other arm's name with the break-even against it.
    """
    if all(pays is None for _, pays in pairs):
        return ""
    bounded: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for name, pays in pairs:
        is_bounded = pays is not None and pays.items is not None
        key = break_even_text(pays) if pays is None or is_bounded else pays.outcome
        (bounded if is_bounded else names).setdefault(key, []).append(name)
    ends = [f"than {join_names(some)} {items}" for items, some in bounded.items()]
    parts = [f"it costs less {join_names(ends)}"] if ends else []
    parts += [phrase.format(join_names(names[key])) for key, phrase in PAYS_PHRASES.items() if key in names]
    return _as_sentences(parts, "training and items" if unit == SECONDS else "training, labels and items")


def _as_sentences(parts: Sequence[str], counted: str) -> str:
    others = [f"{part[0].upper()}{part[1:]}." for part in parts[1:]]
    return " ".join([f"Counting {counted}, {parts[0]}.", *others])


def _three_digits(value: float) -> str:
    if not value:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
