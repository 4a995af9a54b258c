"""An older study is concluded again only where it holds what was concluded, and its registration stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.record.priced_study import arm, predictions, write_study
from tuneproof.atomic import write_json
from tuneproof.cli.main import main
from tuneproof.inference.prediction import write_predictions
from tuneproof.record.conclude import conclude, conclude_again
from tuneproof.record.finished_study import read_finished_study
from tuneproof.record.registration import register
from tuneproof.record.study_folder import (
    COMPARISONS,
    DEV_PREDICTIONS,
    PREDICTIONS,
    RECIPE,
    REGISTRATION,
    SUPERSEDED,
    read_study,
)
from tuneproof.report.page import render

Change = Callable[[Path], Any]


def concluded(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / COMPARISONS).read_text("utf-8"))
    return value


def make_older(folder: Path) -> Path:
    """Take what this version adds out of the conclusions."""
    value = concluded(folder)
    for entry in value["arms"]:
        del entry["dev_scores"]
    write_json(folder / COMPARISONS, value)
    return folder


def add_sample(folder: Path, size: int = 100) -> Path:
    """A copy of arm a that learnt from a sample of train."""
    sample = Path(shutil.copytree(folder / "arms" / "a", folder / "arms" / f"a.train{size}"))
    about = json.loads((sample / "arm.json").read_text("utf-8"))
    write_json(sample / "arm.json", {**about, "train_size": size})
    return sample


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """An older study of arms a, b and c, a on a sample of train too, registered before its results."""
    folder = tmp_path / "older"
    study = write_study(folder, arm("a", 0.1, 0.1), arm("b", 0.2, 0.1), arm("c", 0.3, 0.1))
    add_sample(folder)
    entries = register(folder, read_finished_study(study).recipe)
    write_json(folder / REGISTRATION, {"entries": [{**entries[0], "finished": 0}]})
    conclude(folder)
    return make_older(folder)


def move_arm(folder: Path, name: str) -> None:
    """What --restart and --extend do before the arm runs."""
    (folder / SUPERSEDED).mkdir()
    (folder / "arms" / name).rename(folder / SUPERSEDED / name)


def run_arm_again(folder: Path, name: str, wrong: int) -> None:
    """The arm has other predictions, and the study was stopped before it was concluded."""
    path = folder / "arms" / name / PREDICTIONS
    write_predictions(path, predictions(2000, wrong), {"arm": name, "part": "test"})


def edit_recipe(folder: Path, old: str, new: str) -> None:
    text = (folder / RECIPE).read_text("utf-8")
    assert old in text
    (folder / RECIPE).write_text(text.replace(old, new), "utf-8")


def unfinish(folder: Path, name: str) -> None:
    path = folder / "arms" / name / "arm.json"
    write_json(path, {**json.loads(path.read_text("utf-8")), "status": "failed", "reason": "stopped"})


CHANGES: dict[str, Change] = {
    "an arm is restarted": lambda folder: move_arm(folder, "b"),
    "an arm on a sample is restarted": lambda folder: move_arm(folder, "a.train100"),
    "an arm failed when it ran again": lambda folder: unfinish(folder, "c"),
    "an arm was run again and not concluded": lambda folder: run_arm_again(folder, "b", 300),
    "an arm on a sample was run again": lambda folder: run_arm_again(folder, "a.train100", 300),
    "an arm was added": lambda folder: add_sample(folder, 200),
    "predictions of test are missing": lambda folder: (folder / "arms" / "b" / PREDICTIONS).unlink(),
    "predictions of dev are missing": lambda folder: (folder / "arms" / "b" / DEV_PREDICTIONS).unlink(),
    "predictions are damaged": lambda folder: (folder / "arms" / "b" / PREDICTIONS).write_text("x"),
    "the recipe is no longer valid": lambda folder: edit_recipe(folder, "lexical:", "lexicon:"),
    "the claim was edited": lambda folder: edit_recipe(folder, "over: b", "over: c"),
}


def test_an_older_study_is_concluded_again_and_once(older: Path) -> None:
    before = concluded(older)
    assert conclude_again(older)
    after = concluded(older)
    assert all(entry["dev_scores"]["accuracy"]["n"] == 400 for entry in after["arms"])
    assert (after["verdict"], after["registration"]) == (before["verdict"], before["registration"])
    assert not conclude_again(older)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_study_that_is_no_longer_what_was_concluded_stays_as_it_is(older: Path, change: Change) -> None:
    change(older)
    before = {path: path.read_bytes() for path in (older / COMPARISONS, older / REGISTRATION)}
    assert not conclude_again(older)
    assert {path: path.read_bytes() for path in before} == before


def test_a_sampled_arm_without_predictions_of_dev_does_not_stop_the_report(older: Path) -> None:
    sample = older / "arms" / "a.train100"
    about = json.loads((sample / "arm.json").read_text("utf-8"))
    write_json(sample / "arm.json", {**about, "kind": "tuned", "method": "head"})
    step = {"step": 1, "epoch": 1.0, "loss": 0.5, "learning_rate": 0.1}
    (sample / "steps.jsonl").write_text(f"{json.dumps(step)}\n", "utf-8")
    (sample / DEV_PREDICTIONS).unlink()
    assert not conclude_again(older)
    assert render(older).html.is_file()


def test_a_study_without_a_registration_gets_none_and_no_date_of_today(older: Path) -> None:
    (older / REGISTRATION).unlink()
    value = concluded(older)
    del value["registration"]
    write_json(older / COMPARISONS, value)
    assert conclude_again(older)
    assert not (older / REGISTRATION).exists()
    assert concluded(older)["registration"] is None
    assert "first recorded" not in render(older).markdown.read_text("utf-8")


def test_a_claim_edited_in_a_study_without_a_registration_is_not_concluded(older: Path) -> None:
    (older / REGISTRATION).unlink()
    edit_recipe(older, "over: b", "over: c")
    assert not conclude_again(older)


def test_a_registration_of_which_only_the_conclusions_are_left_stays(older: Path) -> None:
    value = concluded(older)
    value["registration"] |= {"claim_changes": ["The claim was changed after 1 arm had finished."]}
    write_json(older / COMPARISONS, value)
    (older / REGISTRATION).unlink()
    assert conclude_again(older)
    assert concluded(older)["registration"] == value["registration"]
    assert "The claim was changed after 1 arm" in concluded(older)["verdict"]["sentence"]
    assert not (older / REGISTRATION).exists()


def test_reading_a_study_writes_no_registration(older: Path) -> None:
    (older / REGISTRATION).unlink()
    assert read_finished_study(read_study(older)).registration["finished"] == 4
    assert main(["gate", str(older), "--json"]) in (0, 1)
    assert main(["plan", str(older), "--json"]) == 0
    assert not (older / REGISTRATION).exists()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_user_reads_in_one_line_that_it_was_concluded_again(
    older: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    args = ["report", str(older), *(["--json"] if as_json else [])]
    assert main(args) == 0
    first = capsys.readouterr()
    (line,) = first.err.splitlines()
    assert line.startswith(f"{older}: concluded again")
    assert main(args) == 0
    assert tuple(capsys.readouterr()) == (first.out, "")


def test_a_restarted_arm_keeps_the_verdict_of_the_report_and_says_nothing(
    older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = concluded(older)["verdict"]
    move_arm(older, "b")
    assert main(["report", str(older)]) == 0
    assert capsys.readouterr().err == ""
    assert concluded(older)["verdict"] == verdict
