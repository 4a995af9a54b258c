"""Arms whose training has a finding are marked everywhere, with the sentence and the command."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.report.made_study import HOSTILE, write_study
from tuneproof.cli.terminal import print_study
from tuneproof.record.study_folder import read_study
from tuneproof.report.diagnoses import diagnosis_lines, read_diagnoses, withheld_verdicts
from tuneproof.report.page import ReportPaths, render
from tuneproof.report.tables import pooled_rows

COMMAND = "tuneproof run studies/demo/recipe.yaml --extend full"
AT_THE_END = {"name": "best_is_last", "sentence": "The best evaluation is the last."}
IMPROVING = {"name": "still_improving", "sentence": f"The dev loss was falling. {HOSTILE[0]}"}


def entry(arm: str, seed: int, findings: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    weak = findings == [AT_THE_END]
    about = {"arm": arm, "model": "minilm", "seed": seed, "train_size": None, "under_trained": not weak}
    return {**about, "findings": findings, "command": "" if weak else COMMAND, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("study"))
    path = study / "comparisons.json"
    compared = json.loads(path.read_text("utf-8"))
    compared["comparisons"][3]["withheld"] = "full was still improving."
    diagnoses = [
        entry("lora", 0, [AT_THE_END]),
        entry("full", 1, [AT_THE_END, IMPROVING]),
        entry("head", 0, [IMPROVING], train_size=50),
    ]
    path.write_text(json.dumps({**compared, "diagnoses": diagnoses}))
    return study


@pytest.fixture(scope="module")
def reports(folder: Path) -> ReportPaths:
    return render(folder)


def test_an_under_trained_arm_is_marked_in_tables_plots_and_curves(reports: ReportPaths) -> None:
    html = reports.html.read_text("utf-8")
    parts = {part[: part.index('"')]: part for part in html.split(' id="')[1:]}
    assert "full ⚠" in parts["before-after"]
    assert "2 seeds · ⚠ still improving" in parts["scores"]
    assert '<th scope="row">full ⚠</th>' in parts["arms"]
    assert "full ⚠, seed 1" in html[html.index('<section id="curves"') :]
    assert "lora ⚠" not in html
    assert "head ⚠" not in html


def test_the_section_has_every_sentence_escaped_and_the_command(reports: ReportPaths) -> None:
    html = reports.html.read_text("utf-8")
    section = html[html.index('<section id="training"') : html.index('<section id="cost"')]
    assert "Was every arm trained enough?" in section
    assert section.index("still improving, seed 1") < section.index("best at the end, seed 1")
    assert "The dev loss was falling. &lt;script&gt;" in section
    assert COMMAND in section
    assert "<strong>full over lora</strong>: full was still improving." in section


def test_the_terminal_and_the_markdown_say_it_in_one_line(folder: Path, reports: ReportPaths) -> None:
    (line,) = diagnosis_lines(read_study(folder))
    assert line.startswith("⚠ full, still improving, seed 1: The dev loss was falling.")
    assert line.endswith(f"(1 more in the report) Go on with: {COMMAND}")
    assert "⚠ full, still improving, seed 1" in reports.markdown.read_text("utf-8")
    console = Console(soft_wrap=True, file=io.StringIO(), record=True)
    print_study(folder, console)
    assert any(text.startswith("⚠ full, still improving") for text in console.export_text().splitlines())


def test_a_best_epoch_at_the_end_alone_is_listed_without_a_sign(folder: Path) -> None:
    study = read_study(folder)
    by_name = {diagnosis.name: diagnosis for diagnosis in read_diagnoses(study)}
    assert {name: diagnosis.under_trained for name, diagnosis in by_name.items()} == {
        "lora": False,
        "full": True,
    }
    assert {row.arm: row.finding for row in pooled_rows(study) if row.finding} == {"full": "still improving"}
    assert withheld_verdicts(study) == [("full over lora", "full was still improving.")]


def test_a_study_without_diagnoses_has_no_sign_and_one_without_findings_says_so(
    folder: Path, tmp_path: Path
) -> None:
    old, fine = (shutil.copytree(folder, tmp_path / name) for name in ("old", "fine"))
    for study, diagnoses in ((old, None), (fine, [])):
        path = study / "comparisons.json"
        compared = json.loads(path.read_text("utf-8"))
        del compared["diagnoses"], compared["comparisons"][3]["withheld"]
        path.write_text(json.dumps(compared if diagnoses is None else {**compared, "diagnoses": []}))
    old_html, fine_html = (render(study).html.read_text("utf-8") for study in (old, fine))
    assert "⚠" not in old_html + fine_html
    assert 'id="training"' not in old_html + fine_html
    sentence = "The loss of every trained arm was checked, on dev where it was evaluated more than once"
    assert sentence in fine_html
    assert "would take more than 5\u00a0% off it" in fine_html
    assert sentence not in old_html
