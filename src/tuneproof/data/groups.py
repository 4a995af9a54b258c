"""Which names of groups mean the same group.

In: rows. Out: the rows with one spelling for each group, and the spellings that were merged.
Knows nothing of: splits, texts, labels.
"""

import unicodedata
from dataclasses import replace
from typing import Any

from tuneproof.tasks.task import Rows


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
