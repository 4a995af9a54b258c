"""The comparisons as tables, the claims apart from the other pairs, and what their headers mean.

In: comparisons as the study computed them. Out: tables of strings, terms with their meaning.
Knows nothing of: HTML tags, drawing, predictions.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.report import formatting, tables

HEADER = ("Pair", "Metric", "Difference", "p", "p (Holm)", "MDE", "Discordant", "n", "Margin", "Outcome")
NUMERIC = (False, False, False, True, True, True, True, True, False, False)
DIFFERENCE = (
    "first arm minus second on the same items, in points where the metric is a percentage, with its {level} "
    "% confidence interval (CI), uncorrected."
)
P_VALUE = (
    "how often two equal arms would differ at least so much. McNemar's test for accuracy with one seed on "
    "independent items; else a t-test over groups of items and over seeds."
)
EXPLORATORY = " The other pairs are uncorrected: of 20 pairs of equal arms, about one has p below 0.05."
MDE = "minimum detectable effect: a true difference of this size is detected in {power} % of such studies."
MDE_OF_CLAIMS = " Those of claims are for the corrected test."
DISCORDANT = "items that only the first arm gets right : items that only the second gets right."
MARGIN = (
    "the claim's, and what is shown of it. Its interval in the verdict has the level of its own test: wider "
    "than the one above where it is corrected, 90 % for “as good as” (two one-sided tests of 5 %)."
)
CHANGED = (
    "corrected for all {family} comparisons, any of which could have become the claim: it was changed after "
    "results"
)


def comparison_style(pair: dict[str, Any]) -> formatting.NumberStyle:
    """The decimals that the interval of a comparison supports."""
    return formatting.choose_style(
        pair.get("low"), pair.get("high"), tables.is_share(str(pair.get("metric")))
    )


def difference_text(pair: dict[str, Any], style: formatting.NumberStyle) -> str:
    """The difference with its interval."""
    interval = style.interval(pair.get("low"), pair.get("high"), True)
    return f"{style.value(pair['difference'], True)} {interval}"


def comparison_cells(pair: dict[str, Any], positive: str) -> tuple[str, ...]:
    """The cells of a comparison behind its name."""
    style = comparison_style(pair)
    adjusted = pair.get("p_adjusted") if is_corrected(pair) else None
    p_values = [formatting.format_p_value(value) for value in (pair.get("p_value"), adjusted)]
    right = [formatting.count(pair.get(key)) for key in ("only_arm_right", "only_over_right")]
    mde, size = style.value(pair.get("mde")), formatting.count(pair.get("n"))
    outcome = str(pair.get("outcome") or formatting.NOTHING) + (" (withheld)" if pair.get("withheld") else "")
    numbers = (difference_text(pair, style), *p_values, mde, " : ".join(right), size)
    title = tables.metric_title(str(pair.get("metric")), positive)
    return (title, *numbers, _format_margin(pair, style), outcome)


def _format_margin(pair: dict[str, Any], style: formatting.NumberStyle) -> str:
    """The claim's margin, and what is shown of it."""
    margin = pair.get("margin")
    outcome = pair.get("margin_outcome") or formatting.NOTHING
    return f"{style.value(margin)}: {outcome}" if margin is not None else formatting.NOTHING


def is_corrected(pair: dict[str, Any]) -> bool:
    """Whether p of a claim is corrected, for other claims or for seeds added after results."""
    several = (pair.get("claims") or 1) > 1 or (pair.get("look_factor") or 1) > 1
    return bool(pair.get("claim")) and (several or pair.get("p_adjusted") != pair.get("p_value"))


def comparison_tables(
    pairs: Sequence[dict[str, Any]], rows: Sequence[tuple[str, ...]]
) -> list[tuple[str, tables.Table]]:
    """The claims and the other pairs, each with the columns that it fills."""
    parts = [
        (title, [row for row, pair in zip(rows, pairs, strict=True) if bool(pair.get("claim")) is is_claim])
        for title, is_claim in (("Claims", True), ("Other pairs, exploratory", False))
    ]
    return [
        (title, tables.Table(HEADER, tuple(part), NUMERIC).without_empty_columns())
        for title, part in parts
        if part
    ]


def comparison_terms(
    pairs: Sequence[dict[str, Any]], made: Sequence[tuple[str, tables.Table]]
) -> list[tuple[str, str]]:
    """What the headers of the tables that were made mean."""
    claims = [pair for pair in pairs if pair.get("claim")]
    corrected = [pair for pair in claims if is_corrected(pair)]
    meanings = {
        "Difference": DIFFERENCE.format(level=_percent(pairs, "level", 0.95)),
        "p": P_VALUE + (EXPLORATORY if len(claims) < len(pairs) else ""),
        "p (Holm)": _correction(corrected, len(claims)),
        "MDE": MDE.format(power=_percent(pairs, "power", 0.8)) + (MDE_OF_CLAIMS if corrected else ""),
        "Discordant": DISCORDANT,
        "n": "test items.",
        "Margin": MARGIN,
    }
    headers = {header for _, table in made for header in table.header}
    return [(header, meaning) for header, meaning in meanings.items() if header in headers]


def _percent(pairs: Sequence[dict[str, Any]], key: str, default: float) -> str:
    """The level or the power of the comparisons, which all have the same."""
    return formatting.format_percent(next((pair[key] for pair in pairs if pair.get(key)), default), 0)


def _correction(corrected: Sequence[dict[str, Any]], claims: int) -> str:
    """For how many comparisons p is corrected, and why."""
    pair = next(iter(corrected), {})
    family, looks = int(pair.get("claims") or claims), int(pair.get("look_factor") or 1)
    reasons = [f"times {looks}, since seeds were added after results"] if looks > 1 else []
    if family > claims:
        reasons.insert(0, CHANGED.format(family=family))
    elif family > 1 or not reasons:
        reasons.insert(0, f"corrected for {family} claims" if family > 1 else "corrected")
    return f"p {', and '.join(reasons)}."
