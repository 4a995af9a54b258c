"""Costs as short text: amounts of money or of seconds, with their spread, and break-evens.

In: costs, names of arms. Out: short strings. Knows nothing of: studies, files.
"""

import math
from collections.abc import Sequence

from tuneproof.record.costs import SECONDS
from tuneproof.report.formatting import NOTHING, abbreviate_count, format_duration
from tuneproof.score.cost import Amount, BreakEven
from tuneproof.score.verdict import join_names

NO_BREAK = "\u00a0"
TINY = 1e-4  # below, a cost is written as 1.45e-7
SHORT_S = 0.01  # below, seconds are written in milliseconds


def cost_text(value: float | None, unit: str) -> str:
    """A cost with its unit, to three digits: 0.00123 USD, 1.45e-7 USD, 1,230 USD, 2.1 s."""
    if value is None:
        return NOTHING
    if unit != SECONDS:
        return f"{_three_digits(value)} {unit}"
    return latency_text(value) if 0 < value < SHORT_S else format_duration(value)


def amount_text(amount: Amount | None, unit: str) -> str:
    """A cost with the spread of its measurements, where it has any."""
    if amount is None:
        return NOTHING
    text, low, high = (cost_text(value, unit) for value in (amount.value, amount.low, amount.high))
    return text if low == high else f"{text} ({low.removesuffix(f' {unit}')} to {high})"


def latency_text(seconds: float | None) -> str:
    """A latency to three digits: 13.2 µs, 12.3 ms, 1.2 s."""
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return format_duration(seconds)
    return f"{_three_digits(1e6 * seconds)} µs" if seconds < TINY else f"{_three_digits(1000 * seconds)} ms"


def break_even_text(pays: BreakEven | None) -> str:
    """From or up to how many items an arm pays, with the interval."""
    if pays is None:
        return "not known"
    return f"{pays.outcome}{_number(pays, ' items')}"


def break_even_cell(pays: BreakEven | None) -> str:
    """The same, short for a table whose cells all count items; its numbers do not break."""
    if pays is None:
        return break_even_text(pays)
    outcome, bracket, interval = f"{pays.outcome}{_number(pays)}".partition(" (")
    return "".join((outcome.replace(" ", NO_BREAK), bracket, interval.replace(" ", NO_BREAK)))


def _number(pays: BreakEven, unit: str = "") -> str:
    """The number of items with its interval; "" without one."""
    if pays.items is None:
        return ""
    low = abbreviate_count(pays.low)
    spread = f"{low} to {abbreviate_count(pays.high)}" if pays.high is not None else f"{low} or more"
    return f" {abbreviate_count(pays.items)}{unit} ({spread})"


def break_even_sentence(pairs: Sequence[tuple[str, BreakEven | None]], unit: str) -> str:
    """From how many items one arm costs less than each other one; "" without a known cost.

    pairs: each other arm's name with the break-even against it.
    """
    names: dict[str, list[str]] = {}
    for name, pays in pairs:
        key = "not known" if pays is None else "bounded" if pays.items is not None else pays.outcome
        names.setdefault(key, []).append(f"{name} {break_even_text(pays)}" if key == "bounded" else name)
    phrases = (
        ("always", "it costs less than {} at any number of items"),
        ("never", "it never costs less than {}"),
        ("cannot tell", "whether it costs less than {} cannot be told"),
        ("not known", "what {} would cost is not known"),
    )
    parts = [f"it costs less than {' and than '.join(names['bounded'])}"] if "bounded" in names else []
    parts += [phrase.format(join_names(names[key])) for key, phrase in phrases if key in names]
    counted = "training and items" if unit == SECONDS else "training, labels and items"
    return f"Counting {counted}, {'; '.join(parts)}." if set(names) - {"not known"} else ""


def _three_digits(value: float) -> str:
    if abs(value) < TINY:
        return f"{value:.3g}".replace("e-0", "e-")
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
