"""The forest plot and the plot of paired differences, as inline SVG.

In: rows of arms, comparisons. Out: strips, coloured by CSS variables.
Knows nothing of: files, pages, how scores were computed.
"""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tuneproof.report.charts.svg import Scale, label, strip, tag, ticks
from tuneproof.report.formatting import NumberStyle
from tuneproof.report.tables import ArmRow, Score


def score_scale(scores: Sequence[Score], share: bool = True) -> Scale:
    """A scale in percent of the strip's width that contains every interval."""
    ends = [x for s in scores for x in (s.value, s.low, s.high) if x is not None] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    room = max((high - low) * 0.06, 0.004)
    low, high = low - room, high + room
    if share:
        low, high = max(0.0, low), min(1.0, high)
    return Scale(low, high, 2.0, 98.0)


def _across(value: float, scale: Scale, kind: str) -> Markup:
    x = f"{scale(value):.2f}%"
    return tag("line", {"x1": x, "x2": x, "y1": "0", "y2": "100%", "class": kind})


def _whisker(score: Score, scale: Scale, ink: str, hollow: bool) -> list[Markup]:
    drawn = []
    if score.low is not None and score.high is not None:
        ends = {"x1": f"{scale(score.low):.2f}%", "x2": f"{scale(score.high):.2f}%"}
        style = f"stroke:{ink}"
        drawn.append(tag("line", {**ends, "y1": "50%", "y2": "50%", "class": "bar", "style": style}))
    at = f"{scale(score.value or 0.0):.2f}%"
    style = f"stroke:{ink};fill:{'var(--paper)' if hollow else ink}"
    drawn.append(tag("circle", {"cx": at, "cy": "50%", "r": 5, "class": "dot", "style": style}))
    return drawn


def score_strip(
    row: ArmRow, score: Score, style: NumberStyle, scale: Scale, base: Sequence[float], ink: str
) -> Markup:
    """One arm of the forest plot; `base` holds the baselines' values, drawn as reference lines."""
    description = f"{row.label}: {style.value(score.value)}{style.unit}"
    if score.low is not None:
        description += f", CI {style.value(score.low)} to {style.value(score.high)}"
    lines = [_across(value, scale, "reference") for value in base]
    return strip(description, [*lines, *_whisker(score, scale, ink, row.kind == "baseline")])


def axis_strip(scale: Scale, share: bool = True, sign: bool = False) -> Markup:
    """The axis below the strips, in percent or percentage points if the metric is a share."""
    drawn = []
    marks = ticks(scale.low, scale.high, 5)
    step = (marks[1] - marks[0] if len(marks) > 1 else 1.0) * (100 if share else 1)
    style = NumberStyle(share, max(0, -math.floor(math.log10(step * 1.001))))
    for value in marks:
        x = scale(value)
        anchor = "start" if x < 5 else "end" if x > 95 else "middle"
        drawn.append(tag("line", {"x1": f"{x:.2f}%", "x2": f"{x:.2f}%", "y1": "0", "y2": "5"}))
        text = style.value(value, sign)
        drawn.append(label(f"{x:.2f}%", "18", text, {"text-anchor": anchor}))
    return tag("svg", {"class": "axis", "aria-hidden": "true"}, drawn)


def difference_scale(pairs: Sequence[dict[str, Any]]) -> Scale:
    """A scale in percent of the strip's width that contains zero, every interval and every MDE."""
    ends = [0.0]
    for pair in pairs:
        ends += [pair[key] for key in ("difference", "low", "high") if pair.get(key) is not None]
        for band in (pair.get("mde"), pair.get("margin")):
            ends += [band, -band] if band is not None else []
    low, high = min(ends), max(ends)
    room = max((high - low) * 0.06, 0.004)
    return Scale(low - room, high + room, 2.0, 98.0)


def difference_strip(pair: dict[str, Any], style: NumberStyle, scale: Scale) -> Markup:
    """A paired difference with its interval, a line at zero, the band of the MDE, and the claim's margin."""
    description = f"{pair.get('arm')} minus {pair.get('over')}: {style.value(pair['difference'], True)}"
    drawn = []
    if pair.get("mde") is not None:
        start, end = scale(-pair["mde"]), scale(pair["mde"])
        box = {"x": f"{start:.2f}%", "width": f"{end - start:.2f}%", "y": "0", "height": "100%"}
        drawn.append(tag("rect", {**box, "class": "mde"}))
        description += f"; smallest detectable difference {style.value(pair['mde'])}"
    if pair.get("margin") is not None:
        drawn += [_across(end, scale, "margin") for end in (-pair["margin"], pair["margin"])]
        description += f"; margin {style.value(pair['margin'])}"
    ink = {"better": "var(--good)", "worse": "var(--bad)"}.get(str(pair.get("outcome")), "var(--grey)")
    score = Score(pair["difference"], pair.get("low"), pair.get("high"))
    drawn += [_across(0.0, scale, "zero"), *_whisker(score, scale, ink, False)]
    return strip(description, drawn)
