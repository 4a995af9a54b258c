"""The names of classes that the datasets library writes beside the class numbers of a Parquet file.

In: the metadata of a file's schema. Out: names for the numbers of a column.
Knows nothing of: files, labels, prompts.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.errors import DataError

_LISTS = ("Sequence", "List", "LargeList")


def read_class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The class names of each column of the type ClassLabel; {} where the metadata names none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {column: names for column, feature in features.items() if (names := _names(feature))}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _names(feature: Any) -> list[str]:
    """Those of a class, or of a list of classes."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names(feature[0])
    if isinstance(feature, dict) and feature.get("_type") in _LISTS:
        return _names(feature.get("feature"))
    names = (
        feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    )
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def name_classes(where: str, column: str, names: Sequence[str], values: Sequence[Any]) -> Sequence[Any]:
    """The names in place of the numbers; -1 is missing. Raises: DataError for a number without a name."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    if not all(type(item) in (int, type(None)) for items in lists for item in items):
        return values
    for row, value in ((row, item) for row, items in enumerate(lists, 1) for item in items):
        if value is not None and not -1 <= value < len(names):
            problem = (
                f"the column {column} holds the class {value}, but its metadata names {len(names)} classes."
            )
            raise DataError(
                f"{where}, row {row}", problem, do="Fix the row, or write the file without metadata."
            )
    name_of = dict(enumerate(names))
    return [
        [name_of.get(item) for item in value] if isinstance(value, list) else name_of.get(value)
        for value in values
    ]
