"""Other scripts and signs: the cheap baseline reads them, metrics count them, the audit tells them apart."""

import json

import pytest

from tests.open_model import SHARED
from tuneproof.cli.main import main

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


def report_of(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_chinese_reviews_are_read_without_a_model(tmp_path):
    file = CASES / "files-08-lexical-blind-to-scripts-and-signs" / "zh_reviews.csv"
    arguments = ["--text", "text", "--label", "label", "--arms", "majority,lexical", "--quiet"]
    assert main(["run", str(file), *arguments, "--out", str(tmp_path / "a")]) == 0
    lexical = report_of(tmp_path / "a")["arms"][1]
    assert lexical["scores"]["accuracy"]["value"] == 1


@pytest.mark.parametrize("name", ["ru", "zh"])
def test_rouge_is_no_better_than_f1_on_answers_of_other_scripts(name, tmp_path):
    file = CASES / "files-07-rouge-not-for-other-scripts" / f"{name}.jsonl"
    arguments = ["--questions", "--arms", "majority,lexical", "--quiet"]
    options = ["--set", "task.questions.id=id", "--set", "task.questions.title=title"]
    assert main(["run", str(file), *arguments, *options, "--out", str(tmp_path / "a")]) == 0
    report = report_of(tmp_path / "a")
    scores = report["arms"][1]["scores"]
    assert scores["rouge1"]["value"] == pytest.approx(scores["squad_f1"]["value"])
    assert "no English question word" in (tmp_path / "a" / "report.html").read_text()
    assert ("unspaced_answers" in json.dumps(report)) == (name == "zh")


@pytest.mark.parametrize("name", ["emoticons", "languages"])
def test_texts_that_differ_in_signs_have_one_label_each(name, capsys):
    file = CASES / "files-10b-signs-that-carry-the-meaning" / f"{name}.csv"
    arguments = ["--text", "text", "--label", "label", "--arms", "majority,lexical"]
    assert main(["check", str(file), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "no model can predict all" not in printed
    assert "two or more labels" not in printed
