"""What a label's cell may hold besides one name: a list, an object, a word for a missing value.

In: cells. Out: the items of a list, in whatever way a program wrote it; words for missing values.
Knows nothing of: tables, files, prompts.
"""

import ast
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tuneproof.tasks.task import Remark

MISSING_WORDS = frozenset(
    ("nan", "-nan", "none", "null", "nil", "na", "n/a", "#n/a", "#na", "<na>", "nat", "undefined", "missing")
)
MAX_PARSED_LENGTH = 1000  # characters, as of a label
_ITEM = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[+-]?\d+(?:\.\d*)?\b|\b(?:None|null|nan|True|true|False|false)\b"
)
_ADVICE = {
    "label": "Remove these rows, or name every label with labels: [...] if it is a class.",
    "text": "Remove these rows if their texts are missing.",
    "group": "They stay in one split and count as one item; fill them in if the groups are missing.",
}
_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_JOINS = re.compile(r"\s*[#;|,/+&\n]\s*")


def advise_one_vs_rest(name: str) -> str:
    """What to do with items of several labels, of which this is one."""
    option = shlex.quote(f"task.labels.one_vs_rest={name}")
    return f"Run a study for each label: one_vs_rest: {name} (--set {option}) tells it from all others."


def is_object(value: Any) -> bool:
    """Whether a cell holds an object with keys, or the text of one."""
    if isinstance(value, str):
        items = list_items(value)
        return items is not None and value.strip()[0] == "{" and ":" in _ITEM.sub("", value)
    return isinstance(value, dict)


def list_items(value: Any) -> list[Any] | None:
    """The items of a list, or of a text that JSON, Python or NumPy wrote for one; None: it is no list."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str) and len(value) <= MAX_PARSED_LENGTH:
        return _spelled_items(value.strip())
    return None


def _spelled_items(text: str) -> list[Any] | None:
    """The items of a text that spells a list; (1) is no list, but (1,) is."""
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return None
    rest = _ITEM.sub("", text)
    if rest.strip("[]{}(), \t\r\n:") or (text[0] == "(" and "," not in rest):
        return None
    return [_plain(item) for item in _ITEM.findall(text)]


def _plain(item: str) -> str | None:
    if item[0] not in "'\"":
        return None if item in ("None", "null", "nan") else item
    try:
        return str(json.loads(item) if item[0] == '"' else ast.literal_eval(item))
    except (ValueError, SyntaxError):
        return item[1:-1]


def remark_missing_words(noun: str, values: Sequence[str]) -> list[Remark]:
    """A warning if labels, texts or groups are words with which programs write a missing value."""
    counts = Counter(value for value in values if value.casefold() in MISSING_WORDS)
    if not counts:
        return []
    total = sum(counts.values())
    words = ", ".join(f"{word!r} {count:,}" for word, count in sorted(counts.items()))
    subject = f"row has a {noun}" if total == 1 else f"rows have a {noun}"
    message = f"{total:,} {subject} that programs write for a missing value ({words}). {_ADVICE[noun]}"
    return [Remark(f"missing_{noun}_word", "warning", message, total)]


def remark_joined_labels(column: Sequence[str]) -> list[Remark]:
    """A warning if a label is made of other labels of the column, such as anger#fear."""
    counts = Counter(label for label in column if label.casefold() not in MISSING_WORDS)
    joined = {
        label: count
        for label, count in sorted(counts.items())
        if len(parts := _JOINS.split(label)) > 1 and all(parts) and not counts.keys().isdisjoint(parts)
    }
    if not joined:
        return []
    total = sum(joined.values())
    example = next(iter(joined))
    subject = "row has a label that joins" if total == 1 else "rows have labels that join"
    part = next(part for part in _JOINS.split(example) if part in counts)
    message = (
        f"{total:,} {subject} other labels, such as {example!r}. Each is a class of its own; an item has one "
        f"label. Name every label with labels: [...] if that is meant. {advise_one_vs_rest(part)}"
    )
    return [Remark("joined_labels", "warning", message, total)]
