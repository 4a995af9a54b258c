"""Names of classes in a Parquet file's own metadata."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import TASKS
from tuneproof.tasks.class_names import read_class_names

TASK = TASKS["labels"]
LABEL = {"names": ["negative", "positive"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def write(path, labels, features):
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"text": [f"text {n}" for n in range(len(labels))], "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def read(path, **options):
    return TASK.read(TASK.options(path=str(path), **options))


def test_classes_have_the_names_of_the_files_metadata(tmp_path):
    path = write(tmp_path / "own.parquet", [0, 1, 1, 0], {"text": TEXT, "label": LABEL})
    rows = read(path)
    assert rows.labels == ("negative", "positive")
    assert [item.label for item in rows.parts["all"]] == [0, 1, 1, 0]
    assert read(path, labels=("positive", "negative")).parts["all"][0].label == 1


def test_a_class_of_minus_one_is_missing(tmp_path):
    path = write(tmp_path / "own.parquet", [0, 1, -1, None], {"label": LABEL})
    with pytest.raises(DataError, match=r"2 rows have no label \(rows 3, 4\)"):
        read(path)


def test_a_class_without_a_name_is_refused(tmp_path):
    path = write(tmp_path / "own.parquet", [0, 1, 2], {"label": LABEL})
    with pytest.raises(DataError, match="row 3: the column label holds the class 2"):
        read(path)


def test_names_that_are_no_numbers_stay(tmp_path):
    path = write(tmp_path / "own.parquet", ["a", "a", "b", "b"], {"label": LABEL})
    assert read(path).labels == ("a", "b")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {b"huggingface": b"{"},
        {b"huggingface": b"[]"},
        {b"huggingface": b'{"info": 3}'},
        {b"huggingface": b'{"info": {"features": []}}'},
        {b"huggingface": b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'},
        {b"huggingface": b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": [1]}}}}'},
        {b"huggingface": b"\xff"},
    ],
)
def test_other_metadata_names_no_classes(metadata):
    assert read_class_names(metadata) == {}
