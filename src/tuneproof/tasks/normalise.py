"""When two texts count as the same: across case, width, spaces and punctuation.

In: texts. Out: their normalised forms, as keys and as words.
Knows nothing of: tasks, splits, labels.
"""

import re
import string
import unicodedata
from functools import lru_cache

_DROPPED = string.punctuation.encode() + bytes(range(33)) + b"\x7f"
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_TO_SPACE = bytes.maketrans(
    string.ascii_uppercase.encode() + _DROPPED, string.ascii_lowercase.encode() + b" " * len(_DROPPED)
)


@lru_cache(maxsize=1)
def _mark() -> re.Pattern[str]:
    """One run of non-ASCII punctuation, spaces, controls, invisible signs; emoji and letters stay."""
    kinds = ("P", "Z", "Cc", "Cf")  # none of these stands above plane 1
    chars = (chr(code) for code in range(0x80, 0x20000))
    marks = "".join(char for char in chars if unicodedata.category(char).startswith(kinds))
    return re.compile(f"[{re.escape(marks)}]+")


def _folded(text: str) -> bytes:
    """UTF-8 of the text without case (ASCII's is left to the tables above) and non-ASCII marks."""
    if text.isascii():
        return text.encode()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _mark().sub(" ", folded).encode("utf-8", "surrogatepass")


def normalised(text: str) -> str:
    """The text's key: NFKC, casefolded, without punctuation, spaces and control characters.

    A text of nothing else keeps itself as its key, so that "!" and "?" stay two texts.
    """
    key = _folded(text).translate(_LOWER, _DROPPED).decode("utf-8", "surrogatepass")
    return key or text.strip()


def words_of(text: str) -> list[str]:
    """The text's words: NFKC, casefolded, split where punctuation or space stands."""
    return _folded(text).translate(_TO_SPACE).decode("utf-8", "surrogatepass").split()
