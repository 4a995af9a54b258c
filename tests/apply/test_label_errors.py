"""Suspected label errors of a finished study: who is suspected, by whom, and in which files."""

import csv
import json
from pathlib import Path

import pytest

from tests.tiny_models import tiny_model
from tuneproof.apply.label_errors import write_label_errors
from tuneproof.cli.main import main
from tuneproof.errors import RunError
from tuneproof.record.study_folder import read_study
from tuneproof.report.label_errors import STALE, label_errors_section
from tuneproof.study.study import run

WRONG = range(0, 240, 24)  # rows whose label is planted
WORDS = {"good": ("fine", "lovely", "great"), "bad": ("awful", "poor", "dull")}


def _write_rows(path: Path) -> Path:
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood"])
        for number in range(240):
            mood = "good" if number % 2 else "bad"
            text = f"=item {number} is {WORDS[mood][number % 3]} and {WORDS[mood][number // 3 % 3]}"
            rows.writerow([f"r{number}", text, "good" if number in WRONG else mood])
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("label_errors")
    tiny_model(root / "tiny", "llama")
    labels = {"path": str(_write_rows(root / "own.csv")), "text": "text", "label": "mood", "id": "id"}
    recipe = {
        "task": {"labels": labels},
        "models": [str(root / "tiny")],
        "arms": ["majority", "lexical", "head"],
        "seeds": [0],
        "encode": {"max_length": 64},
        "out": str(root / "study"),
    }
    return run(recipe).folder


@pytest.fixture(scope="module")
def value(study):
    return write_label_errors(study)


def test_planted_errors_are_suspected_in_every_part(value):
    suspects = {row["id"] for row in value["rows"]}
    planted = {f"r{number}" for number in WRONG}
    assert len(planted & suspects) >= 5
    assert len(suspects - planted) <= 2
    assert {row["suggested"] for row in value["rows"] if row["id"] in planted} == {"bad"}


def test_train_is_judged_by_models_without_the_item_and_test_by_arms_that_beat_the_label_shares(value):
    models = {part["part"]: part["models"] for part in value["parts"]}
    assert models["train"] == ["words", "features of tiny"]
    assert "lexical" in models["dev and test"]
    assert "majority" not in models["dev and test"]


def test_the_csv_holds_every_suspect_and_no_formula(study, value):
    with open(study / "label_errors.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in value["rows"]]
    assert all(row["text"].startswith("'=item") for row in rows)
    assert list(rows[0]) == ["id", "part", "text", "label", "corrected", "suggested", "score", "why"]


def test_what_was_corrected_by_hand_stays_when_the_file_is_written_again(study, value):
    path = study / "label_errors.csv"
    before = path.read_text()
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["corrected"] = rows[0]["suggested"]
    other = {**rows[0], "id": "r1", "text": "not suspected any more", "corrected": "bad"}
    with open(path, "w", newline="") as file:  # as a spreadsheet saves it
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows([*rows, other])
    write_label_errors(study)
    with open(path, newline="") as file:
        again = {row["id"]: row["corrected"] for row in csv.DictReader(file)}
    path.write_text(before)
    assert again == {row["id"]: row["corrected"] for row in [*rows, other]}


def test_both_verdicts_stand_beside_each_other_and_the_verdict_stays(study, value):
    suspected = [row for row in value["rows"] if row["part"] == "test"]
    without = value["without"]
    assert without["left_out"] == len(suspected) > 0
    assert all(claim["all"] and claim["without"] for claim in without["claims"])
    verdict = read_study(study).comparisons["verdict"]["sentence"]
    assert without["claims"][0]["all"] in verdict
    by_arm = {arm["arm"]: arm for arm in without["arms"]}
    assert by_arm["lexical"]["without"]["value"] > by_arm["lexical"]["all"]["value"]


def test_the_command_prints_both_and_the_report_shows_the_section(study, value, capsys):
    assert main(["label-errors", str(study)]) == 0
    printed = capsys.readouterr().out
    assert "Without the suspected:" in printed
    assert "This does not replace the verdict." in printed
    page = (study / "report.html").read_text()
    assert 'id="label-errors"' in page
    assert main(["label-errors", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == value["rows"]


def test_errors_of_other_items_are_not_shown_as_if_they_were_these(study, value):
    record = read_study(study)
    assert label_errors_section(record)["rows"].rows
    record.splits["fingerprints"]["test"] = "another"
    assert label_errors_section(record)["notes"] == [STALE]
    assert label_errors_section(record)["rows"] is None


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(RunError, match="holds no study"):
        write_label_errors(tmp_path)
