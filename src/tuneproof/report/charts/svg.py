"""The few things that every figure needs: escaped tags, scales, ticks, thinned lines.

In: numbers and names. Out: SVG elements as safe markup.
Knows nothing of: studies, arms, metrics.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tuneproof.report.rounding import visible

Point = tuple[float, float]


def safe(text: str) -> Markup:
    """Text from anywhere, with hidden characters shown and markup escaped."""
    return escape(visible(str(text)))


def tag(name: str, attributes: dict[str, object], children: Sequence[str] = ()) -> Markup:
    """One SVG element. Children that are not Markup are escaped; floats are cut to 0.01."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        parts.append(f' {key}="{safe(str(shown))}"')
    inner = "".join(c if isinstance(c, Markup) else safe(c) for c in children)
    parts.append(f">{inner}</{name}>" if children else "/>")
    return Markup("".join(parts))


def label(x: object, y: object, text: str, attributes: Mapping[str, object] | None = None) -> Markup:
    """A text element."""
    return tag("text", {"x": x, "y": y, **(attributes or {})}, [text])


@dataclass(frozen=True)
class Scale:
    """Maps values low..high to start..end; with `log`, by their logarithm. Values are clipped."""

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
    """Powers of ten inside low..high, with 2 and 5 between where there are fewer than three."""
    lowest, highest = math.floor(math.log10(low)), math.ceil(math.log10(high))
    tens = [10.0**power for power in range(lowest, highest + 1)]
    inside = [value for value in tens if low * 0.999 <= value <= high * 1.001]
    if len(inside) < 3:
        fine = [ten * m for ten in tens for m in (1, 2, 5)]
        inside = [value for value in fine if low * 0.999 <= value <= high * 1.001]
    return inside[:: math.ceil(len(inside) / 6)] if len(inside) > 6 else inside


def thin(points: Sequence[Point], most: int = 160) -> list[Point]:
    """At most `most` points: means of equal runs of neighbours."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    runs = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(p[0] for p in r) / len(r), sum(p[1] for p in r) / len(r)) for r in runs]


def path(points: Sequence[Point]) -> str:
    """The d of a line through the points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def figure(size: tuple[int, int], title: str, text: str, children: Sequence[str]) -> Markup:
    """A whole picture with a title and a description for those who do not see it."""
    return tag(
        "svg",
        {"viewBox": f"0 0 {size[0]} {size[1]}", "role": "img", "aria-label": f"{title}. {text}"},
        [tag("title", {}, [title]), tag("desc", {}, [text]), *children],
    )
