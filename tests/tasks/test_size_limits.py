"""JSON whose values take far more memory than its text is refused before it is parsed.

In: files built here, small limits. Out: the sentences. Knows nothing of: tasks, models.
"""

import gzip
import json

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import size_limits
from tuneproof.tasks.squad_file import read_squad
from tuneproof.tasks.tables import read_table

FILES = {
    "lists.json": "[" + "[]," * 100_000 + "[]]",
    "objects.json": "[" + "{}," * 100_000 + "{}]",
    "numbers.jsonl": '{"text": [' + "0.5," * 100_000 + "1]}\n",
    "nested.jsonl": '{"text": "a", "label": [' + '{"a":1},' * 50_000 + "1]}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_values_that_take_too_much_memory_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_BYTES", 5_000_000)
    (tmp_path / name).write_text(FILES[name])
    with pytest.raises(DataError, match=r"of memory. At most 5,000,000 are allowed. Keep fewer rows"):
        read_table(tmp_path / name)


def test_packed_lists_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_BYTES", 5_000_000)
    (tmp_path / "own.json.gz").write_bytes(gzip.compress(b'{"data":[' + b"[]," * 100_000 + b"[]]}"))
    with pytest.raises(DataError, match=r"At most 5,000,000 are allowed"):
        read_squad(tmp_path / "own.json.gz")


def test_keys_times_rows_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_CELLS", 1000)
    rows = [{f"key {i}": "x"} for i in range(40)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"has 1,600 cells .rows times columns.. At most 1,000 are allowed"):
        read_table(tmp_path / "own.jsonl")


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl", "own.json"])
def test_more_rows_than_are_allowed_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_ROWS", 10)
    rows = [json.dumps({"text": "a"})] * 12
    texts = {"own.csv": "text,label\n" + "a,b\n" * 12, "own.jsonl": "\n".join(rows)}
    (tmp_path / name).write_text(texts.get(name, f"[{','.join(rows)}]"))
    with pytest.raises(DataError, match=r"1[12] rows. At most 10 are allowed"):
        read_table(tmp_path / name)
