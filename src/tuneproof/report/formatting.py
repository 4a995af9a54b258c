"""The formatting of numbers and of untrusted text in every report.

In: values, intervals, strings from data. Out: short strings. Knows nothing of: studies, HTML, files.
"""

import math
import unicodedata
from dataclasses import dataclass

MINUS = "−"
NOTHING = "–"


@dataclass(frozen=True)
class NumberStyle:
    """The format of one metric's values: percent for a share, else a plain number; its decimals."""

    share: bool = True
    decimals: int = 1

    @property
    def unit(self) -> str:
        """The unit after a value: " %" or nothing."""
        return " %" if self.share else ""

    def value(self, value: float | None, sign: bool = False) -> str:
        """A value such as 89.1; with `sign` +2.3 or −2.3."""
        if value is None:
            return NOTHING
        value = 100 * value if self.share else value
        text = f"{value:+.{self.decimals}f}" if sign else f"{value:.{self.decimals}f}"
        if float(text) == 0:
            text = text.lstrip("+-")
        return text.replace("-", MINUS)

    def interval(self, low: float | None, high: float | None, sign: bool = False) -> str:
        """An interval such as [86.8, 91.0]; empty if there is none."""
        if low is None or high is None:
            return ""
        return f"[{self.value(low, sign)}, {self.value(high, sign)}]"


def choose_style(low: float | None, high: float | None, share: bool = True) -> NumberStyle:
    """Choose the decimals that an interval supports: two significant digits of half its width.

    At most 2 for percentages and 4 for plain numbers; without an interval 1 and 3.
    Source: JCGM 100:2008 (GUM), section 7.2.6.
    """
    limit = 2 if share else 4
    half = 0.0 if low is None or high is None else (high - low) / 2 * (100 if share else 1)
    if half <= 0:
        return NumberStyle(share, limit - 1)
    return NumberStyle(share, min(limit, max(0, 1 - math.floor(math.log10(half)))))


def format_percent(value: float | None, decimals: int = 1, sign: bool = False) -> str:
    """A share as a percentage without the percent sign, such as 89.1."""
    return NumberStyle(True, decimals).value(value, sign)


def format_share(value: float | None) -> str:
    """A share that may be tiny, as a percentage with two significant digits below 10 %; "" if unknown."""
    if value is None:
        return ""
    percent = 100 * value
    return f"{percent:.2g} %" if 0 < percent < 9.95 else f"{percent:.0f} %"


def format_p_value(value: float | None) -> str:
    """A p-value to two significant digits, and never "0"."""
    if value is None:
        return NOTHING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def count(value: float | None) -> str:
    """A whole number with thousands apart, such as 1,235,814,400."""
    return NOTHING if value is None else f"{value:,.0f}".replace("-", MINUS)


def abbreviate_count(value: float | None) -> str:
    """A count to three digits, such as 22.7 M."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            step = 1e3 if unit == " k" else size
            return f"{value / step:.3g}{unit}"
    return count(value)


def spell_count(value: float | None) -> str:
    """A count to three digits for a sentence, such as 692,000 or 1.31 million."""
    if value is None:
        return NOTHING
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g} {word}"
    return count(float(f"{value:.3g}")) if abs(value) >= 1000 else count(value)


def format_duration(value: float | None) -> str:
    """A duration with its unit: 0.42 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if value is None:
        return NOTHING
    if 0 < value < 0.005:
        return "< 0.01 s"
    if value < 9.95:
        return f"{value:.2g} s"
    total = round(value)
    if total < 120:
        return f"{total} s"
    if total < 7200:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def memory(value: float | None) -> str:
    """Bytes to three digits in binary units, such as 1.21 GiB."""
    if value is None:
        return NOTHING
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value:.0f} B"


def rate(value: float | None) -> str:
    """A rate per second to three digits."""
    if value is None:
        return NOTHING
    return count(value) if value >= 100 else f"{value:.3g}"


def format_number(value: float | None) -> str:
    """Any number to four digits, for losses and learning rates."""
    return NOTHING if value is None else f"{value:.4g}".replace("e-0", "e-").replace("-", MINUS)


_VISIBLE_CONTROLS = {"\n", "\t", "\u200c", "\u200d"}


def show_hidden(text: str) -> str:
    """The text with invisible and direction-changing characters replaced by visible names.

    Control characters become their pictures (ESC is ␛); bidirectional marks, unpaired surrogates
    and other format characters become ⟨U+202E⟩. Line ends, tabs and joiners stay.
    """
    if text.isascii() and text.isprintable():
        return text
    characters = []
    for char in text:
        kind = unicodedata.category(char)
        if char in _VISIBLE_CONTROLS or kind not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            characters.append(char)
        elif ord(char) < 32:
            characters.append(chr(0x2400 + ord(char)))
        else:
            characters.append(f"⟨U+{ord(char):04X}⟩")
    return "".join(characters)
