"""Score against cost with the Pareto front, as inline SVG.

In: a cost and a score per arm. Out: a figure, coloured by CSS variables.
Knows nothing of: files, pages, how costs and scores were measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tuneproof.report.charts import svg
from tuneproof.report.formatting import abbreviate_count, format_percent

Box = tuple[float, float, float, float]  # left, top, right, bottom
LETTER_PX = 6.6  # of a wide font, so that names are not longer than their boxes
NAME_PX = 13  # the height of a name
NEAR_PX = 13  # farther from its point, a name is joined to it by a line
OUTSIDE = 400  # against the area of an overlap, for each pixel
AWAY = 2.0  # against the area of an overlap, for each pixel between a name and its point


@dataclass(frozen=True)
class Mark:
    """One arm in a figure of score (y) against cost (x); low and high: the ends of the score's interval."""

    name: str
    x: float
    y: float
    ink: str
    low: float | None = None
    high: float | None = None


def pareto(marks: Sequence[Mark]) -> list[Mark]:
    """The Pareto front, cheapest first: no cheaper mark is at least as good."""
    front: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if not front or mark.y > front[-1].y:
            front.append(mark)
    return front


def _overlap(box: Box, occupied: Sequence[Box]) -> float:
    """The area that a box shares with others, plus a penalty for what lies outside the figure."""
    left, top, right, bottom = box
    outside = (
        max(0.0, svg.PLOT.left - left) + max(0.0, right - svg.WIDTH) + max(0.0, bottom - svg.PLOT.bottom)
    )
    area = (outside + max(0.0, -top)) * OUTSIDE
    for x0, y0, x1, y1 in occupied:
        area += max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(bottom, y1) - max(top, y0))
    return area


def _nearest(box: Box, x: float, y: float) -> svg.Point:
    """The point of a box that is nearest to another point."""
    left, top, right, bottom = box
    return min(max(x, left), right), min(max(y, top), bottom)


def _distance(box: Box, x: float, y: float) -> float:
    return math.dist(_nearest(box, x, y), (x, y))


def _name_boxes(marks: Sequence[Mark], points: dict[str, svg.Point]) -> dict[str, Box]:
    """Place each name around its point, where it overlaps least and is nearest."""
    occupied: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in points.values()]
    boxes_by_name = {}
    for mark in sorted(marks, key=lambda m: points[m.name]):
        x, y = points[mark.name]
        wide = LETTER_PX * len(mark.name)
        lefts = (x + 9, x - 9 - wide, x - wide / 2, x - wide + 6, x - 6)
        tops = [y - 7, *(top for step in range(6) for top in (y + 9 + 9 * step, y - 9 - NAME_PX - 9 * step))]
        boxes = [(left, top, left + wide, top + NAME_PX) for top in tops for left in lefts]
        costs = [_overlap(box, occupied) + AWAY * _distance(box, x, y) for box in boxes]
        best = boxes[costs.index(min(costs))]
        occupied.append(best)
        boxes_by_name[mark.name] = best
    return boxes_by_name


def _cost_scale(marks: Sequence[Mark]) -> tuple[svg.Scale, list[tuple[float, str]]]:
    """A log scale of the positive costs, and its ticks; zero has its own tick on the left."""
    costs = [mark.x for mark in marks if mark.x > 0]
    zero = len(costs) < len(marks)
    start = svg.PLOT.left + (34 if zero else 10)
    low, high = (min(costs), max(costs)) if costs else (1.0, 10.0)
    if high < low * 4:
        middle = math.sqrt(low * high)
        low, high = middle / 3, middle * 3
    scale = svg.Scale(low, high, float(start), svg.PLOT.right - 10, log=True)
    tick_labels = [(scale(value), _number(value)) for value in svg.log_ticks(low, high)]
    return scale, ([(svg.PLOT.left + 8, "0")] if zero else []) + tick_labels


def _front_line(points: Sequence[svg.Point]) -> Markup:
    """A stepped line through the points, extended to the right edge."""
    corners = [points[0]]
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    corners.append((svg.PLOT.right, corners[-1][1]))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return svg.tag("polyline", {"points": line, "class": "front"})


def _leader(box: Box, point: svg.Point, ink: str) -> list[Markup]:
    """A line from a point to its name, where the name is not beside it."""
    if _distance(box, *point) <= NEAR_PX:
        return []
    (x1, y1), (x2, y2) = point, _nearest(box, *point)
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return [svg.tag("line", {**ends, "class": "leader", "style": f"stroke:{ink}"})]


def _number(value: float) -> str:
    """A tick of a scale, without an exponent."""
    return abbreviate_count(value) if value >= 1 else f"{value:.12f}".rstrip("0")


def cost_figure(marks: Sequence[Mark], x_title: str, y_title: str) -> Markup:
    """Score against cost on a log scale, with the Pareto front as a stepped line."""
    x_scale, x_ticks = _cost_scale(marks)
    values = [value for mark in marks for value in (mark.y, mark.low, mark.high) if value is not None]
    room = max((max(values) - min(values)) * 0.12, 0.01)
    low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)
    y_scale = svg.Scale(low, high, svg.PLOT.bottom, svg.PLOT.top)
    points = {m.name: (x_scale(m.x) if m.x > 0 else svg.PLOT.left + 8, y_scale(m.y)) for m in marks}
    drawn = svg.frame(
        y_scale, [(v, format_percent(v, 0)) for v in svg.ticks(low, high, 5)], x_ticks, x_title, y_title
    )
    front = pareto(marks)
    drawn.append(_front_line([points[mark.name] for mark in front]))
    boxes = _name_boxes(marks, points)
    for mark in marks:
        left, top, _, _ = boxes[mark.name]
        drawn += _leader(boxes[mark.name], points[mark.name], mark.ink)
        drawn.append(svg.label(left, top + 11, mark.name, {"class": "name", "style": f"fill:{mark.ink}"}))
    for mark in marks:
        x, y = points[mark.name]
        if mark.low is not None and mark.high is not None:
            ends = {"x1": x, "x2": x, "y1": y_scale(mark.low), "y2": y_scale(mark.high)}
            drawn.append(svg.tag("line", {**ends, "style": f"stroke:{mark.ink}", "stroke-opacity": 0.55}))
        drawn.append(svg.tag("circle", {"cx": x, "cy": y, "r": 4.5, "style": f"fill:{mark.ink}"}))
    best = ", ".join(mark.name for mark in front)
    return svg.figure(
        (svg.WIDTH, svg.HEIGHT), f"{y_title} against {x_title}", f"Pareto front: {best}.", drawn
    )
