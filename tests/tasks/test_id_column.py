"""A column of ids is recognised by its name, and only where it holds each id once."""

from pathlib import Path

import pytest

from tuneproof.tasks.labels import LabelsOptions, read


def _rows(path: Path, header: str, ids: list[str]) -> str:
    lines = [f"{name},text {number},{'ab'[number % 2]}" for number, name in enumerate(ids)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def _read_ids(**options):
    rows = read(LabelsOptions(**options))
    remarks = [remark.message for remark in rows.remarks if remark.name == "id_column"]
    return [item.id for items in rows.parts.values() for item in items], remarks


@pytest.mark.parametrize("name", ["id", "ID", "Uid", "uuid", "example_id"])
def test_a_column_of_unique_ids_is_used_and_named(tmp_path, name):
    ids, remarks = _read_ids(path=_rows(tmp_path / "a.csv", f"{name},text,label", ["x1", "x2", "x3", "x4"]))
    assert ids == ["x1", "x2", "x3", "x4"]
    assert remarks == [f"The column {name} holds a unique id for every row, by which items are known."]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [(["x", "x", "y", "z"], "repeats an id"), (["x", "", "y", "z"], "has cells without an id")],
)
def test_ids_that_are_none_number_the_rows_and_the_note_says_why(tmp_path, ids, problem):
    ids, remarks = _read_ids(path=_rows(tmp_path / "a.csv", "id,text,label", ids))
    assert ids == ["row-2", "row-3", "row-4", "row-5"]
    assert remarks == [f"The column id {problem}, so rows are known by their numbers."]


def test_an_id_that_two_files_share_numbers_the_rows(tmp_path):
    train = _rows(tmp_path / "a.csv", "id,text,label", ["1", "2", "3", "4"])
    test = _rows(tmp_path / "b.csv", "id,text,label", ["1", "2", "3", "4"])
    ids, remarks = _read_ids(path=train, test=test)
    assert ids[:1] + ids[-1:] == ["train-2", "test-5"]
    assert len(remarks) == 1


def test_other_columns_are_no_ids(tmp_path):
    ids, remarks = _read_ids(path=_rows(tmp_path / "a.csv", "idea,text,label", ["1", "2", "3", "4"]))
    assert ids[0] == "row-2"
    assert remarks == []
    ids, remarks = _read_ids(
        path=_rows(tmp_path / "b.csv", "id,text,label", ["a", "b", "a", "b"]), label="id"
    )
    assert ids[0] == "row-2"
    assert remarks == []
