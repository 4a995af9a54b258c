"""Halves of characters: a text cut in the middle of an emoji, which JSON can spell and no file can hold.

In: values as read. Out: an error that names the row. Knows nothing of: files, columns, labels.
"""

import re
from collections.abc import Mapping
from typing import Any

from tuneproof.errors import DataError

_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def may_hold_halves(text: str) -> bool:
    """Whether a JSON text spells a half of a character; two halves may follow each other."""
    return _ESCAPE.search(text) is not None


def check_whole_characters(where: str, value: Any) -> None:
    """Raises DataError if a text, or a text within a list or object, holds half of a character."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            before = value[max(0, error.start - 20) : error.start]
            problem = f"a text holds half of a character ({half}{f', after {before!r}' if before else ''})."
            do = "Write the whole character, such as an emoji that was cut, or remove the half."
            raise DataError(where, problem, do=do) from None
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            check_whole_characters(where, key)
            check_whole_characters(f"{where}, {key}", entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            check_whole_characters(where, entry)
