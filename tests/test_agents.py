"""AGENTS.md and the workflow for GitHub Actions: what they tell a program to run works as they say."""

import csv
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tuneproof.cli.main import COMMANDS, main
from tuneproof.record import study_folder

ROOT = Path(__file__).parents[1]
AGENTS = (ROOT / "AGENTS.md").read_text("utf-8")
ACTIONS = (ROOT / "docs" / "github-actions.md").read_text("utf-8")
WORKFLOW = (ROOT / "examples" / "github-actions.yml").read_text("utf-8")
COMMAND = re.compile(r"`(tuneproof [a-z][^`]*)`")
OPINIONS = {"positive": "a lovely film", "negative": "a dreadful film"}


def write_texts(path: Path, column: str, label: str, count: int) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([column, label])
        for number in range(count):
            for name, opinion in OPINIONS.items():
                rows.writerow([f"{opinion}, number {number} of {column}", name])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project of docs/github-actions.md, with its study run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "study.yaml").write_text(ACTIONS.split("```yaml\n")[2].partition("```")[0], "utf-8")
    write_texts(folder / "data" / "reviews.csv", "review", "sentiment", 60)
    write_texts(folder / "data" / "tweets.csv", "tweet", "sentiment", 30)
    return folder


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project)
    return project


def commands_of_workflow() -> list[str]:
    steps = YAML(typ="safe").load(WORKFLOW)["jobs"]["claim"]["steps"]
    return [step["run"] for step in steps if "run" in step]


def run_line(line: str, capsys) -> int:
    """Run a line of a workflow; what follows > is left to the shell."""
    capsys.readouterr()
    return main(shlex.split(line.partition(" > ")[0])[1:])


def test_the_example_is_the_page() -> None:
    assert ACTIONS.split("```yaml\n")[1].partition("```")[0] in WORKFLOW


def test_every_command_of_the_workflow_runs(here, capsys) -> None:
    for line in commands_of_workflow():
        if line.startswith("tuneproof "):
            assert run_line(line, capsys) == 0, line
        elif line.startswith("cat "):
            assert Path(shlex.split(line)[1]).is_file()
        else:
            assert line.startswith("pip install "), line
    assert run_line("tuneproof gate study --json", capsys) == 0
    assert json.loads(capsys.readouterr().out)["is_shown"] is True


def test_the_gate_of_the_workflow_stops_it_where_the_claim_is_lost(here, capsys) -> None:
    gate = next(line for line in commands_of_workflow() if "gate" in line)
    assert (
        run_line(
            "tuneproof run study.yaml --out other --set claim.arm=majority --set claim.over=lexical", capsys
        )
        == 0
    )
    assert run_line(gate.replace("study", "other"), capsys) == 1


def test_every_command_that_agents_md_names_runs(here, capsys) -> None:
    assert run_line("tuneproof run study.yaml --out study --quiet", capsys) == 0
    names = {
        "RECIPE": "study.yaml",
        "STUDY/arms/ARM": "study/arms/lexical",
        "STUDY": "study",
        "FILE": "data/reviews.csv",
        "COMMAND": "run",
        "NAME=VALUE": "train.epochs=1",
    }
    lines = COMMAND.findall(AGENTS)
    assert len(lines) >= 10
    for line in lines:
        for name, value in names.items():
            line = line.replace(name, value)
        line += " --out study" if line.startswith("tuneproof run study") else ""
        if "--help" in line:
            with pytest.raises(SystemExit, match="0"):
                main(shlex.split(line)[1:])
        else:
            assert run_line(line, capsys) == 0, line


def test_agents_md_names_real_commands_files_and_pages(here) -> None:
    commands = {line.split()[1] for line in COMMAND.findall(AGENTS)} - {"COMMAND"}
    assert commands <= set(COMMANDS)
    for name in re.findall(r"\]\(([^)#]+)\)", AGENTS + ACTIONS.replace("](../", "](")):
        assert (ROOT / name).exists(), name
    files = AGENTS.partition("## Files of a study")[2].partition("## Rules")[0]
    known = {value for value in vars(study_folder).values() if isinstance(value, str)}
    for name in re.findall(r"`([a-z_./A-Z]+\.(?:json|md|html|yaml|parquet))`", files):
        assert os.path.basename(name) in known | {"predictions.NAME.parquet"}, name
