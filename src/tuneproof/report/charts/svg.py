"""The elements of every figure: escaped tags, scales, ticks, axes, strips, thinned lines.

In: numbers and names. Out: SVG elements as safe markup. Knows nothing of: studies, metrics.

A figure has a fixed shape. A strip is one row of a plot with coordinates in percent: it fits any width, and
its numbers stand beside it as text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from tuneproof.report.formatting import show_hidden

Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]
WIDTH, HEIGHT = 380, 250
RIGHT_MARGIN = 14


class Area(NamedTuple):
    """The inner rectangle of a figure, without axis labels."""

    left: float
    top: float
    right: float
    bottom: float


PLOT = Area(44.0, 12.0, float(WIDTH - RIGHT_MARGIN), float(HEIGHT - 40))


def arm_colour(index: int, kind: str = "") -> str:
    """The arm's colour on the whole page; baselines are grey."""
    return "var(--grey)" if kind == "baseline" else f"var(--c{index % 8})"


def safe(text: str) -> Markup:
    """Untrusted text with hidden characters shown and markup escaped."""
    return escape(show_hidden(str(text)))


def tag(name: str, attributes: Mapping[str, object], children: Sequence[str] = ()) -> Markup:
    """One SVG element. Children other than Markup are escaped; floats are rounded to 0.01."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        parts.append(f' {key}="{safe(str(text))}"')
    inner = "".join(c if isinstance(c, Markup) else safe(c) for c in children)
    parts.append(f">{inner}</{name}>" if children else "/>")
    return Markup("".join(parts))


def label(x: object, y: object, text: str, attributes: Mapping[str, object] | None = None) -> Markup:
    """A text element."""
    return tag("text", {"x": x, "y": y, **(attributes or {})}, [text])


@dataclass(frozen=True)
class Scale:
    """Maps values low..high to start..end, clipped; `log` maps their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values inside low..high: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside low..high, with their multiples by 2 and 5 if fewer than three fit."""
    lowest, highest = math.floor(math.log10(low)), math.ceil(math.log10(high))
    tens = [10.0**power for power in range(lowest, highest + 1)]
    inside = [value for value in tens if low * 0.999 <= value <= high * 1.001]
    if len(inside) < 3:
        fine = [ten * m for ten in tens for m in (1, 2, 5)]
        inside = [value for value in fine if low * 0.999 <= value <= high * 1.001]
    return inside[:: math.ceil(len(inside) / 6)] if len(inside) > 6 else inside


def thin(points: Sequence[Point], limit: int = 160) -> list[Point]:
    """At most `limit` points: the means of equal runs of neighbours."""
    if len(points) <= limit:
        return list(points)
    size = math.ceil(len(points) / limit)
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(p[0] for p in r) / len(r), sum(p[1] for p in r) / len(r)) for r in runs]


def path(points: Sequence[Point]) -> str:
    """The `d` attribute of a line through the points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def figure(size: tuple[int, int], title: str, text: str, children: Sequence[str]) -> Markup:
    """A figure with a title and a description for screen readers."""
    return tag(
        "svg",
        {"viewBox": f"0 0 {size[0]} {size[1]}", "role": "img", "aria-label": f"{title}. {text}"},
        [tag("title", {}, [title]), tag("desc", {}, [text]), *children],
    )


def strip(description: str, children: Sequence[str]) -> Markup:
    """One row of a plot with a description for screen readers."""
    return tag(
        "svg",
        {"class": "strip", "role": "img", "aria-label": description},
        [tag("title", {}, [description]), *children],
    )


def frame(
    y_scale: Scale, y_ticks: Ticks, x_ticks: Ticks, x_title: str, y_title: str, width: int = WIDTH
) -> list[Markup]:
    """Grid lines, tick labels and titles; `x_ticks` are in pixels, `y_ticks` in values of the scale."""
    left, bottom, right = PLOT.left, PLOT.bottom, width - RIGHT_MARGIN
    drawn = [tag("line", {"x1": left, "x2": right, "y1": bottom, "y2": bottom, "class": "rule"})]
    for value, text in y_ticks:
        y = y_scale(value)
        drawn.append(tag("line", {"x1": left, "x2": right, "y1": y, "y2": y, "class": "grid"}))
        drawn.append(label(left - 6, y + 4, text, {"text-anchor": "end"}))
    for x, text in x_ticks:
        drawn.append(tag("line", {"x1": x, "x2": x, "y1": bottom, "y2": bottom + 4, "class": "rule"}))
        drawn.append(label(x, bottom + 16, text, {"text-anchor": "middle"}))
    drawn.append(label(right, HEIGHT - 6, x_title, {"text-anchor": "end"}))
    if y_title:
        drawn.append(tag("title", {}, [y_title]))
    return drawn
