"""Numbers and foreign text as a report writes them."""

import pytest

from tuneproof.report.formatting import (
    NumberStyle,
    abbreviate_count,
    choose_style,
    count,
    format_duration,
    format_p_value,
    format_percent,
    memory,
    rate,
    show_hidden,
)


@pytest.mark.parametrize(
    ("low", "high", "places"),
    [(0.868, 0.910, 1), (0.934, 0.940, 2), (0.2, 0.9, 0), (0.9, 0.90001, 2), (None, None, 1)],
)
def test_decimals_follow_the_interval(low: float | None, high: float | None, places: int) -> None:
    assert choose_style(low, high) == NumberStyle(True, places)


def test_a_number_that_is_no_share_keeps_its_unit() -> None:
    style = choose_style(0.375, 0.440, share=False)
    assert (style.value(0.407), style.unit) == ("0.407", "")
    assert style.interval(0.375, 0.440) == "[0.375, 0.440]"


def test_signs_are_typographic_and_zero_has_none() -> None:
    assert format_percent(-0.023, 1, sign=True) == "−2.3"
    assert format_percent(0.023, 1, sign=True) == "+2.3"
    assert format_percent(-0.0001, 1, sign=True) == "0.0"


def test_a_p_value_is_never_zero() -> None:
    assert [format_p_value(p) for p in (0.0, 0.00049, 0.0123, 0.04, 0.5, 1.0)] == [
        *("< 0.001", "< 0.001", "0.012", "0.04", "0.50", "1.00")
    ]


def test_units_are_chosen_by_size() -> None:
    assert [format_duration(s) for s in (0.42, 12, 200, 7500)] == [
        "0.42 s",
        "12 s",
        "3 min 20 s",
        "2 h 05 min",
    ]
    assert [memory(b) for b in (512, 3 * 2**20, 2_381_000_000)] == ["512 B", "3 MiB", "2.22 GiB"]
    assert [abbreviate_count(n) for n in (770, 12_345, 22_713_986)] == ["770", "12.3 k", "22.7 M"]
    assert (count(1_235_814_400), rate(8.376), rate(2076.2)) == ("1,235,814,400", "8.38", "2,076")


def test_what_is_not_known_is_a_dash() -> None:
    assert {f(None) for f in (format_percent, count, format_duration, memory, rate, format_p_value)} == {"–"}


def test_hidden_characters_get_names_and_visible_ones_stay() -> None:
    assert show_hidden("a\u202eb\x1bc\u200bd\ud800e\u2028f\x7f") == (
        "a⟨U+202E⟩b␛c⟨U+200B⟩d⟨U+D800⟩e⟨U+2028⟩f⟨U+007F⟩"
    )
    assert show_hidden("naïve 日本語 👩\u200d👧 tab\t line\n") == "naïve 日本語 👩\u200d👧 tab\t line\n"
