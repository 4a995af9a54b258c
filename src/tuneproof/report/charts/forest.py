"""The forest plot, the paired differences and the cost of the arms, as inline SVG.

In: rows of arms and comparisons. Out: strips and pictures that take their colours from CSS variables.
Knows nothing of: files, pages, how scores were computed.

A strip is one row of a plot with coordinates in percent, so that it fits any width while its
numbers stand beside it as text; a picture has a fixed shape.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.report.charts.svg import Scale, figure, label, log_ticks, tag, ticks
from tuneproof.report.rounding import Style, percent, short_count
from tuneproof.report.tables import ArmRow, Score

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40
Box = tuple[float, float, float, float]  # left, top, right, bottom


def colour(index: int, kind: str = "") -> str:
    """The arm's colour everywhere on the page; baselines are grey."""
    return "var(--grey)" if kind == "baseline" else f"var(--c{index % 8})"


def score_scale(scores: Sequence[Score], share: bool = True) -> Scale:
    """A scale in percent of the strip's width that holds every interval, on round numbers."""
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


def strip(said: str, children: Sequence[str]) -> Markup:
    """One row of a plot, said in words for those who do not see it."""
    return tag(
        "svg", {"class": "strip", "role": "img", "aria-label": said}, [tag("title", {}, [said]), *children]
    )


def score_strip(
    row: ArmRow, score: Score, style: Style, scale: Scale, base: Sequence[float], ink: str
) -> Markup:
    """One arm of the forest plot; `base` are the baselines' values, drawn as reference lines."""
    said = f"{row.label}: {style.value(score.value)}{style.unit}"
    if score.low is not None:
        said += f", interval {style.value(score.low)} to {style.value(score.high)}"
    lines = [_across(value, scale, "reference") for value in base]
    return strip(said, [*lines, *_whisker(score, scale, ink, row.kind == "baseline")])


def axis_strip(scale: Scale, share: bool = True, sign: bool = False) -> Markup:
    """The axis under the strips, in percent or percentage points where the metric is a share."""
    drawn = []
    marks = ticks(scale.low, scale.high, 5)
    step = (marks[1] - marks[0] if len(marks) > 1 else 1.0) * (100 if share else 1)
    style = Style(share, max(0, -math.floor(math.log10(step * 1.001))))
    for value in marks:
        x = scale(value)
        anchor = "start" if x < 5 else "end" if x > 95 else "middle"
        drawn.append(tag("line", {"x1": f"{x:.2f}%", "x2": f"{x:.2f}%", "y1": "0", "y2": "5"}))
        shown = style.value(value, sign)
        drawn.append(label(f"{x:.2f}%", "18", shown, {"text-anchor": anchor}))
    return tag("svg", {"class": "axis", "aria-hidden": "true"}, drawn)


def difference_scale(pairs: Sequence[dict[str, Any]]) -> Scale:
    """A scale in percent of the strip's width that holds zero, every interval and every MDE."""
    ends = [0.0]
    for pair in pairs:
        ends += [pair[key] for key in ("difference", "low", "high") if pair.get(key) is not None]
        if pair.get("mde") is not None:
            ends += [pair["mde"], -pair["mde"]]
    low, high = min(ends), max(ends)
    room = max((high - low) * 0.06, 0.004)
    return Scale(low - room, high + room, 2.0, 98.0)


def difference_strip(pair: dict[str, Any], style: Style, scale: Scale) -> Markup:
    """A paired difference with its interval, zero, and the band of what could not be shown."""
    said = f"{pair.get('arm')} minus {pair.get('over')}: {style.value(pair['difference'], True)}"
    drawn = []
    if pair.get("mde") is not None:
        start, end = scale(-pair["mde"]), scale(pair["mde"])
        place = {"x": f"{start:.2f}%", "width": f"{end - start:.2f}%", "y": "0", "height": "100%"}
        drawn.append(tag("rect", {**place, "class": "mde"}))
        said += f"; a true one of {style.value(pair['mde'])} is found 80 times in 100"
    ink = {"better": "var(--good)", "worse": "var(--bad)"}.get(str(pair.get("outcome")), "var(--grey)")
    score = Score(pair["difference"], pair.get("low"), pair.get("high"))
    drawn += [_across(0.0, scale, "zero"), *_whisker(score, scale, ink, False)]
    return strip(said, drawn)


@dataclass(frozen=True)
class Mark:
    """One arm in a picture of cost against score."""

    name: str
    x: float
    y: float
    ink: str


def pareto(marks: Sequence[Mark]) -> list[Mark]:
    """The marks that no other beats: nothing cheaper is at least as good. Cheapest first."""
    front: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if not front or mark.y > front[-1].y:
            front.append(mark)
    return front


def _crossed(box: Box, taken: Sequence[Box]) -> float:
    """The area that a box shares with others, and what of it lies outside the picture."""
    left, top, right, bottom = box
    outside = max(0.0, LEFT - left) + max(0.0, right - WIDTH) + max(0.0, bottom - HEIGHT + BOTTOM)
    area = (outside + max(0.0, -top)) * 20
    for x0, y0, x1, y1 in taken:
        area += max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(bottom, y1) - max(top, y0))
    return area


def _name_boxes(marks: Sequence[Mark], place: dict[str, tuple[float, float]]) -> dict[str, Box]:
    """Where each name stands: beside its point, above or under it, where it covers least."""
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in place.values()]
    found = {}
    for mark in sorted(marks, key=lambda m: place[m.name]):
        x, y = place[mark.name]
        wide = 5.9 * len(mark.name)
        corners = [(x + 9, y - 7), (x - 9 - wide, y - 7)]
        for away in (9, 22, 35):
            for left in (x - wide / 2, x - wide + 6, x - 6):
                corners += [(left, y + away), (left, y - away - 13)]
        boxes = [(left, top, left + wide, top + 13) for left, top in corners]
        best = min(boxes, key=lambda box: _crossed(box, taken))
        taken.append(best)
        found[mark.name] = best
    return found


def _cost_scale(marks: Sequence[Mark]) -> tuple[Scale, list[tuple[float, str]]]:
    """A log scale of the costs above zero, and its ticks; zero has a place of its own at the left."""
    costs = [mark.x for mark in marks if mark.x > 0]
    zero = len(costs) < len(marks)
    start = LEFT + (34 if zero else 10)
    low, high = (min(costs), max(costs)) if costs else (1.0, 10.0)
    if high < low * 4:
        middle = math.sqrt(low * high)
        low, high = middle / 3, middle * 3
    scale = Scale(low, high, float(start), float(WIDTH - RIGHT - 10), log=True)
    shown = [
        (scale(value), short_count(value) if value >= 1 else f"{value:g}") for value in log_ticks(low, high)
    ]
    return scale, ([(float(LEFT + 8), "0")] if zero else []) + shown


def cost_figure(marks: Sequence[Mark], x_title: str, y_title: str) -> Markup:
    """Score against a cost on a log scale, with the Pareto front as a stepped line."""
    x_scale, x_ticks = _cost_scale(marks)
    values = [mark.y for mark in marks]
    room = max((max(values) - min(values)) * 0.12, 0.01)
    low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)
    y_scale = Scale(low, high, float(HEIGHT - BOTTOM), float(TOP))
    place = {m.name: (x_scale(m.x) if m.x > 0 else float(LEFT + 8), y_scale(m.y)) for m in marks}
    drawn = frame(y_scale, [(v, percent(v, 0)) for v in ticks(low, high, 5)], x_ticks, x_title, y_title)
    front = pareto(marks)
    corners: list[tuple[float, float]] = []
    for mark in front:
        x, y = place[mark.name]
        corners += [(x, corners[-1][1])] if corners else []
        corners.append((x, y))
    if corners:
        corners.append((float(WIDTH - RIGHT), corners[-1][1]))
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        drawn.append(tag("polyline", {"points": line, "class": "front"}))
    boxes = _name_boxes(marks, place)
    for mark in marks:
        x, y = place[mark.name]
        drawn.append(tag("circle", {"cx": x, "cy": y, "r": 4.5, "style": f"fill:{mark.ink}"}))
        left, top, _, _ = boxes[mark.name]
        drawn.append(label(left, top + 11, mark.name, {"class": "name"}))
    best = ", ".join(mark.name for mark in front)
    return figure((WIDTH, HEIGHT), f"{y_title} against {x_title}", f"Worth their cost: {best}.", drawn)


def frame(
    y_scale: Scale,
    y_ticks: Sequence[tuple[float, str]],
    x_ticks: Sequence[tuple[float, str]],
    x_title: str,
    y_title: str,
    width: int = WIDTH,
) -> list[Markup]:
    """Grid lines, tick labels and titles; `x_ticks` hold places, `y_ticks` hold values."""
    bottom, right = HEIGHT - BOTTOM, width - RIGHT
    drawn = [tag("line", {"x1": LEFT, "x2": right, "y1": bottom, "y2": bottom, "class": "rule"})]
    for value, shown in y_ticks:
        y = y_scale(value)
        drawn.append(tag("line", {"x1": LEFT, "x2": right, "y1": y, "y2": y, "class": "grid"}))
        drawn.append(label(LEFT - 6, y + 4, shown, {"text-anchor": "end"}))
    for x, shown in x_ticks:
        drawn.append(tag("line", {"x1": x, "x2": x, "y1": bottom, "y2": bottom + 4, "class": "rule"}))
        drawn.append(label(x, bottom + 16, shown, {"text-anchor": "middle"}))
    drawn.append(label(right, HEIGHT - 6, x_title, {"text-anchor": "end"}))
    if y_title:
        drawn.append(tag("title", {}, [y_title]))
    return drawn
