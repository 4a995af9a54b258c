"""Users' files of the shared cases: read as they are meant, or refused with the reason."""

from pathlib import Path

import pytest

from tests.open_model import SHARED
from tuneproof.errors import DataError
from tuneproof.tasks import TASKS

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


def case(number: str) -> Path:
    return next(CASES.glob(f"files-{number}-*"))


def read(number: str, name: str, kind: str = "labels", **options):
    task = TASKS[kind]
    return task.read(task.options(path=str(case(number) / name), **options))


def test_one_and_one_point_zero_are_one_label():
    rows = read("02", "mixed.csv")
    assert rows.labels == ("0", "1")
    assert [remark.count for remark in rows.remarks] == [40]
    assert read("02", "train.csv", test=str(case("02") / "test.csv")).labels == ("0", "1")


@pytest.mark.parametrize(
    ("name", "labels", "remark", "count"),
    [
        ("nan.csv", ("nan", "negative", "positive"), "missing_label_word", 14),
        ("nan01.csv", ("0", "1", "nan"), "missing_label_word", 17),
        ("text_nan.csv", ("negative", "positive"), "missing_text_word", 14),
    ],
)
def test_nan_as_a_label_or_text_is_a_warning(name, labels, remark, count):
    rows = read("04", name)
    assert rows.labels == labels
    assert [(each.name, each.count) for each in rows.remarks] == [(remark, count)]


@pytest.mark.parametrize("name", ["label_studio.csv", "lists.csv", "same.jsonl"])
def test_several_labels_in_one_cell_are_refused(name):
    with pytest.raises(DataError, match="Each item has one label"):
        read("05", name)


def test_joined_labels_are_a_warning():
    assert [remark.name for remark in read("05", "doccano.csv").remarks] == ["joined_labels"]


def test_class_names_come_from_the_files_metadata():
    assert read("06", "hf_classlabel.parquet").labels == ("negative", "positive")


@pytest.mark.parametrize(
    ("name", "kind"), [("half_emoji.jsonl", "labels"), ("half_emoji_squad.json", "questions")]
)
def test_half_an_emoji_is_refused_with_its_row(name, kind):
    with pytest.raises(DataError, match=rf"{name}, (line|article) \d+.*half of a character"):
        read("10", name, kind)


def test_the_delimiter_is_suggested_where_texts_contain_commas():
    with pytest.raises(DataError, match='set delimiter: ";"'):
        read("11", "semicolon.csv")
    assert len(read("11", "semicolon.csv", delimiter=";").parts["all"]) == 120


def test_questions_in_a_list_are_read():
    assert len(read("12", "list.json", "questions").parts["all"]) == 60
    with pytest.raises(DataError, match=r"name it \.jsonl"):
        read("12", "lines.json", "questions")


@pytest.mark.parametrize(
    ("name", "kind", "advice"),
    [
        ("utf16le.csv", "labels", "Set encoding: utf-16-le"),
        ("stray_cr.tsv", "labels", "row 6: a carriage return"),
        ("joined.csv", "labels", r"11 rows repeat the header \(rows 12, 23,"),
        ("not_given.json", "questions", '"is_impossible": true'),
    ],
)
def test_a_refused_file_gets_the_right_advice(name, kind, advice):
    with pytest.raises(DataError, match=advice):
        read("13", name, kind)


def test_files_that_were_refused_are_read():
    assert len(read("13", "sep.csv").parts["all"]) == 40
    assert len(read("13", "sep.csv", delimiter=";").parts["all"]) == 40
    assert read("13", "doccano.jsonl").labels == ("negative", "positive")
    rows = read("13", "leading_bracket.csv", "questions")
    assert rows.parts["all"][0].required_question.answers == ("[3] Hall 4",)
