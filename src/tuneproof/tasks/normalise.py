"""When two texts count as the same, whatever their case, width, spaces and the punctuation of prose.

In: texts. Out: their normalised forms, as keys and as words. Knows nothing of: tasks, splits, labels.
"""

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_REMOVED = string.punctuation.encode() + bytes(range(33)) + b"\x7f"
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_TO_SPACE = bytes.maketrans(
    string.ascii_uppercase.encode() + _REMOVED, string.ascii_lowercase.encode() + b" " * len(_REMOVED)
)
OPERATOR = r"[+#%<>=^$]"
EMOTICON = r"[:;=]['^-]?[()\[\]/\\|]"
# punctuation that changes what is said: operators, numbers such as 3.5, emoticons, grades such as A-
_MEANT = re.compile(
    rf"{OPERATOR}|!=|{EMOTICON}"
    r"|(?<!\S)[()]['^-]?[:;=](?!\S)|(?<=\d)[.,:](?=\d)|(?<=\d)[*/-]"
    r"|[*/-](?=\d)|(?<=\b[a-zA-Z\d] )[*/&|-](?= [a-zA-Z\d])|(?<=\b[A-Z])-(?!\w)"
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
    """NFKC and casefolded, without spaces, controls and the punctuation of prose (unless the text has nothing
    else). Operators, the marks within numbers and emoticons stay: "x + y" is not "x - y", nor ":)" ":(".
    """
    key = "".join(
        part if is_meant else _folded(part).translate(_LOWER, _REMOVED).decode("utf-8", "surrogatepass")
        for part, is_meant in _split_meant(text)
    )
    return key or text.strip()


def _split_meant(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, and whether each is punctuation that changes what is said, whatever its width."""
    text, start = text if text.isascii() else unicodedata.normalize("NFKC", text), 0
    for match in _MEANT.finditer(text):
        yield text[start : match.start()], False
        yield match.group(), True
        start = match.end()
    yield text[start:], False


def split_words(text: str) -> list[str]:
    """The text's words: NFKC, casefolded, split at punctuation and spaces."""
    return _folded(text).translate(_TO_SPACE).decode("utf-8", "surrogatepass").split()
