"""docs/own-data.md: its commands run as they stand, on small files."""

import csv
import re
import shlex
from pathlib import Path

import openpyxl
import pytest

from tests.arms.small import rows_of
from tuneproof.cli.main import main

PAGE = Path(__file__).parents[1] / "docs" / "own-data.md"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    reviews = [list(row) for row in rows_of(("negative", "positive"), 120)]
    for row in reviews[::15]:  # wrong labels to be suspected
        row[1] = "negative" if row[1] == "positive" else "positive"
    table = openpyxl.Workbook()
    table.active.title = "Notes"
    table.active.append(["Our reviews"])
    sheet = table.create_sheet("Reviews")
    with open("reviews.csv", "w", newline="", encoding="utf-8") as file:
        for cells in [("review", "mood"), *((text, label) for text, label in reviews)]:
            sheet.append(cells)
            csv.writer(file).writerow(cells)
    table.save("reviews.xlsx")
    topics = ["sport", "money;sport", "money", "health", "health;money"]
    with open("news.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(["text", "topics"])
        csv.writer(file).writerows((f"item {i}: {topics[i % 5]}", topics[i % 5]) for i in range(100))
    return tmp_path


def correct_one(path: Path) -> None:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[0]["corrected"] = rows[0]["suggested"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_every_command_of_the_page_runs(folder, capsys):
    assert [words[1] for words in commands()] == ["check", "run", "run", "label-errors", "run"]
    for words in commands():
        arguments = words[1:]
        if arguments[-1] == "studies/second":
            correct_one(folder / "studies/first/label_errors.csv")
        assert main(arguments) == 0, (arguments, capsys.readouterr().err)
    audit = Path("studies/second/audit.json").read_text(encoding="utf-8")
    assert "1 label is corrected by studies/first/label_errors.csv" in audit
