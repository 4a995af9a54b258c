"""A study's folder that somebody or a killed process changed: links, half-written and damaged files.

In: a workspace with a finished study. Out: what a run does with it. Knows nothing of: how arms run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tests.strangers.workspace import Workspace
from tuneproof.atomic import atomic_folder, write_with
from tuneproof.errors import RunError
from tuneproof.study.forecast import announce_forecast


@pytest.mark.parametrize("name", ["arms", "cache", "superseded", "arms/majority"])
def test_47_a_run_does_not_write_through_a_link_inside_its_study(workspace: Workspace, name):
    (workspace / "elsewhere").mkdir()
    link = workspace / "study" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(workspace / "elsewhere")
    workspace.run(model=None, arms="majority").refused(f"study/{name}: is a link to", "Replace the link")
    assert list((workspace / "elsewhere").iterdir()) == []


def test_48_a_finished_study_keeps_no_half_written_files(workspace: Workspace):
    assert workspace.run(model=None, arms="majority").code == 0
    study = workspace / "study"
    leftovers = ["report.html.tmp-0123abcd", "arms/majority/arm.json.tmp-0123abcd", "arms/x.tmp-0123abcd/y"]
    others = ["mine.txt.tmp-0123abcd", "arms/majority/notes.tmp-draft"]
    for name in (*leftovers, *others):
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_text("half")
    assert workspace.run(model=None, arms="majority").code == 0
    left = {str(path.relative_to(study)) for path in study.rglob("*.tmp-*")}
    assert left == set(others)


@pytest.mark.parametrize("text", ["{", "null", '{"arms": 3}', '{"arms": [{}]}'])
def test_49_a_damaged_forecast_is_made_again(workspace: Workspace, monkeypatch, text):
    monkeypatch.setattr("tuneproof.study.run.announce_forecast", announce_forecast)
    assert workspace.run(model=None, arms="majority").code == 0
    forecast = workspace / "study" / "forecast.json"
    forecast.write_text(text)
    assert workspace.run(model=None, arms="majority,lexical").code == 0
    assert (workspace / "study" / "bad-forecast.json").read_text() == text
    assert "arms" in json.loads(forecast.read_text())
    forecast.write_text(text)
    assert workspace.run(model=None, arms="majority,lexical").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
def test_50_a_run_goes_on_when_nobody_reads_its_output(workspace: Workspace):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tuneproof", "run", "reviews.csv", "--text", "review", "--label", "mood"]
    command += ["--arms", "majority", "--out", "study"]
    with os.fdopen(writer, "wb") as closed:
        result = subprocess.run(
            command, cwd=workspace.folder, stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (0, "")
    assert (workspace / "study" / "report.html").is_file()


FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


def _fail(path: object) -> None:
    raise SafetensorError(FULL)


def _fail_in_folder(path: Path) -> None:
    with atomic_folder(path) as inside:
        _fail(inside)


@pytest.mark.parametrize("write", [lambda path: write_with(path, _fail), _fail_in_folder])
def test_51_a_full_disk_is_named_also_by_libraries_in_rust(tmp_path, write):
    with pytest.raises(RunError, match=r"No space left on device. Free some space and give the same"):
        write(tmp_path / "weights")
