"""Parquet columns, each read when it is asked for, within limits that a small file cannot evade.

In: a file's bytes. Out: columns and the number of rows. Knows nothing of: labels, prompts, splits.

A few bytes of a Parquet file can stand for any number of rows, and one long text for any number of cells.
The rows, values and sizes of its metadata are therefore checked first, and a batch has only as many rows as
fit if each holds the longest text.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.class_names import name_classes, read_class_names
from tuneproof.tasks.delimited import check_header
from tuneproof.tasks.lazy_columns import LazyColumns
from tuneproof.tasks.size_limits import MAX_BYTES, check_bytes, check_cells, check_rows
from tuneproof.tasks.text_file import FileBytes

BATCH_ROWS = 4096
FIRST_ROWS = 64
BATCH_BYTES = 256_000_000
MAX_WIDTH = 1000  # bytes of a value of fixed length


def read_parquet(file: FileBytes) -> tuple[Mapping[str, Sequence[Any]], int]:
    """The columns and the number of rows. Raises: DataError if it is not Parquet, or has too many rows."""
    with _as_data_error(file.name):
        parquet = _open(file)
        check_header(file.name, parquet.schema_arrow.names)
        rows = parquet.metadata.num_rows
    check_rows(file.name, rows)
    reader = _ColumnReader(file, rows)
    classes = read_class_names(parquet.schema_arrow.metadata)

    def read(column: str) -> Sequence[Any]:
        values = reader.read(column)
        return name_classes(file.name, column, classes[column], values) if column in classes else values

    return LazyColumns(parquet.schema_arrow.names, read), rows


@dataclass
class _ColumnReader:
    """Reads one column at a time; `size` counts the bytes of the values of all of them."""

    file: FileBytes
    rows: int
    size: int = 0
    values: int = 0

    def read(self, name: str) -> list[Any]:
        """One column. Raises: DataError if it is damaged, or if all columns together exceed a limit."""
        with _as_data_error(self.file.name):
            return self._read(name)

    def _read(self, name: str) -> list[Any]:
        parquet = _open(self.file)
        leaves = _leaves(parquet, name)
        _open_columns(parquet, leaves)
        self._check_metadata(parquet, leaves)
        paths = [parquet.schema.column(leaf).path for leaf in leaves]
        has_texts = any(parquet.schema.column(leaf).physical_type == "BYTE_ARRAY" for leaf in leaves)
        column: list[Any] = []
        for batch in parquet.iter_batches(self._batch_rows(parquet, leaves), columns=paths):
            if batch.schema.names != [name]:
                raise ValueError(f"two columns are called {name}")
            check_bytes(self.file.name, self.size + batch.nbytes)
            batch.validate(full=True)  # its texts are UTF-8, and no offset points outside
            values = batch.column(0).to_pylist()
            self.size += max(batch.nbytes, sum(map(sys.getsizeof, values)) if has_texts else 0)
            check_bytes(self.file.name, self.size)
            column += values
        if len(column) != self.rows:
            raise ValueError(f"the column {name} has {len(column):,} of {self.rows:,} rows")
        return column

    def _check_metadata(self, parquet: Any, leaves: Sequence[int]) -> None:
        chunks = [chunk for leaf in leaves for chunk in _chunks(parquet, leaf)]
        self.values += sum(chunk.num_values for chunk in chunks)
        check_cells(self.file.name, self.values)
        check_bytes(self.file.name, self.size + sum(chunk.total_uncompressed_size for chunk in chunks))
        for leaf in leaves:
            column = parquet.schema.column(leaf)
            if (column.length or 0) > MAX_WIDTH:
                problem = f"the column {column.path} holds values of {column.length:,} bytes each."
                allowed = f"Values of a fixed length may have {MAX_WIDTH:,}."
                raise DataError(self.file.name, problem, allowed, "Write the column as text.")

    def _batch_rows(self, parquet: Any, leaves: Sequence[int]) -> int:
        """As many rows as fit if each holds the longest value. Raises: DataError if lists may not fit."""
        texts = [leaf for leaf in leaves if parquet.schema.column(leaf).physical_type == "BYTE_ARRAY"]
        longest = max((self._longest_value(parquet, leaf) for leaf in texts), default=1)
        return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, longest)))

    def _longest_value(self, parquet: Any, leaf: int) -> int:
        """The most bytes that a text which is stored once and read often may have.

        Raises: DataError if the texts of all rows are too large.
        """
        column = parquet.schema.column(leaf)
        chunks = _chunks(parquet, leaf)
        is_delta = any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks)
        dictionaries = _open(self.file, read_dictionary=[column.path])
        if is_delta:  # a value may repeat the one before, so each may be as long as all of them
            lengths = [chunk.total_uncompressed_size for chunk in chunks]
        else:
            lengths = [
                _longest_entry(dictionaries, column.path, i, chunk.total_uncompressed_size)
                for i, chunk in enumerate(chunks)
            ]
        most = self.size + sum(
            length * chunk.num_values for length, chunk in zip(lengths, chunks, strict=True)
        )
        if most > MAX_BYTES and not is_delta:
            most = self.size
            for array in _dictionary_arrays(dictionaries, column.path, BATCH_ROWS):
                most += _size(array)
                check_bytes(self.file.name, most)
        if column.max_repetition_level:  # one row may hold any number of them
            check_bytes(self.file.name, most)
        return max(lengths, default=0)


def _longest_entry(dictionaries: Any, path: str, group: int, most: int) -> int:
    """The length of the longest text in a row group's dictionary, which its first value unpacks.

    Without a dictionary (nulls, JSON, decimals) `most`, the bytes of the whole chunk.
    """
    import pyarrow.compute as pc

    for array in _dictionary_arrays(dictionaries, path, FIRST_ROWS, [group]):
        if len(array.dictionary):
            return int(pc.max(pc.binary_length(array.dictionary)).as_py())
    return most


def _size(array: Any) -> int:
    """The bytes of the texts for which a dictionary array stands."""
    import pyarrow.compute as pc

    return pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0


def _dictionary_arrays(
    dictionaries: Any, path: str, rows: int, groups: Sequence[int] | None = None
) -> Iterator[Any]:
    """One of Parquet's columns as indices into its dictionary, without lists and structs around it."""
    for batch in dictionaries.iter_batches(rows, row_groups=groups, columns=[path]):
        array = batch.column(0)
        while not hasattr(array, "dictionary") and hasattr(array, "flatten"):
            parts = array.flatten()
            array = parts[0] if isinstance(parts, list) else parts
        if hasattr(array, "dictionary"):  # not of nulls, JSON, decimals
            yield array


def _leaves(parquet: Any, name: str) -> range:
    """The numbers of the columns that Parquet stores for one column of the table."""
    start = 0
    for column in parquet.schema_arrow:
        end = start + _count_leaves(column.type)
        if column.name == name:
            return range(start, end)
        start = end
    return range(0)


def _count_leaves(kind: Any) -> int:
    kind = getattr(kind, "storage_type", kind)
    return sum(_count_leaves(kind.field(i).type) for i in range(kind.num_fields)) or 1


def _open(file: FileBytes, **options: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(file.data), **options)


def _open_columns(parquet: Any, leaves: Sequence[int]) -> None:
    """Raises an ArrowException or OSError where a column's metadata contradict themselves; reads no row.

    `metadata.row_group(i).column(j)` ends the whole process there.
    """
    for group in range(parquet.num_row_groups):
        next(parquet.reader.iter_batches(0, row_groups=[group], column_indices=list(leaves)), None)


def _chunks(parquet: Any, leaf: int) -> list[Any]:
    metadata = parquet.metadata
    return [metadata.row_group(group).column(leaf) for group in range(metadata.num_row_groups)]


@contextmanager
def _as_data_error(name: str) -> Iterator[None]:
    """Turn an error of the library into a sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        problem = f"cannot be read as Parquet: {reason}."
        raise DataError(name, problem, do="Check the file's ending, or write the file again.") from None
