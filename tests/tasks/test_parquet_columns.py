"""Parquet files whose few bytes stand for much memory are refused before it is taken.

In: files built here, small limits. Out: the sentences. Knows nothing of: tasks, models.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import parquet_columns, size_limits
from tuneproof.tasks.tables import read_table

LONG = "x" * 1_000_000


def written(folder: Path, values: Any, **options: Any) -> Path:
    labels = ["a", "b"] * (len(values) // 2) + ["a"] * (len(values) % 2)
    table = pa.table({"text": values, "label": labels, "other": labels})
    pq.write_table(table, folder / "own.parquet", compression="zstd", **options)
    return folder / "own.parquet"


SMALL_FILES = {
    "a dictionary": (["y", LONG] * 100, {}),
    "nulls before a dictionary": ([None] * 200 + [LONG] * 200, {}),
    "a dictionary of large strings": (pa.array([LONG] * 200, pa.large_string()), {}),
    "a dictionary type": (pa.array([LONG] * 200).dictionary_encode(), {}),
    "one list of many": (pa.array([[]] * 100 + [[LONG] * 200]), {}),
    "a struct": (pa.array([{"a": None, "b": 1}] * 100 + [{"a": LONG, "b": 1}] * 200), {}),
    "a map": (pa.array([[("key", LONG)]] * 200, pa.map_(pa.string(), pa.string())), {}),
    "texts that begin alike": (
        [f"{LONG}{i}" for i in range(200)],
        {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
    ),
    "bytes of a fixed length": (pa.array([None] * 200, pa.binary(1_000_000)), {}),
    "a list of nulls": (pa.array([[None] * 40_000_000, []], pa.list_(pa.null())), {}),
}


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_is_refused_before_its_memory_is_taken(name, tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_BYTES", 50_000_000)
    monkeypatch.setattr(parquet_columns, "MAX_BYTES", 50_000_000)
    monkeypatch.setattr(size_limits, "MAX_CELLS", 10_000_000)
    monkeypatch.setattr(parquet_columns, "BATCH_BYTES", 5_000_000)
    values, options = SMALL_FILES[name]
    path = written(tmp_path, values, **options)
    assert path.stat().st_size < 5_000_000
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DataError, match=r"allowed|may have"):
        read_table(path).column("text", "text")
    assert pa.default_memory_pool().max_memory() <= max(before, 100_000_000)


def test_only_columns_that_are_asked_for_take_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_BYTES", 50_000_000)
    monkeypatch.setattr(parquet_columns, "MAX_BYTES", 50_000_000)
    table = read_table(written(tmp_path, ["y", LONG] * 100))
    assert table.column("label", "label")[:2] == ["a", "b"]
    assert list(table.columns) == ["text", "label", "other"]


def test_more_rows_than_are_allowed_are_refused_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_ROWS", 10)
    with pytest.raises(DataError, match=r"has 12 rows. At most 10 are allowed. Keep fewer rows."):
        read_table(written(tmp_path, pa.nulls(12)))


def test_one_long_text_among_short_ones_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_BYTES", 50_000_000)
    monkeypatch.setattr(parquet_columns, "MAX_BYTES", 50_000_000)
    monkeypatch.setattr(parquet_columns, "BATCH_BYTES", 5_000_000)
    texts = [LONG, *(f"text {i}" for i in range(1000))]
    assert read_table(written(tmp_path, texts)).column("text", "text") == texts


def test_columns_with_dots_and_nested_columns_are_told_apart(tmp_path):
    answers = [{"text": ["b"], "start": [1]}, {"text": [], "start": []}]
    table = pa.table({"a.b": ["x", "y"], "answers": answers, "b": ["z", None]})
    pq.write_table(table, tmp_path / "own.parquet")
    read = read_table(tmp_path / "own.parquet")
    assert {name: list(column) for name, column in read.columns.items()} == table.to_pydict()


EVERY_FOOTER_BYTE = """
import io, sys
import pyarrow as pa, pyarrow.parquet as pq
from tuneproof.errors import TuneproofError
from tuneproof.tasks.parquet_columns import read_parquet
from tuneproof.tasks.text_file import FileBytes

stream = io.BytesIO()
pq.write_table(pa.table({"text": ["a film", "a book", "a film"], "label": ["a", "b", "a"]}), stream)
good = stream.getvalue()
outcomes = {"read": 0, "refused": 0}
for index in range(len(good) - int.from_bytes(good[-8:-4], "little") - 8, len(good)):
    for byte in (0, 2, 6, 12, 0x19, 0x36, 0xff):
        damaged = good[:index] + bytes([byte]) + good[index + 1 :]
        try:
            columns, _ = read_parquet(FileBytes("own.parquet", damaged, ""))
            list(map(columns.__getitem__, columns))
            outcomes["read"] += 1
        except TuneproofError:
            outcomes["refused"] += 1
print(min(outcomes.values()))
"""


def test_a_damaged_footer_never_ends_the_process():
    """pyarrow ends it where sizes in a column's metadata contradict each other."""
    result = subprocess.run([sys.executable, "-c", EVERY_FOOTER_BYTE], capture_output=True, text=True)
    assert (result.returncode, result.stderr[-300:]) == (0, "")
    assert int(result.stdout) > 100


def test_a_long_json_value_in_every_row_is_bounded_too(tmp_path, monkeypatch):
    """pyarrow reads such a column without a dictionary."""
    monkeypatch.setattr(size_limits, "MAX_BYTES", 10_000_000)
    monkeypatch.setattr(parquet_columns, "MAX_BYTES", 10_000_000)
    monkeypatch.setattr(parquet_columns, "BATCH_BYTES", 2_000_000)
    values = pa.array([f'"{LONG}"'] * 50, pa.json_())
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"text": values, "label": ["a", "b"] * 25}), path)
    with pytest.raises(DataError, match="unpacks to"):
        read_table(path).columns["text"]
