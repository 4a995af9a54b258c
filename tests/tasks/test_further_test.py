"""Further test files: the study's labels, nothing left out in silence."""

import json

import pytest

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks import TASKS
from tuneproof.tasks.further_test import FurtherTest, read_further_test

LABELS = ("negative", "positive")


def read(path, text, labels=LABELS, task="demo", task_options=None, **options):
    path.write_text(text, "utf-8")
    settings = FurtherTest(path=str(path), **options)
    task_values = TASKS[task].options(**(task_options or {}))
    return read_further_test("tweets", settings, TASKS[task].kind, task_values, labels)


def test_the_rows_become_items_with_the_files_name_in_their_ids(tmp_path) -> None:
    rows = read(tmp_path / "t.csv", "text,label\nnice,positive\nbad,negative\n")
    assert [(item.id, item.text, item.label) for item in rows.items] == [
        ("tweets-2", "nice", 1),
        ("tweets-3", "bad", 0),
    ]
    assert not rows.grouped


def test_an_id_column_is_taken_as_it_is(tmp_path) -> None:
    rows = read(tmp_path / "t.csv", "text,label,key\nnice,positive,arrow 1\n", id="key")
    assert rows.items[0].id == "arrow 1"


def test_columns_are_those_of_the_tasks_own_file_where_none_is_named(tmp_path) -> None:
    own = {"path": "x.csv", "text": "review", "label": "mood"}
    text = "review,mood\nnice,positive\n"
    assert read(tmp_path / "t.csv", text, task="labels", task_options=own).items[0].text == "nice"
    with pytest.raises(DataError, match="there is no column review"):
        read(tmp_path / "t.csv", "text,label\nnice,positive\n", task="labels", task_options=own)


def test_a_label_of_one_class_alone_is_enough(tmp_path) -> None:
    assert [item.label for item in read(tmp_path / "t.csv", "text,label\na b,positive\n").items] == [1]


def test_a_label_that_the_study_lacks_is_one_clear_error(tmp_path) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path / "t.csv", "text,label\nnice,positive\nmeh,neutral\nso,neutral\n")
    assert error.value.where.endswith("t.csv, row 3")
    assert error.value.problem == (
        'the label "neutral" is not one of the study\'s, negative, positive. 2 rows have such a label '
        "(rows 3, 4)."
    )
    assert "rename: {THEIRS: null}" in error.value.do


def test_renamed_labels_are_read_and_those_left_out_are_counted(tmp_path) -> None:
    text = "text,label\nnice,5\nmeh,3\nbad,1\nso,3.0\n"
    rename = {"5": "positive", "1": "negative", "3": None, "3.0": None}
    rows = read(tmp_path / "t.csv", text, rename=rename)
    assert [item.label for item in rows.items] == [1, 0]
    assert rows.dropped == {"label 3": 1, "label 3.0": 1}


@pytest.mark.parametrize(
    ("rename", "problem"),
    [
        ({"good": "happy"}, "'happy', which is not a label of the study"),
        ({"goood": "positive"}, "'goood', which no row has"),
        ({"good": None}, "leaves out every label"),
    ],
)
def test_a_wrong_rename_is_named(tmp_path, rename, problem) -> None:
    with pytest.raises(DataError, match=problem):
        read(tmp_path / "t.csv", "text,label\nnice,good\n", rename=rename)


def test_an_empty_text_is_refused_unless_its_row_is_left_out(tmp_path) -> None:
    text = "text,label\nnice,positive\n,other\n"
    with pytest.raises(DataError, match=r"1 text is empty \(row 2\)"):
        read(tmp_path / "t.csv", "text,label\n,positive\n")
    assert len(read(tmp_path / "t.csv", text, rename={"other": None}).items) == 1


def test_spellings_that_are_certainly_one_class_are_one(tmp_path) -> None:
    assert [item.label for item in read(tmp_path / "t.csv", "text,label\na b,1.0\n", ("0", "1")).items] == [1]


def test_questions_are_read_as_in_the_study(tmp_path) -> None:
    row = {"question": "Who?", "context": "Ann sang.", "answers": ["Ann"]}
    none = {"question": "Where?", "context": "Ann sang.", "answers": []}
    text = json.dumps(row) + "\n" + json.dumps(none) + "\n"
    options = {"task": "questions", "task_options": {"path": "x.jsonl"}}
    rows = read(tmp_path / "t.jsonl", text, ("answerable", "unanswerable"), **options)
    assert [item.label for item in rows.items] == [0, 1]
    assert rows.grouped
    with pytest.raises(DataError, match="questions without an answer, and the study has none"):
        read(tmp_path / "t.jsonl", text, ("answerable",), **options)


def written_test(tmp_path, system, instruction, **settings):
    turns = [{"role": "system", "content": system}] if system else []
    row = {"messages": [*turns, *({"role": r, "content": r} for r in ("user", "assistant"))]}
    (tmp_path / "more.jsonl").write_text(json.dumps(row))
    options = TASKS["answers"].options(path="own.jsonl", instruction=instruction)
    settings = FurtherTest(path=str(tmp_path / "more.jsonl"), **settings)
    return read_further_test("more", settings, "questions", options, ("answerable",)).items


def test_a_system_turn_of_written_answers_is_read_unless_it_is_the_instruction(tmp_path):
    assert written_test(tmp_path, "Be kind.", "Be kind.")[0].text == "user"
    assert written_test(tmp_path, "Be brief.", "Be kind.")[0].text == "Be brief.\n\nuser"
    assert written_test(tmp_path, "Be brief.", None)[0].text == "Be brief.\n\nuser"


def test_labels_of_written_answers_are_not_renamed(tmp_path):
    with pytest.raises(RecipeError, match="rename maps labels"):
        written_test(tmp_path, "", None, rename={"a": "b"})


def test_another_column_of_answers_is_named_by_label(tmp_path):
    (tmp_path / "more.csv").write_text("text,reply\na,b\n")
    settings = FurtherTest(path=str(tmp_path / "more.csv"), label="reply")
    options = TASKS["answers"].options(path="own.csv")
    (item,) = read_further_test("more", settings, "questions", options, ("answerable",)).items
    assert item.required_question.answers == ("b",)
