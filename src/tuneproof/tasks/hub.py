"""A data set on the hub as tables, at a pinned revision.

In: its name, revision and configuration. Out: one table for each part.
Knows nothing of: labels, prompts, splits, the user's own files.
"""

from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, DataUnreachedError
from tuneproof.hub.cache_disk import cache_write_error
from tuneproof.hub.offline import is_unreachable
from tuneproof.tasks.size_limits import check_bytes, check_rows
from tuneproof.tasks.tables import Table

READERS = ("parquet", "csv", "json", "arrow", "text")


def read_hub(name: str, revision: str, config: str | None = None) -> dict[str, Table]:
    """The parts of a data set on the hub, with class names instead of class numbers.

    Raises: DataError if it cannot be downloaded, or only with code of its own; DataUnreachedError if
    the hub was not reached.
    """
    import datasets

    if Path(name).exists():  # datasets would read it instead of the hub's
        problem = "is a file or folder here, but hub: names a data set on the hub."
        raise DataError(name, problem, do="Name the file with path:.")
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        if builder.name not in READERS:
            problem = f"needs the reader {builder.name}, which is not allowed."
            allowed = f"Allowed: {', '.join(READERS)}, which run no code and unpack no archives."
            raise DataError(f"hub data set {name}", problem, allowed, "Use its Parquet files.")
        builder.download_and_prepare()
        parts = builder.as_dataset()
    except (OSError, ValueError, RuntimeError) as error:
        if (refusal := cache_write_error(error)) is not None:
            raise refusal from None
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        kind = DataUnreachedError if is_unreachable(error) else DataError
        problem = f"could not be downloaded at revision {revision}: {reason}."
        do = "Connect to the network, or name local files with path:."
        raise kind(f"hub data set {name}", problem, do=do) from None
    about = {"hub": name, "revision": revision, "config": config}
    return {
        str(part): _to_table(f"{name}, {part}", rows, {**about, "part": str(part)})
        for part, rows in parts.items()
    }


def _to_table(name: str, rows: Any, about: dict[str, Any]) -> Table:
    """A part's rows with class names instead of class numbers."""
    from datasets import ClassLabel, List

    check_rows(name, len(rows))
    check_bytes(name, rows.data.nbytes)
    columns = {column: list(rows[column]) for column in rows.column_names}
    for column, feature in rows.features.items():
        item = feature.feature if isinstance(feature, List) else feature
        if isinstance(item, ClassLabel):
            columns[column] = [_class_names(item, value) for value in columns[column]]
    return Table(name, columns, range(1, len(rows) + 1), about={**about, "rows": len(rows)})


def _class_names(feature: Any, value: Any) -> Any:
    """The name of a class number, or the names of a list of them; None for -1, which is missing."""
    if isinstance(value, list):
        return [_class_names(feature, item) for item in value]
    return feature.int2str(value) if value is not None and value >= 0 else None
