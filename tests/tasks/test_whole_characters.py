"""Half of an emoji, wherever it is in a file: one sentence with the row."""

import csv
import json

import pytest

from tuneproof.errors import DataError
from tuneproof.tasks import TASKS

HALF = "cut \ud83d"
LABELLED = [{"id": str(n), "text": f"text {n}", "label": "ab"[n % 2], "more": [{"x": "y"}]} for n in range(8)]
CONTEXT = "The Normans came in 1066."
ASKED = [
    {"id": str(n), "title": "t", "context": CONTEXT, "question": f"When {n}?", "answers": {"text": ["1066"]}}
    for n in range(4)
]


def refuse(kind: str, path, **options) -> str:
    task = TASKS[kind]
    with pytest.raises(DataError, match=r"holds half of a character \(\\ud83d") as error:
        task.read(task.options(path=str(path), **options))
    return error.value.where.removeprefix(f"{path.parent}/")


@pytest.mark.parametrize("key", ["id", "text", "label", "more", "\ud83d"])
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_every_text_of_a_row_is_checked(tmp_path, key, ending):
    rows = [dict(row) for row in LABELLED]
    rows[3][key] = [{"x": HALF}] if key == "more" else HALF
    path = tmp_path / f"own.{ending}"
    path.write_text("\n".join(map(json.dumps, rows)) if ending == "jsonl" else json.dumps(rows))
    where = refuse("labels", path)
    assert where.startswith("own.jsonl, line 4" if ending == "jsonl" else "own.json, row 4")


@pytest.mark.parametrize("key", ["id", "title", "context", "question", "answers"])
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_every_text_of_a_question_is_checked(tmp_path, key, ending):
    rows = [dict(row) for row in ASKED]
    rows[2][key] = {"text": [HALF]} if key == "answers" else HALF
    path = tmp_path / f"own.{ending}"
    path.write_text("\n".join(map(json.dumps, rows)) if ending == "jsonl" else json.dumps({"data": rows}))
    assert " 3" in refuse("questions", path)


@pytest.mark.parametrize("key", ["id", "title", "context", "question", "answer"])
def test_every_text_of_squads_json_is_checked(tmp_path, key):
    def value(name: str, text: str) -> str:
        return HALF if key == name else text

    answers = [{"text": value("answer", "1066"), "answer_start": 20}]
    question = {"id": value("id", "a"), "question": value("question", "When?"), "answers": answers}
    paragraph = {"context": value("context", CONTEXT), "qas": [question]}
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"data": [{"title": value("title", "t"), "paragraphs": [paragraph]}]}))
    assert refuse("questions", path) == "own.json, article 1, paragraph 1, question 1"


def test_an_answer_in_the_json_of_a_cell_is_checked(tmp_path):
    path = tmp_path / "own.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("question", "context", "answers"), ("When?", CONTEXT, json.dumps([HALF]))])
    assert refuse("questions", path) == "own.csv, row 2"


def test_an_encoding_that_spells_halves_is_checked(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes(b"text,label\nfine,a\ncut +2D0-,b\n")
    assert refuse("labels", path, encoding="utf-7") == "own.csv, line 3"


def test_two_halves_that_follow_each_other_are_one_character(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps({**row, "text": f"{row['text']} 😀"}) for row in LABELLED))
    task = TASKS["labels"]
    assert task.read(task.options(path=str(path))).parts["all"][0].text == "text 0 😀"
