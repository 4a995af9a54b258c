"""Learning curves, as inline SVG.

In: the steps of arms. Out: figures, coloured by CSS variables.
Knows nothing of: files, pages, how an arm was trained.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from markupsafe import Markup

from tuneproof.report.charts import svg
from tuneproof.report.formatting import abbreviate_count, format_number, format_percent
from tuneproof.report.tables import ArmRow

PANELS = (
    ("loss", "Training loss"),
    ("dev_loss", "Dev loss"),
    ("dev_accuracy", "Dev accuracy"),
    ("dev_f1", "Dev F1"),
    ("learning_rate", "Learning rate"),
    ("gradient_norm", "Gradient norm"),
)
MAX_MARKS = 40
SHARES = ("Dev accuracy", "Dev F1")


@dataclass(frozen=True)
class Line:
    """One run's values of one quantity; `arm` is the index of the arm's row in the table."""

    arm: int
    name: str
    points: list[svg.Point]


def read_curves(rows: Sequence[ArmRow], quantity: str, by: str) -> list[Line]:
    """A line per arm and seed that recorded the quantity; `by` is "step" or "epoch"."""
    lines = []
    for index, row in enumerate(rows):
        for record in row.records:
            points = [
                (float(step[by]), float(step[quantity]))
                for step in record.steps
                if step.get(by) is not None and _is_drawn(step.get(quantity))
            ]
            if points:
                seed = record.about.get("seed")
                name = row.marked_label
                if seed is not None and len(row.seeds) > 1:
                    name = f"{name}, seed {seed}"
                lines.append(Line(index, name, points))
    return lines


def _is_drawn(value: float | None) -> bool:
    """Whether a value has a place in a figure; older records hold the infinite norms of skipped steps."""
    return value is not None and math.isfinite(value)


def _y_scale(lines: Sequence[Line], spread: Sequence[Line]) -> svg.Scale:
    """From zero or the smallest value to the largest; logarithmic if the runs' peaks are far apart."""
    peaks = [max(y for _, y in line.points) for line in spread]
    high, low = max(peaks), min(min(line.points, key=itemgetter(1))[1] for line in spread)
    bottom, top = svg.PLOT.bottom, svg.PLOT.top
    if min(peaks) > 0 and high / min(peaks) > 8:
        return svg.Scale(max(low, min(peaks) / 20, high * 1e-6), high, bottom, top, log=True)
    if low == high:  # a constant, such as a learning rate
        return svg.Scale(min(0.0, 1.25 * low), max(0.0, 1.25 * high) or 1.0, bottom, top)
    return svg.Scale(0.0 if 0 <= low < high * 0.6 else low - 0.05 * (high - low), high, bottom, top)


def curve_figure(title: str, lines: Sequence[Line], spread: Sequence[Line], by: str) -> Markup:
    """One quantity over training. The lines in `spread` set the y scale, which the losses share."""
    positions = [x for line in lines for x, _ in line.points]
    first, last = min(0.0, *positions), max(positions)
    x_scale = svg.Scale(first, last, svg.PLOT.left + 2, svg.PLOT.right)
    y_scale = _y_scale(lines, spread)
    share = title in SHARES
    values = (
        svg.log_ticks(y_scale.low, y_scale.high) if y_scale.log else svg.ticks(y_scale.low, y_scale.high, 5)
    )
    y_ticks = [(value, format_percent(value, 0) if share else format_number(value)) for value in values]
    x_ticks = [
        (x_scale(value), abbreviate_count(value) if by == "step" else f"{value:g}")
        for value in svg.ticks(first, last, 4)
    ]
    drawn = svg.frame(y_scale, y_ticks, x_ticks, by, "")
    format_value = _format_share if share else format_number
    for line in lines:
        inner = _curve(line, x_scale, y_scale, by, format_value)
        drawn.append(svg.tag("g", {"class": "curve", "data-arm": line.arm}, inner))
    names = "; ".join(f"{line.name} ends at {format_number(line.points[-1][1])}" for line in lines[:12])
    return svg.figure((svg.WIDTH, svg.HEIGHT), f"{title} by {by}", names, drawn)


def _format_share(value: float) -> str:
    return f"{format_percent(value, 1)} %"


def _curve(
    line: Line, x_scale: svg.Scale, y_scale: svg.Scale, by: str, format_value: Callable[[float], str]
) -> list[Markup]:
    """A line through the points, with a mark at each point if there are few."""
    points = [(x_scale(x), y_scale(y)) for x, y in svg.thin(line.points)]
    ink = svg.arm_colour(line.arm)
    title = svg.tag("title", {}, [f"{line.name}: {format_value(line.points[-1][1])} at the end"])
    drawn = [svg.tag("path", {"d": svg.path(points), "style": f"stroke:{ink}"}, [title])]
    if len(line.points) <= MAX_MARKS:
        for (x, y), (position, value) in zip(points, line.points, strict=True):
            tip = svg.tag("title", {}, [f"{line.name}, {by} {position:g}: {format_value(value)}"])
            drawn.append(svg.tag("circle", {"cx": x, "cy": y, "r": 3, "style": f"fill:{ink}"}, [tip]))
    return drawn


@dataclass(frozen=True)
class Panel:
    """One quantity's figure, by step and by epoch."""

    title: str
    by_step: Markup
    by_epoch: Markup


def learning_curves(rows: Sequence[ArmRow]) -> list[Panel]:
    """The figures of every quantity that any arm recorded."""
    drawn = []
    losses = read_curves(rows, "loss", "step") + read_curves(rows, "dev_loss", "step")
    for quantity, title in PANELS:
        by_step, by_epoch = read_curves(rows, quantity, "step"), read_curves(rows, quantity, "epoch")
        if by_step and by_epoch:
            spread = losses if quantity in ("loss", "dev_loss") else by_step
            step_figure = curve_figure(title, by_step, spread, "step")
            drawn.append(Panel(title, step_figure, curve_figure(title, by_epoch, spread, "epoch")))
    return drawn
