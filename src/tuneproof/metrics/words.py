"""Words of any script: where spaces set them apart, and where they do not.

In: texts. Out: their words, and the pattern of a word. Knows nothing of: metrics, languages, labels.

Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer set no spaces between words: each character, with
its marks, counts as a word. Texts of ASCII are left as they are.
"""

import re
import unicodedata
from functools import cache

OF_CHARACTERS = "each character of a script without spaces (Chinese, Japanese, Thai) counts as a word"
# Han, kana and bopomofo; Thai, Lao and Tibetan; Burmese; Khmer
_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    "\u0e00-\u0fff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
)


@cache
def characters_of(kind: str) -> str:
    """The characters beyond ASCII whose Unicode category begins with `kind`, for a class in a pattern."""
    chars = map(chr, range(0x80, 0x20000))
    return "".join(char for char in chars if unicodedata.category(char).startswith(kind))


@cache
def _marks() -> str:
    """Accents, vowel signs and joiners: they belong to the letter before them."""
    return "\u200c\u200d" + characters_of("M")


@cache
def word_pattern() -> str:
    """A character of a script without spaces, or a run of other letters and digits, each with its marks."""
    marks = _marks()
    character = rf"(?=[^\W_])[{_UNSPACED}][{marks}]*"
    return rf"{character}|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|(?<=[^\x00-\x7f])[{marks}]|[\u0300-\u036f])*"


@cache
def _word() -> re.Pattern[str]:
    return re.compile(word_pattern())


@cache
def _character() -> re.Pattern[str]:
    return re.compile(rf"(?=\w)[{_UNSPACED}][{_marks()}]*")


def find_words(text: str) -> list[str]:
    """The words of a text in lower case; the signs of a text that has no word."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.lower()
    return _word().findall(text) or [char for char in text if not char.isspace()]


def is_unspaced(text: str) -> bool:
    """Whether the text has characters of a script without spaces."""
    return not text.isascii() and _character().search(text) is not None


def space_characters(text: str) -> str:
    """The text with spaces around each character of a script without spaces."""
    return text if text.isascii() else _character().sub(lambda match: f" {match[0]} ", text)
