"""Reliability diagrams, as inline SVG.

In: bins of probabilities. Out: figures, coloured by CSS variables.
Knows nothing of: files, pages, how probabilities were predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tuneproof.report.charts.svg import Scale, figure, label, path, tag
from tuneproof.report.formatting import format_percent

SIZE = 200


@dataclass(frozen=True)
class Bin:
    """Items with similar confidence: mean confidence, share right, number of items."""

    confidence: float
    right: float
    items: int


def _reliability_line(bins: Sequence[Bin], scale: Scale, rise: Scale, kind: str, ink: str) -> list[Markup]:
    largest = max(bin_.items for bin_ in bins)
    points = [(scale(b.confidence), rise(b.right)) for b in bins]
    drawn = [tag("path", {"d": path(points), "class": kind, "style": f"stroke:{ink}"})]
    for (x, y), bin_ in zip(points, bins, strict=True):
        confidence, right = format_percent(bin_.confidence), format_percent(bin_.right)
        description = f"confidence {confidence} %, accuracy {right} % on {bin_.items} items"
        radius = 2 + 4 * (bin_.items / largest) ** 0.5
        fill = ink if kind == "after" else "var(--paper)"
        style = f"stroke:{ink};fill:{fill}"
        tip = tag("title", {}, [description])
        drawn.append(tag("circle", {"cx": x, "cy": y, "r": radius, "style": style}, [tip]))
    return drawn


def reliability_figure(name: str, after: Sequence[Bin], before: Sequence[Bin], ink: str) -> Markup:
    """Accuracy (y) against confidence (x) in bins; the diagonal is perfect calibration."""
    scale, rise = Scale(0.0, 1.0, 26.0, SIZE - 12.0), Scale(0.0, 1.0, SIZE - 24.0, 8.0)
    drawn = [
        tag("line", {"x1": scale(0), "y1": rise(0), "x2": scale(1), "y2": rise(1), "class": "reference"})
    ]
    for value in (0.0, 0.5, 1.0):
        text = format_percent(value, 0)
        drawn.append(
            tag(
                "line",
                {"x1": scale(0), "x2": scale(1), "y1": rise(value), "y2": rise(value), "class": "grid"},
            )
        )
        drawn.append(label(scale(0) - 4, rise(value) + 4, text, {"text-anchor": "end"}))
        drawn.append(label(scale(value), SIZE - 8, text, {"text-anchor": "middle"}))
    if before:
        drawn += _reliability_line(before, scale, rise, "before", "var(--grey)")
    if after:
        drawn += _reliability_line(after, scale, rise, "after", ink)
    description = "; ".join(
        f"confidence {format_percent(b.confidence, 0)}, accuracy {format_percent(b.right, 0)}"
        for b in after or before
    )
    return figure((SIZE, SIZE), f"Reliability diagram of {name}", f"{description}.", drawn)
