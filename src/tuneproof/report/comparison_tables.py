"""The comparisons as tables, the claims apart from the other pairs, and what their headers mean.

In: comparisons as the study computed them. Out: tables of strings, terms with their meaning.
Knows nothing of: HTML tags, drawing, predictions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.report import formatting, tables

HEADER = ("Pair", "Metric", "Difference", "p", "p (Holm)", "MDE", "Discordant", "n", "Margin", "Outcome")
NUMERIC = (False, False, False, True, True, True, True, True, False, False)
DIFFERENCE = (
    "first arm minus second on the same items, in points where the metric is a percentage, with its {level} "
    "% confidence interval (CI), uncorrected."
)
P_VALUE = (
    "how often two equally good arms would differ by at least as much. McNemar's test for accuracy with one "
    "seed on independent items; else a t-test over groups of items and over seeds."
)
EXPLORATORY = (
    " Where it is not corrected, two equally good arms still get a p below 0.05 one time in 20, so of many "
    "such pairs a few seem to differ."
)
MDE = "minimum detectable effect: a true difference of this size is detected in {power} % of such studies."
MDE_OF_CORRECTED = " Where p is corrected, it is that of the corrected test."
DISCORDANT = "items that only the first arm gets right : items that only the second gets right."
MARGIN = (
    "the claim's, and what is shown of it. The verdict's “at least” and “at most” are ends of an interval of "
    "{level} % where the difference lies beyond the margin, and of {one_sided} % (one-sided tests) where the "
    "arms are as good; wider where p is corrected."
)
CLAIMS, OTHERS = "Claims", "Other pairs, exploratory, not corrected"
RECOMMENDED = "The recommended arm over others, exploratory, corrected"
OF_RECOMMENDED = (
    "In the table of the recommended arm: corrected by Holm's method for the {family} comparisons of the "
    "best arm on dev, and of the arms as good as it, with every arm. Where another arm than the best is "
    "recommended, its comparison with the best selected it and is not among these."
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
    """Whether p is corrected: for several claims or arms, or for seeds added after results."""
    several = (pair.get("claims") or 1) > 1 or (pair.get("look_factor") or 1) > 1
    return several or pair.get("p_adjusted") not in (None, pair.get("p_value"))


def _is_same(pair: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two comparisons are of the same arms by one metric, whichever is named first."""
    arms = {pair.get("arm"), pair.get("over")} == {other.get("arm"), other.get("over")}
    return arms and pair.get("metric") == other.get("metric")


def compared_pairs(
    pairs: Sequence[dict[str, Any]],
    recommended: Sequence[dict[str, Any]],
    selecting: Sequence[dict[str, Any]] = (),
) -> dict[str, list[dict[str, Any]]]:
    """The comparisons by the titles of their tables: claims, the recommended arm's, the others.

    pairs: those of the study; recommended: those of the recommended arm with others; selecting: arm, over and
    metric of the one that let it be recommended, which explores nothing. Neither is among the others.
    """
    claims = [pair for pair in pairs if pair.get("claim")]
    others = [pair for pair in pairs if not pair.get("claim")]
    listed = [*recommended, *selecting]
    others = [pair for pair in others if not any(_is_same(pair, other) for other in listed)]
    return {CLAIMS: claims, RECOMMENDED: list(recommended), OTHERS: others}


def without_claims(parts: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The recommended arm's comparisons that are not claims."""
    return [p for p in parts[RECOMMENDED] if not any(_is_same(p, claim) for claim in parts[CLAIMS])]


def comparison_table(pairs: Sequence[dict[str, Any]], positive: str) -> tables.Table:
    """Comparisons with the columns that they fill."""
    rows = [(pair_name(pair), *comparison_cells(pair, positive)) for pair in pairs]
    return tables.Table(HEADER, tuple(rows), NUMERIC).without_empty_columns()


def pair_name(pair: dict[str, Any]) -> str:
    """A comparison's name, such as "full over head"."""
    return f"{pair.get('arm')} over {pair.get('over')}"


def comparison_terms(
    parts: Mapping[str, Sequence[dict[str, Any]]], made: Sequence[tables.Table]
) -> list[tuple[str, str]]:
    """What the headers of the tables that were made mean; parts: of `compared_pairs`."""
    pairs = [pair for some in parts.values() for pair in some]
    corrected = [pair for pair in pairs if is_corrected(pair)]
    level, one_sided = (_percent(pairs, "level", 0.95, factor) for factor in (1, 2))
    meanings = {
        "Difference": DIFFERENCE.format(level=level),
        "p": P_VALUE + (EXPLORATORY if parts[OTHERS] else ""),
        "p (Holm)": " ".join(_corrections(parts)),
        "MDE": MDE.format(power=_percent(pairs, "power", 0.8)) + (MDE_OF_CORRECTED if corrected else ""),
        "Discordant": DISCORDANT,
        "n": "test items.",
        "Margin": MARGIN.format(level=level, one_sided=one_sided),
    }
    headers = {header for table in made for header in table.header}
    return [(header, meaning) for header, meaning in meanings.items() if header in headers]


def _percent(pairs: Sequence[dict[str, Any]], key: str, default: float, sides: int = 1) -> str:
    """The level or the power of the comparisons, which all have the same; sides: 2 for one-sided tests."""
    value = next((pair[key] for pair in pairs if pair.get(key)), default)
    return formatting.format_percent(1 - sides * (1 - value), 0)


def _corrections(parts: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """For what p is corrected in each table."""
    claims, others = ([p for p in parts[title] if is_corrected(p)] for title in (CLAIMS, RECOMMENDED))
    sentences = [_correction(claims, len(parts[CLAIMS]))] if claims else []
    families = dict.fromkeys(int(pair.get("claims") or 1) for pair in others)
    return [*sentences, *(OF_RECOMMENDED.format(family=formatting.count(size)) for size in families)]


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
