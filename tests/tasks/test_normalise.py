import string

import pytest

from tuneproof.tasks.normalise import normalise_text, split_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's GOOD.", "its good"),
        ("a  b\tc\n", "A-B-C"),
        ("Straße", "STRASSE"),
        ("ﬁne café", "fine cafe\u0301"),
        ("“Quoted” — text…", '"quoted" - text...'),
        ("zero\u200bwidth", "zerowidth"),
        ("x \uff0b y \uff1d 1\uff0e5", "X + Y = 1.5"),
        ("a film - great; truly", "A film, great (truly)!"),
        ("e-mail and/or *fax*", "email and or fax"),
    ],
)
def test_case_width_spaces_and_punctuation_make_no_difference(one, other):
    assert normalise_text(one) == normalise_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("!", "?"),
        ("👍", "👎"),
        ("café", "cafe"),
        ("好", "坏"),
        ("x + y - z", "x - y + z"),
        ("a - b", "a b"),
        ("meh :)", "meh :("),
        ("so so ;-)", "so so :-("),
        ("take 1.5 mg", "take 15 mg"),
        ("at 10:30", "at 1030"),
        ("-5 degrees", "5 degrees"),
        ("C++", "C"),
        ("C#", "C"),
        ("meh (:", "meh ):"),
        ("A- in maths", "A in maths"),
        ("a != b", "a = b"),
        ("x & y", "x | y"),
        ("50 % off", "50 off"),
        ("x<y", "x>y"),
        ("2/3", "2*3"),
    ],
)
def test_different_texts_stay_different(one, other):
    assert normalise_text(one) != normalise_text(other)


def test_the_short_way_for_ascii_agrees_with_the_long_way():
    text = "The " + string.punctuation + " FILM\x1f is\tfine"
    assert normalise_text(text) + "é" == normalise_text(text + "é")
    assert [*split_words(text), "é"] == split_words(text + " é")


def test_words_are_split_where_punctuation_stands():
    assert split_words("It's a well-made film…ok") == ["it", "s", "a", "well", "made", "film", "ok"]


def test_a_lone_surrogate_is_no_obstacle():
    assert normalise_text("bad \ud800 Byte") == "bad\ud800byte"
