"""Written answers from the file to the finished arm: a study of messages, and what its arms answer again."""

import json
from pathlib import Path

import numpy as np
import pytest

import tuneproof
from tests.arms.questions import question_models
from tests.monitoring import run_recorded
from tuneproof.apply.http_requests import Limits, read_request
from tuneproof.cli.main import main
from tuneproof.errors import DataError, RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.study_folder import read_items, read_json

THINGS = ("movie", "film", "story", "music")
ANSWERS = ("the {0} was great .", "the {0} was bad .\nnot good at all .")
ARMS = [
    "majority",
    "lexical",
    "zero-shot",
    {"few-shot": {"shots": 2}},
    "lora",
    {"given": {"path": "other.jsonl", "text": "text", "name": "other"}},
]


def conversations(count=80):
    for number in range(count):
        thing, kind = THINGS[number % 4], number // 4 % 2
        text = f"{('was the', 'who saw the')[kind]} {thing} number {number} good ?"
        yield text, ANSWERS[kind].format(thing)


def write_messages(path: Path, pairs) -> Path:
    roles = ("system", "user", "assistant")
    rows = [[*zip(roles, ("reply in a line or two .", *pair), strict=True)] for pair in pairs]
    turns = [[{"role": role, "content": content} for role, content in row] for row in rows]
    path.write_text("\n".join(json.dumps({"messages": row}) for row in turns))
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("written")
    pairs = list(conversations())
    (home / "other.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "predicted": answer}) for text, answer in pairs)
    )
    arms = [*ARMS[:-1], {"given": {**ARMS[-1]["given"], "path": str(home / "other.jsonl")}}]
    recipe = recipe_from(
        {
            "task": {"answers": {"path": str(write_messages(home / "m.jsonl", pairs))}},
            "models": [str(question_models(home, ["llama"])["llama"])],
            "arms": arms,
            "seeds": [0],
            "tests": {"more": {"path": str(write_messages(home / "more.jsonl", list(conversations(9))))}},
            "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
            "encode": {"max_length": 512, "answer_tokens": 64},
            "train": {"epochs": 1, "batch_size": 8},
            "compute": {"device": "cpu", "threads": 1},
            "audit": {"allow": ["answer_cut"]},
            "out": str(home / "study"),
        }
    )
    run_recorded(recipe)
    return Path(recipe.out)


def predicted(study, name):
    return read_predictions(study / "arms" / name / "predictions.parquet")


def test_every_arm_is_done_and_scored(study):
    report = read_json(study / "report.json")
    assert {arm["status"] for arm in report["arms"]} == {"done"}
    assert report["task"] == "answers"


def test_answers_of_another_program_that_are_right_score_all_points(study):
    other = predicted(study, "other")
    assert list(other.texts) == [gold for (gold,) in other.golds]
    assert any("\n" in text for text in other.texts)
    assert other.right_N.all()


def test_nothing_is_ever_withheld(study):
    for name in ("llama.zero-shot", "llama.few-shot.seed0", "llama.lora.seed0", "lexical", "majority"):
        answers = predicted(study, name)
        assert list(answers.texts) == list(answers.answers)
        assert not answers.outside_N.any()


def test_a_further_test_file_of_messages_is_answered(study):
    more = read_predictions(study / "arms" / "lexical" / "predictions.more.parquet")
    assert len(more) == 9
    assert more.tokens_N[0] == len(next(conversations())[0].split())  # the instruction is no part of it


@pytest.mark.parametrize("name", ["lexical", "majority", "llama.lora.seed0"])
def test_a_loaded_arm_answers_its_test_items_again(study, name):
    items, before = read_items(study, "test"), predicted(study, name)
    model = tuneproof.load(study / "arms" / name)
    assert model.kind == "answers"
    again = model.answer(items.texts)
    assert list(again.texts) == list(before.texts)
    np.testing.assert_allclose(again.score_N, before.score_N, atol=1e-4)


def test_the_wrong_call_is_named(study):
    model = tuneproof.load(study / "arms" / "lexical")
    with pytest.raises(RunError, match=r"Use tuneproof\.answer\(arm, texts\)"):
        model.predict(["a text"])
    with pytest.raises(RunError, match="without contexts"):
        model.answer(["a text"], ["a context"])
    with pytest.raises(DataError, match="row 2: the text is empty"):
        model.answer(["a text", " "])


def test_predict_answers_a_file_of_messages_and_lines(study, tmp_path, capsys, monkeypatch):
    arm, texts = str(study / "arms" / "lexical"), [text for text, _ in conversations(3)]
    new = write_messages(tmp_path / "new.jsonl", list(conversations(3)))
    assert main(["predict", arm, "--input", str(new), "--output", str(tmp_path / "out.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [row["predicted"] for row in rows] == list(tuneproof.answer(arm, texts).texts)
    monkeypatch.setattr("sys.stdin", iter([f"{texts[0]}\n"]))
    assert main(["predict", arm]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "text,predicted,answer_score"


def test_predict_refuses_to_abstain_and_a_column_that_is_there(study, tmp_path, capsys):
    arm = str(study / "arms" / "lexical")
    (tmp_path / "new.csv").write_text("text,predicted\na,b\n")
    assert main(["predict", arm, "--input", str(tmp_path / "new.csv")]) == 2
    assert "already has a column 'predicted'" in capsys.readouterr().err
    assert main(["predict", arm, "--input", str(tmp_path / "new.csv"), "--abstain", "0.1"]) == 2
    assert "this arm gives answers" in capsys.readouterr().err


def test_a_served_arm_takes_texts():
    body = json.dumps({"texts": ["a", "b"]}).encode()
    assert read_request("answers", "application/json", body, Limits()).items == ["a", "b"]


def test_the_report_speaks_of_no_unanswerable_questions(study):
    page = (study / "report.html").read_text()
    assert "unanswerable" not in page
    assert "never answering" not in page.lower()
