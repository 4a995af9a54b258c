"""A data set on the hub as tables, at a pinned revision.

In: its name, revision and configuration. Out: one table a part.
Knows nothing of: labels, prompts, splits, files of the user's own.
"""

from pathlib import Path

from tuneproof.errors import DataError, DataUnreachedError
from tuneproof.hub.offline import never_reached
from tuneproof.tasks.tables import Table

READERS = ("parquet", "csv", "json", "arrow", "text")


def read_hub(name: str, revision: str, config: str | None = None) -> dict[str, Table]:
    """The parts of a data set on the hub, class numbers turned into class names.

    Raises: DataError where it cannot be fetched, or only by code that comes with it; DataUnreachedError
    where the hub was not reached.
    """
    import datasets

    if Path(name).exists():  # datasets would take it for the hub's
        raise DataError(
            name,
            "is a file or folder here, and hub: names a data set on the hub.",
            do="Name the file with path:.",
        )
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        if builder.name not in READERS:
            raise DataError(
                f"hub data set {name}",
                f"is read by {builder.name}, which is not used here.",
                f"Read are {', '.join(READERS)}: rows without code and without archives.",
                "Use its Parquet files.",
            )
        builder.download_and_prepare()
        parts = builder.as_dataset()
    except (OSError, ValueError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        kind = DataUnreachedError if never_reached(error) else DataError
        raise kind(
            f"hub data set {name}",
            f"could not be fetched at revision {revision}: {said}.",
            do="Connect to the network, or name local files with path:.",
        ) from None
    tables = {}
    for part, rows in parts.items():
        columns = {column: list(rows[column]) for column in rows.column_names}
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.ClassLabel):
                columns[column] = [
                    feature.int2str(value) if value is not None and value >= 0 else None
                    for value in columns[column]
                ]
        about = {"hub": name, "revision": revision, "config": config, "part": str(part)}
        tables[str(part)] = Table(
            f"{name}, {part}", columns, range(1, len(rows) + 1), about={**about, "rows": len(rows)}
        )
    return tables
