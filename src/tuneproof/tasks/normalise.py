"""When two texts count as the same, whatever their case, width, spaces and punctuation.

In: texts. Out: their normalised forms, as keys and as words. Knows nothing of: tasks, splits, labels.
"""

import re
import string
import unicodedata
from functools import lru_cache

_REMOVED = string.punctuation.encode() + bytes(range(33)) + b"\x7f"
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_TO_SPACE = bytes.maketrans(
    string.ascii_uppercase.encode() + _REMOVED, string.ascii_lowercase.encode() + b" " * len(_REMOVED)
)


@lru_cache(maxsize=1)
def _mark() -> re.Pattern[str]:
    """A run of non-ASCII punctuation, spaces, control and invisible characters; emoji and letters stay."""
    kinds = ("P", "Z", "Cc", "Cf")  # none of these is above plane 1
    chars = (chr(code) for code in range(0x80, 0x20000))
    marks = "".join(char for char in chars if unicodedata.category(char).startswith(kinds))
    return re.compile(f"[{re.escape(marks)}]+")


def _folded(text: str) -> bytes:
    """UTF-8 of the text without case (the tables above fold ASCII) and non-ASCII marks."""
    if text.isascii():
        return text.encode()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _mark().sub(" ", folded).encode("utf-8", "surrogatepass")


def normalise_text(text: str) -> str:
    """NFKC and casefolded, without punctuation, spaces and controls (unless the text has nothing else)."""
    key = _folded(text).translate(_LOWER, _REMOVED).decode("utf-8", "surrogatepass")
    return key or text.strip()


def split_words(text: str) -> list[str]:
    """The text's words: NFKC, casefolded, split at punctuation and spaces."""
    return _folded(text).translate(_TO_SPACE).decode("utf-8", "surrogatepass").split()
