"""Own questions files of every kind, answers in their places, casing, balance, groups."""

import csv
import json
from pathlib import Path

import pytest

from tuneproof.data.splits import PARTS, make_splits
from tuneproof.errors import DataError
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.contexts import lowercase_text
from tuneproof.tasks.question_rows import find_shared_paragraphs, question_from_json, question_to_json
from tuneproof.tasks.task import GoldAnswer

TASK = TASKS["questions"]
CONTEXT = "The Normans came to Apulia. Apulia is in Italy, and in 1066 they took England."


def write(path: Path, rows: list[dict]) -> Path:
    """JSONL, or CSV with the answers as JSON."""
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
        return path
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            answers = row["answers"]
            cell = answers if isinstance(answers, str) else json.dumps(answers)
            writer.writerow({**row, "answers": cell})
    return path


def row(question: str, answers, context: str = CONTEXT, **more) -> dict:
    return {"question": question, "context": context, "answers": answers, **more}


def read(path: Path, **options):
    rows = TASK.read(TASK.options(path=str(path), **options))
    return rows, next(iter(rows.parts.values()))


FORMS = {
    "as on the hub": {"text": ["1066"], "answer_start": [CONTEXT.index("1066")]},
    "a list": ["1066"],
    "one text": "1066",
}


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@pytest.mark.parametrize("form", FORMS)
def test_three_rows_are_rendered_exactly(tmp_path, ending, form):
    empty = "" if isinstance(FORMS[form], str) else []
    file = write(
        tmp_path / f"own{ending}",
        [
            row("When did they take England?", FORMS[form]),
            row("Who  took\nSpain?", empty, "Nobody knows."),
            row("Where is Apulia?", ["Italy"]),
        ],
    )
    rows, items = read(file)
    assert rows.labels == ("answerable", "unanswerable")
    assert rows.grouped
    assert [item.label for item in items] == [0, 1, 0]
    assert items[0].required_question.golds[0].text == "1066"
    assert items[0].required_question.golds[0].start == CONTEXT.index("1066")
    assert items[0].text == f"When did they take England?\n{CONTEXT}"
    assert items[1].text == "Who took Spain?\nNobody knows."
    assert items[1].required_question.question == "Who  took\nSpain?"
    assert items[1].required_question.golds == ()
    assert items[0].group == items[2].group != items[1].group
    assert items[0].group.startswith("paragraph ")


def test_an_answer_is_where_it_is_said_to_be_or_at_the_nearest_place(tmp_path):
    second = CONTEXT.rindex("Apulia")
    given = {"text": ["Apulia"], "answer_start": [second]}
    moved = {"text": ["Apulia"], "answer_start": [second + 3]}
    absent = {"text": ["Sicily"], "answer_start": [3]}
    file = write(
        tmp_path / "own.jsonl", [row("a?", given), row("b?", moved), row("c?", ["Apulia"]), row("d?", absent)]
    )
    _, items = read(file)
    assert [item.required_question.golds[0] for item in items] == [
        GoldAnswer("Apulia", second, "source"),
        GoldAnswer("Apulia", second, "moved"),
        GoldAnswer("Apulia", CONTEXT.index("Apulia"), "searched"),
        GoldAnswer("Sicily", -1, "absent"),
    ]


def test_lower_case_keeps_every_character_in_its_place(tmp_path):
    context = "İstanbul and THE Straße: IT IS ÉTÉ"
    assert len(lowercase_text(context)) == len(context)
    assert lowercase_text("ABC É") == "abc é"
    start = context.index("ÉTÉ")
    file = write(
        tmp_path / "own.jsonl", [row("WHAT Is It?", {"text": ["ÉTÉ"], "answer_start": [start]}, context)]
    )
    rows, items = read(file, lowercase=True)
    asked = items[0].required_question
    assert asked.question == "what is it?"
    assert asked.golds == (GoldAnswer("été", start, "source"),)
    assert asked.context[start:] == "été"
    assert rows.source["changes"] == "lower-cased"


def test_without_unanswerable_questions_there_is_one_label(tmp_path):
    rows, _ = read(write(tmp_path / "own.jsonl", [row("a?", ["1066"]), row("b?", ["Italy"])]))
    assert rows.labels == ("answerable",)


def test_paragraphs_stay_on_one_side_and_a_title_holds_several(tmp_path):
    rows = [
        row(f"q{i}?", ["1066"] if i % 2 else [], f"{CONTEXT} {i // 4}", art=f"t{i // 8}") for i in range(160)
    ]
    file = write(tmp_path / "own.jsonl", rows)
    for options, size in (({}, 4), ({"title": "art"}, 8)):
        found, _ = read(file, **options)
        splits = make_splits(TASK, found, SplitSettings(kind="shares", shares=(60, 20, 20)))
        groups = [{item.group for item in splits.part(name)} for name in PARTS]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 160 // size


def test_a_train_question_about_a_test_paragraph_leaves_train(tmp_path):
    train = [row(f"q{i}?", ["1066"] if i % 2 else [], f"{CONTEXT} {i}") for i in range(40)]
    train[3]["context"] = "  A held-out paragraph, in 1066!"
    test = [row("t1?", ["1066"], "A held-out paragraph in 1066."), row("t2?", [], "Another one.")]
    for name, rows in (("train", train), ("test", test)):
        write(tmp_path / f"{name}.jsonl", rows)
    found, _ = read(tmp_path / "train.jsonl", test=str(tmp_path / "test.jsonl"))
    splits = make_splits(TASK, found, SplitSettings())
    assert splits.report["dropped"]["train: overlaps a test item"] == 1 or (
        splits.report["dropped"]["dev: overlaps a test item"] == 1
    )
    assert not find_shared_paragraphs(
        [i.text for i in splits.train], [i.text for i in splits.test]
    ).leaks_T.any()


def test_a_question_comes_back_from_the_items_file_as_it_was(tmp_path):
    _, items = read(write(tmp_path / "own.jsonl", [row("When?", ["1066", "in 1066"])]))
    back = question_from_json(items[0].text, question_to_json(items[0].required_question))
    assert back.answers == ("1066", "in 1066")
    assert (back.question, back.context) == (items[0].required_question.question, CONTEXT)
    assert [g.start for g in back.golds] == [g.start for g in items[0].required_question.golds]


def test_a_file_without_any_answer_is_refused(tmp_path):
    file = write(tmp_path / "own.jsonl", [row("a?", []), row("b?", [])])
    with pytest.raises(DataError, match="no question has an answer"):
        read(file)


@pytest.mark.parametrize(
    "wrap", [list, lambda rows: {"data": rows}, lambda rows: {"version": 2, "data": rows}]
)
def test_rows_in_a_json_file_are_a_table(tmp_path, wrap):
    file = tmp_path / "own.json"
    rows = [row("When?", {"text": ["1066"], "answer_start": [48]}, key="k1"), row("Who?", [], key="k2")]
    file.write_text("\ufeff" + json.dumps(wrap(rows)))
    _, items = read(file, id="key")
    assert [(item.id, item.label) for item in items] == [("k1", 0), ("k2", 1)]


def test_lines_in_a_json_file_are_to_be_named_so(tmp_path):
    file = tmp_path / "own.json"
    file.write_text("\n".join(json.dumps(row("When?", ["1066"])) for _ in range(2)))
    with pytest.raises(DataError, match=r"If it has one object per line, name it \.jsonl"):
        read(file)


@pytest.mark.parametrize("answer", ["[3] Hall 4", "[sic] they", "{x} is", "[3] a [4]"])
def test_an_answer_may_begin_with_a_bracket(tmp_path, answer):
    file = write(tmp_path / "own.csv", [row("Where?", answer, f"It is in {answer}, they say.")])
    _, items = read(file)
    assert items[0].required_question.answers == (answer,)


@pytest.mark.parametrize(
    "answer", ["['1066']", "{'text': array(['1066'], dtype=object)}", '["1066"', "[1066"]
)
def test_an_answer_that_only_looks_like_json_is_refused(tmp_path, answer):
    with pytest.raises(DataError, match="the answers are not JSON"):
        read(write(tmp_path / "own.csv", [row("Where?", answer)]))


def test_repeated_ids_of_a_table_may_be_left_out(tmp_path):
    rows = [row(f"q{n}?", ["1066"], key=key) for n, key in enumerate(("a", "b", "a"))]
    with pytest.raises(DataError, match=r"the id 'a' is also in line 1; one id .* or leave out id"):
        read(write(tmp_path / "own.jsonl", rows), id="key")


def test_an_empty_answer_of_squads_json_names_the_way_to_write_none(tmp_path):
    answers = [{"text": "", "answer_start": -1, "answer_category": "NOT_GIVEN"}]
    asked = {"id": "a", "question": "When?", "answers": answers, "is_impossible": False}
    file = tmp_path / "own.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [asked]}]}]}))
    with pytest.raises(DataError, match=r'"answers": \[\] with "is_impossible": true'):
        read(file)
