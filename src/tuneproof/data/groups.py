"""Which names of groups mean the same group, and which items do not count as independent.

In: rows, or the items of a part. Out: the same with one name for each group.
Knows nothing of: splits, labels.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tuneproof.tasks.task import Example, Rows


def _key(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def merge_group_names(rows: Rows) -> tuple[Rows, list[dict[str, Any]]]:
    """The rows with names that differ in case, width or spaces only as one group, in its first spelling.

    Also returns {name, merged_into} for each further spelling. Rows without groups stay as they are.
    """
    if not rows.grouped:
        return rows, []
    first: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for items in rows.parts.values():
        for item in items:
            if item.group not in spelling:
                spelling[item.group] = first.setdefault(_key(item.group), item.group)
    merged = [
        {"name": name, "merged_into": first_name}
        for name, first_name in spelling.items()
        if name != first_name
    ]
    if not merged:
        return rows, []
    parts = {
        part: [replace(item, group=spelling[item.group]) for item in items]
        for part, items in rows.parts.items()
    }
    return replace(rows, parts=parts), merged


def join_equal_texts(items: Sequence[Example], key: Callable[[str], str]) -> list[Example]:
    """The items with one group for all that are linked by a group or an equal text.

    A text that occurs ten times is answered ten times alike, so that its items are no ten pieces of evidence.
    A joined group has the name of its first item's group.
    """
    parent = {item.group: item.group for item in items}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first_group: dict[str, str] = {}
    for item in items:
        one, other = root(first_group.setdefault(key(item.text), item.group)), root(item.group)
        if one != other:
            parent[other] = one
    return [
        item if root(item.group) == item.group else replace(item, group=root(item.group)) for item in items
    ]
