"""One class spelled in several ways: merged where that is certain, else refused with the rows.

In: the labels of all tables. Out: labels with one spelling for each class, and what was merged.
Knows nothing of: files, texts, prompts.

Certain are invisible characters, the two Unicode forms of one text, and 1.0 for 1, which pandas writes
where a value is missing. All else may be meant: 01 and 1, true and 1, positive and "positive.".
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from tuneproof.errors import DataError
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Remark

MAX_LISTED = 5
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.IGNORECASE)
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))
_AROUND = "'\"“”„‘’«»‹›`´*_()[]{}.,;:!?…。、 "
_BETWEEN = re.compile(r"[\s_‐–—-]+")
_HYPHEN = re.compile(r"(?<=[^\W\d])[_‐–—-](?=\w)|(?<=\d)[_‐–—-](?=[^\W\d])")
_BOOLEANS = {"true": Decimal(1), "false": Decimal(0)}


def is_number(text: str) -> bool:
    """Whether a text spells a finite number in digits."""
    return _NUMBER.fullmatch(text) is not None


def number_value(text: str) -> Decimal:
    """The exact value of a text for which `is_number` is true."""
    return Decimal(text)


def visible(label: str) -> str:
    """The label without invisible characters, in one Unicode form."""
    if label.isascii() and label.isprintable():
        return label
    plain = "".join(char for char in unicodedata.normalize("NFC", label) if not _is_invisible(char))
    return plain.strip()


def _is_invisible(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind == "Cf" or (kind == "Cc" and not char.isspace()) or char in _FILLERS


def plain_spelling(label: str) -> str:
    """The label without what certainly makes no difference; equal for spellings that are one class."""
    plain = visible(label)
    whole = _WHOLE.fullmatch(plain)
    if whole:
        return "0" if whole[1] == "-0" else whole[1]
    return plain


def _likely_key(label: str) -> str | Decimal:
    """Equal for spellings that are probably one class."""
    text = unicodedata.normalize("NFKC", visible(label)).casefold()
    if is_number(text):
        return number_value(text)
    stripped = text.strip(_AROUND)
    if not any(char.isalnum() for char in stripped):
        return "".join(text.split())
    if is_number(stripped):
        return number_value(stripped)
    return _BOOLEANS.get(stripped, _join_words(stripped))


def _join_words(text: str) -> str:
    """Words without spaces, hyphens and underscores between them; a hyphen between digits stays."""
    spaceless = "".join(text.split())
    return _HYPHEN.sub("", spaceless)


def merge_spellings(
    columns: Mapping[str, Sequence[str]], named: Sequence[str] | None
) -> tuple[dict[str, list[str]], list[Remark]]:
    """Each part's labels with one spelling for each class: the one that is `named`, else the plainest."""
    counts = Counter(label for column in columns.values() for label in column)
    target = _merge_into_named(counts, named) if named else _merge_alike(counts)
    changed = {label: name for label, name in sorted(target.items()) if label != name}
    merged = {part: [target.get(label, label) for label in column] for part, column in columns.items()}
    return merged, _remark_merged(changed, counts)


def _merge_into_named(labels: Iterable[str], named: Sequence[str]) -> dict[str, str]:
    """The named label of each other spelling, where only one has it."""
    keys = Counter(map(plain_spelling, named))
    name_of = {plain_spelling(name): name for name in named}
    return {
        label: name_of[key]
        for label in set(labels).difference(named)
        if keys[key := plain_spelling(label)] == 1
    }


def _merge_alike(labels: Iterable[str]) -> dict[str, str]:
    """The plain spelling of each label that has several."""
    keys = {label: plain_spelling(label) for label in labels}
    counts = Counter(keys.values())
    return {label: key for label, key in keys.items() if counts[key] > 1}


def _remark_merged(changed: Mapping[str, str], counts: Mapping[str, int]) -> list[Remark]:
    if not changed:
        return []
    total = sum(counts[label] for label in changed)
    pairs = [f"{label!a} as {name!r} ({counts[label]:,})" for label, name in changed.items()]
    listed = ", ".join(pairs[:MAX_LISTED]) + (", …" if len(pairs) > MAX_LISTED else "")
    subject = "row spells its label" if total == 1 else "rows spell their label"
    message = f"{total:,} {subject} in another way; they are read as one label: {listed}."
    return [Remark("label_spellings", "note", message, total)]


def check_spellings(tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]) -> None:
    """Raises DataError with the rows of two labels that are probably one class."""
    first_of: dict[str | Decimal, str] = {}
    for label in sorted({label for column in columns.values() for label in column}):
        other = first_of.setdefault(_likely_key(label), label)
        if other == label:
            continue
        pair = " and ".join(f"{_show(name)} ({_list_rows(name, tables, columns)})" for name in (other, label))
        problem = f"the labels {pair} {_reason(other, label)}."
        do = "Write them the same way, or name every label with labels: [...]."
        raise DataError(next(iter(tables.values())).name, problem, do=do)


def _show(label: str) -> str:
    return repr(label) if label.isprintable() else ascii(label)


def _reason(first: str, second: str) -> str:
    folded = [_BETWEEN.sub("", unicodedata.normalize("NFKC", name).casefold()) for name in (first, second)]
    if folded[0] == folded[1]:
        return "differ only in case, width, spaces or hyphens"
    if all(is_number(name) for name in folded):
        return "are one number"
    return "are probably one class"


def _list_rows(label: str, tables: Mapping[str, Table], columns: Mapping[str, Sequence[str]]) -> str:
    lists = []
    for part, table in tables.items():
        indices = [index for index, name in enumerate(columns[part]) if name == label]
        if indices:
            name = f"{table.name}, " if len(tables) > 1 else ""
            lists.append(f"{name}{table.list_rows(indices)}")
    return "; ".join(lists)
