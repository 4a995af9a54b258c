"""Items with several labels: every form is recognised, refused with the way out, and the way out works."""

import csv
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneproof.cli.main import main
from tuneproof.errors import DataError
from tuneproof.tasks import TASKS
from tuneproof.tasks.further_test import FurtherTest, read_further_test

TASK = TASKS["labels"]
LABELS = (["sport"], ["money", "sport"], ["health"], ["health", "money"], ["money"]) * 8
IS_SPORT = [int("sport" in names) for names in LABELS]


def write_csv(path: Path, cells: list[str], header: str = "label") -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["text", *header.split(",")],
                *([f"text {i}", *cell.split("\t")] for i, cell in enumerate(cells)),
            ]
        )
    return path


def write_parquet(path: Path, kind: str) -> Path:
    names = ["health", "money", "sport"]
    feature = {"_type": kind, "feature": {"_type": "ClassLabel", "names": names}}
    features = {"text": {"_type": "Value"}, "label": feature}
    numbers = [[names.index(name) for name in row] for row in LABELS]
    table = pa.table({"text": [f"text {i}" for i in range(len(numbers))], "label": numbers})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def form(tmp_path: Path, name: str) -> Path:
    if name == "JSON lists":
        values = [{"text": f"text {i}", "label": names} for i, names in enumerate(LABELS)]
        (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, values)))
        return tmp_path / "own.jsonl"
    if name in ("Sequence", "List", "LargeList"):
        return write_parquet(tmp_path / "own.parquet", name)
    if name == "lists of Python":
        return write_csv(tmp_path / "own.csv", [str(names) for names in LABELS])
    return write_csv(tmp_path / "own.csv", [name.join(names) for names in LABELS])


FORMS = ("JSON lists", "Sequence", "List", "LargeList", "lists of Python", ";", "|", ", ", "#", "\n", " / ")


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_refused_and_what_the_sentence_says_works(tmp_path, name):
    path = form(tmp_path, name)
    with pytest.raises(DataError) as error:
        TASK.read(TASK.options(path=str(path)))
    assert error.value.allowed == "Each item has one label."
    assert re.search(r", (row|line) [123]$", error.value.where)
    option = re.search(r"--set (\S+=\w+)\)", str(error.value))[1]
    command = [str(path), "--text", "text", "--label", "label", "--arms", "majority,lexical"]
    assert main(["check", *command, "--set", option]) == 0
    rows = TASK.read(TASK.options(path=str(path), one_vs_rest="sport"))
    assert rows.labels == ("not sport", "sport")
    assert [item.label for item in rows.parts["all"]] == IS_SPORT


NO_SEVERAL = {
    "names that hold a comma": ["research, development", "sales", "legal, tax"],
    "names that hold a semicolon": ["Sales; EMEA", "Sales; US", "Sales"],
    "one name that joins two others": ["health", "safety", "health & safety"],
    "a tree of names": ["news", "sport", "news/local", "sport/local"],
    "decimal numbers": ["1,0", "1,3", "2,0", "2,3", "1", "2"],
    "dates": ["2024/01/01", "2024/01/02", "2024/02/01"],
    "signs alone": ["C", "C++", "C#", "R&D"],
}


@pytest.mark.parametrize("case", NO_SEVERAL)
def test_a_name_that_holds_a_sign_is_one_label(tmp_path, case):
    names = NO_SEVERAL[case]
    rows = TASK.read(TASK.options(path=str(write_csv(tmp_path / "own.csv", names * 4))))
    assert sorted(rows.labels) == sorted(names)


def test_joined_labels_that_are_all_named_are_classes(tmp_path):
    path = write_csv(tmp_path / "own.csv", [";".join(names) for names in LABELS])
    names = ("sport", "money;sport", "health", "health;money", "money")
    assert TASK.read(TASK.options(path=str(path), labels=names)).labels == names


def test_columns_of_0_and_1_are_named_where_the_label_is_no_column(tmp_path, capsys):
    cells = ["\t".join(str(int(name in names)) for name in ("health", "sport")) for names in LABELS]
    path = write_csv(tmp_path / "own.csv", cells, "health,sport")
    for label in ("label", "health,sport"):
        assert main(["check", str(path), "--text", "text", "--label", label, "--arms", "majority"]) == 2
        assert f"there is no column {label}, but 2 columns hold 0 and 1: health, sport." in " ".join(
            capsys.readouterr().err.split()
        )
    rows = TASK.read(TASK.options(path=str(path), label="sport"))
    assert [item.label for item in rows.parts["all"]] == IS_SPORT


def test_rows_without_any_label_are_of_the_rest_and_counted(tmp_path):
    path = write_csv(tmp_path / "own.csv", ["sport", "", "sport;money", "money"] * 3)
    rows = TASK.read(TASK.options(path=str(path), one_vs_rest="sport"))
    assert [item.label for item in rows.parts["all"]] == [1, 0, 1, 0] * 3
    assert "3 rows have no label at all; they count as 'not sport'." in [
        each.message for each in rows.remarks
    ]


def test_a_label_that_no_cell_holds_is_refused_with_those_that_are(tmp_path):
    path = write_csv(tmp_path / "own.csv", [";".join(names) for names in LABELS])
    with pytest.raises(DataError) as error:
        TASK.read(TASK.options(path=str(path), one_vs_rest="sprot"))
    assert str(error.value).endswith("Its labels: health, money, sport. Did you mean sport?")


def test_a_further_test_file_is_read_in_the_same_way(tmp_path):
    path = write_csv(tmp_path / "own.csv", [";".join(names) for names in LABELS])
    options = TASK.options(path=str(path), one_vs_rest="sport")
    settings = FurtherTest(path=str(path))
    items = read_further_test("shift", settings, "labels", options, ("not sport", "sport")).items
    assert [item.label for item in items] == IS_SPORT


@pytest.mark.parametrize("options", [{"labels": ("a", "b")}, {"positive": "sport"}])
def test_one_label_against_the_rest_makes_its_own_labels(tmp_path, options):
    with pytest.raises(ValueError, match="leave labels and positive out"):
        TASK.options(path="own.csv", one_vs_rest="sport", **options)
