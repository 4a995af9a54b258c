"""Which names of groups mean the same group, and which items do not count as independent.

In: rows, or the items of a part. Out: the same with one name for each group.
Knows nothing of: splits, labels.
"""

import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from tuneproof.data.lookalikes import cluster_lookalikes
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


def join_groups(items: Sequence[Example], keys: Sequence[Hashable]) -> list[Example]:
    """The items with one group for all that are linked by a group or a key.

    A joined group has the name of its first item's group.
    """
    parent = {item.group: item.group for item in items}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first_group: dict[Hashable, str] = {}
    for item, key in zip(items, keys, strict=True):
        one, other = root(first_group.setdefault(key, item.group)), root(item.group)
        if one != other:
            parent[other] = one
    return [replace(item, group=root(item.group)) for item in items]


def group_by_similarity(rows: Rows) -> Rows:
    """The rows with one group for all texts that look alike, joined with the groups that they have."""
    items = [item for part in rows.parts.values() for item in part]
    clusters = cluster_lookalikes([comparable_text(item) for item in items]).tolist()
    joined = iter(join_groups(items, clusters))
    parts = {name: [next(joined) for _ in part] for name, part in rows.parts.items()}
    return replace(rows, parts=parts, grouped=True)


def comparable_text(item: Example) -> str:
    """What is compared with other items: the context of a question, else the text."""
    return item.text if item.question is None else item.question.context
