"""Learning curves and reliability diagrams, as inline SVG.

In: the steps of arms, bins of probabilities. Out: pictures that take their colours from CSS variables.
Knows nothing of: files, pages, how an arm was trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tuneproof.report.charts.forest import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, colour, frame
from tuneproof.report.charts.svg import Point, Scale, figure, label, log_ticks, path, tag, thin, ticks
from tuneproof.report.rounding import percent, plain, short_count
from tuneproof.report.tables import ArmRow

PANELS = (
    ("loss", "Training loss"),
    ("dev_loss", "Dev loss"),
    ("dev_accuracy", "Dev accuracy"),
    ("dev_f1", "Dev F1"),
    ("learning_rate", "Learning rate"),
    ("gradient_norm", "Gradient norm"),
)
SHARES = ("Dev accuracy", "Dev F1")
SMALL = 200


@dataclass(frozen=True)
class Line:
    """One run's values of one quantity; `arm` is the arm's place in the table."""

    arm: int
    name: str
    points: list[Point]


@dataclass(frozen=True)
class Bin:
    """Items whose highest probability falls in one tenth: its mean, the share right, how many."""

    confidence: float
    right: float
    items: int


def lines_of(rows: Sequence[ArmRow], quantity: str, by: str) -> list[Line]:
    """A line for each arm and seed that recorded the quantity; `by` is "step" or "epoch"."""
    found = []
    for index, row in enumerate(rows):
        for record in row.records:
            points = [
                (float(step[by]), float(step[quantity]))
                for step in record.steps
                if step.get(quantity) is not None and step.get(by) is not None
            ]
            if points:
                seed = record.about.get("seed")
                name = row.label if seed is None or len(row.seeds) < 2 else f"{row.label}, seed {seed}"
                found.append(Line(index, name, points))
    return found


def _y_scale(lines: Sequence[Line], spread: Sequence[Line]) -> Scale:
    """From zero or the smallest up to the largest; by logarithm where the runs' peaks are far apart."""
    peaks = [max(y for _, y in line.points) for line in spread]
    high, low = max(peaks), min(y for line in spread for _, y in line.points)
    bottom, top = float(HEIGHT - BOTTOM), float(TOP)
    if min(peaks) > 0 and high / min(peaks) > 8:
        return Scale(max(low, min(peaks) / 20, high * 1e-6), high, bottom, top, log=True)
    if low == high:  # a constant, such as a learning rate
        return Scale(min(0.0, 1.25 * low), max(0.0, 1.25 * high) or 1.0, bottom, top)
    low = 0.0 if low >= 0 and low < high * 0.6 else low - 0.05 * (high - low)
    return Scale(low, high, bottom, top)


def curve_figure(title: str, lines: Sequence[Line], spread: Sequence[Line], by: str) -> Markup:
    """One quantity over training. `spread` are the lines that set the y scale (shared by the losses)."""
    last = max(x for line in lines for x, _ in line.points)
    first = min(0.0, min(x for line in lines for x, _ in line.points))
    x_scale = Scale(first, last, float(LEFT + 2), float(WIDTH - RIGHT))
    y_scale = _y_scale(lines, spread)
    share = title in SHARES
    values = log_ticks(y_scale.low, y_scale.high) if y_scale.log else ticks(y_scale.low, y_scale.high, 5)
    y_ticks = [(value, percent(value, 0) if share else plain(value)) for value in values]
    x_ticks = [
        (x_scale(value), short_count(value) if by == "step" else f"{value:g}")
        for value in ticks(first, last, 4)
    ]
    drawn = frame(y_scale, y_ticks, x_ticks, by, "")
    for line in lines:
        few = len(line.points) <= 40
        points = [(x_scale(x), y_scale(y)) for x, y in thin(line.points)]
        ink = colour(line.arm)
        end = percent(line.points[-1][1], 1) + " %" if share else plain(line.points[-1][1])
        said = tag("title", {}, [f"{line.name}: {end} at the end"])
        inner = [tag("path", {"d": path(points), "style": f"stroke:{ink}"}, [said])]
        if few:
            for (x, y), (at, value) in zip(points, line.points, strict=True):
                shown = percent(value, 1) + " %" if share else plain(value)
                tip = tag("title", {}, [f"{line.name}, {by} {at:g}: {shown}"])
                inner.append(tag("circle", {"cx": x, "cy": y, "r": 3, "style": f"fill:{ink}"}, [tip]))
        drawn.append(tag("g", {"class": "curve", "data-arm": line.arm}, inner))
    names = "; ".join(f"{line.name} ends at {plain(line.points[-1][1])}" for line in lines[:12])
    return figure((WIDTH, HEIGHT), f"{title} by {by}", names, drawn)


@dataclass(frozen=True)
class Panel:
    """One quantity's picture, by step and by epoch."""

    title: str
    by_step: Markup
    by_epoch: Markup


def panels(rows: Sequence[ArmRow]) -> list[Panel]:
    """The pictures of every quantity that any arm recorded."""
    drawn = []
    losses = lines_of(rows, "loss", "step") + lines_of(rows, "dev_loss", "step")
    for quantity, title in PANELS:
        by_step, by_epoch = lines_of(rows, quantity, "step"), lines_of(rows, quantity, "epoch")
        if by_step and by_epoch:
            spread = losses if quantity in ("loss", "dev_loss") else by_step
            drawn.append(
                Panel(
                    title,
                    curve_figure(title, by_step, spread, "step"),
                    curve_figure(title, by_epoch, spread, "epoch"),
                )
            )
    return drawn


def _reliability_line(bins: Sequence[Bin], scale: Scale, rise: Scale, kind: str, ink: str) -> list[Markup]:
    most = max(bin_.items for bin_ in bins)
    points = [(scale(b.confidence), rise(b.right)) for b in bins]
    drawn = [tag("path", {"d": path(points), "class": kind, "style": f"stroke:{ink}"})]
    for (x, y), bin_ in zip(points, bins, strict=True):
        said = f"sure to {percent(bin_.confidence)} %, right in {percent(bin_.right)} % of {bin_.items} items"
        radius = 2 + 4 * (bin_.items / most) ** 0.5
        fill = ink if kind == "after" else "var(--paper)"
        style = f"stroke:{ink};fill:{fill}"
        tip = tag("title", {}, [said])
        drawn.append(tag("circle", {"cx": x, "cy": y, "r": radius, "style": style}, [tip]))
    return drawn


def reliability_figure(name: str, after: Sequence[Bin], before: Sequence[Bin], ink: str) -> Markup:
    """How often an arm is right (upwards) where it is so sure (rightwards); the diagonal is honest."""
    scale, rise = Scale(0.0, 1.0, 26.0, SMALL - 12.0), Scale(0.0, 1.0, SMALL - 24.0, 8.0)
    drawn = [
        tag("line", {"x1": scale(0), "y1": rise(0), "x2": scale(1), "y2": rise(1), "class": "reference"})
    ]
    for value in (0.0, 0.5, 1.0):
        shown = percent(value, 0)
        drawn.append(
            tag(
                "line",
                {"x1": scale(0), "x2": scale(1), "y1": rise(value), "y2": rise(value), "class": "grid"},
            )
        )
        drawn.append(label(scale(0) - 4, rise(value) + 4, shown, {"text-anchor": "end"}))
        drawn.append(label(scale(value), SMALL - 8, shown, {"text-anchor": "middle"}))
    if before:
        drawn += _reliability_line(before, scale, rise, "before", "var(--grey)")
    if after:
        drawn += _reliability_line(after, scale, rise, "after", ink)
    said = "; ".join(f"{percent(b.confidence, 0)} sure, {percent(b.right, 0)} right" for b in after or before)
    return figure((SMALL, SMALL), f"Reliability of {name}", f"{said}.", drawn)
