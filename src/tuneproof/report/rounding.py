"""How numbers and foreign text are written, everywhere in a report.

In: values, intervals, strings from data. Out: short strings.
Knows nothing of: studies, HTML, files.
"""

import math
import unicodedata
from dataclasses import dataclass

MINUS = "−"
NOTHING = "–"


@dataclass(frozen=True)
class Style:
    """How one metric's values are written: a share in percent, or a plain number; its decimals."""

    share: bool = True
    places: int = 1

    @property
    def unit(self) -> str:
        """What stands after a value: " %" or nothing."""
        return " %" if self.share else ""

    def value(self, value: float | None, sign: bool = False) -> str:
        """A value such as 89.1; with `sign`, +2.3 or −2.3."""
        if value is None:
            return NOTHING
        value = 100 * value if self.share else value
        text = f"{value:+.{self.places}f}" if sign else f"{value:.{self.places}f}"
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", MINUS)

    def interval(self, low: float | None, high: float | None, sign: bool = False) -> str:
        """An interval such as [86.8, 91.0]; empty where there is none."""
        if low is None or high is None:
            return ""
        return f"[{self.value(low, sign)}, {self.value(high, sign)}]"


def style_for(low: float | None, high: float | None, share: bool = True) -> Style:
    """The decimals that an interval supports: two significant digits of half its width.

    At most 2 for percentages and 4 for plain numbers; without an interval 1 and 3.
    Source: JCGM 100:2008 (GUM), section 7.2.6.
    """
    most = 2 if share else 4
    half = 0.0 if low is None or high is None else (high - low) / 2 * (100 if share else 1)
    if half <= 0:
        return Style(share, most - 1)
    return Style(share, min(most, max(0, 1 - math.floor(math.log10(half)))))


def percent(value: float | None, places: int = 1, sign: bool = False) -> str:
    """A share as a percentage without its sign, such as 89.1."""
    return Style(True, places).value(value, sign)


def probability(value: float | None) -> str:
    """A p-value to two significant digits, and never "0"."""
    if value is None:
        return NOTHING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def count(value: float | None) -> str:
    """A whole number with thousands apart, such as 1,235,814,400."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", MINUS)


def short_count(value: float | None) -> str:
    """A count to three digits, such as 22.7 M."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            step = 1e3 if unit == " k" else size
            return f"{value / step:.3g}{unit}"
    return count(value)


def seconds(value: float | None) -> str:
    """A duration with its unit: 0.42 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if value is None:
        return NOTHING
    if 0 < value < 0.005:
        return "< 0.01 s"
    if value < 9.95:
        return f"{value:.2g} s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(value: float | None) -> str:
    """Bytes to three digits in binary units, such as 1.21 GiB."""
    if value is None:
        return NOTHING
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value:.0f} B"


def rate(value: float | None) -> str:
    """Items a second to three digits."""
    if value is None:
        return NOTHING
    return count(value) if value >= 100 else f"{value:.3g}"


def plain(value: float | None) -> str:
    """Any number to four digits, for losses and learning rates."""
    return NOTHING if value is None else f"{value:.4g}".replace("e-0", "e-").replace("-", MINUS)


_KEPT = {"\n", "\t", "\u200c", "\u200d"}


def visible(text: str) -> str:
    """The text with what is invisible or turns the line around shown by name.

    Control characters become their pictures (ESC is ␛), bidirectional marks, unpaired surrogates
    and other format characters become ⟨U+202E⟩. Line ends, tabs and joiners stay.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = []
    for char in text:
        kind = unicodedata.category(char)
        if char in _KEPT or kind not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            shown.append(char)
        elif ord(char) < 32:
            shown.append(chr(0x2400 + ord(char)))
        else:
            shown.append(f"⟨U+{ord(char):04X}⟩")
    return "".join(shown)
