"""Corrected labels: matched by id, checked against the item, applied after the split, said in the report."""

import csv
from pathlib import Path

import pytest

from tests.workbooks import inline, rows, workbook
from tuneproof.data.audit_corrections import audit_corrections
from tuneproof.data.splits import make_splits
from tuneproof.errors import DataError
from tuneproof.report.corrections import corrections_note
from tuneproof.settings import SplitSettings
from tuneproof.study.study import run
from tuneproof.tasks import TASKS

TASK = TASKS["labels"]
HEADER = ["id", "text", "label", "corrected"]


@pytest.fixture
def own(tmp_path) -> Path:
    lines = [f"=item {i} says {i * i},{'good' if i % 2 else 'bad'}" for i in range(60)]
    (tmp_path / "own.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return tmp_path / "own.csv"


def corrected(own: Path, *cells: list[str], delimiter: str = ",") -> Path:
    path = own.with_name("label_errors.csv")
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([HEADER, *cells])
    return path


def read(own: Path, *corrections: Path, **options):
    return TASK.read(TASK.options(path=str(own), corrections=tuple(map(str, corrections)), **options))


def row(number: int, label: str, name: str) -> list[str]:
    """The row of item `number` as label_errors.csv holds it, with its sign against formulas."""
    return [f"row-{number + 2}", f"'=item {number} says {number * number}", label, name]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_filled_cells_correct_labels_and_empty_ones_nothing(own, delimiter):
    cells = [row(0, "bad", "good"), row(1, "good", ""), row(2, "bad", "bad"), row(3, "good", " bad ")]
    result = read(own, corrected(own, *cells, delimiter=delimiter))
    assert result.labels == ("bad", "good")
    assert result.corrected == {"row-2": 1, "row-5": 0}
    assert [item.label for item in result.parts["all"]][:4] == [0, 1, 0, 1]
    (file,) = result.source["corrections"]
    assert (file["rows"], len(file["sha256"])) == (2, 64)


def test_a_later_file_corrects_the_labels_that_an_earlier_one_gave(own):
    first = corrected(own, row(0, "bad", "good"), row(3, "good", "bad")).rename(own.with_name("first.csv"))
    second = corrected(own, row(0, "good", "bad"), row(1, "good", "bad"))
    assert read(own, first, second).corrected == {"row-2": 0, "row-3": 0, "row-5": 0}
    assert read(own, second).corrected == {"row-3": 0}


def test_a_workbook_corrects_as_well(own):
    sheet = rows(inline("id", "corrected"), inline("row-2", "good"))
    assert read(own, workbook(own.with_name("own.xlsx"), {"Sheet1": sheet})).corrected == {"row-2": 1}


WRONG = {
    "an id of no item": (
        [["row-99", "", "", "good"]],
        "row 2: the id 'row-99' is of no item. Correct the id, or name the file of the study on these data.",
    ),
    "a label of no item": (
        [row(0, "bad", "goood")],
        "row 2: corrects row-2 to 'goood', which is not a label. The labels are bad, good. Did you mean "
        "good?",
    ),
    "another text": (
        [["row-2", "another", "bad", "good"]],
        "row 2: the text of row-2 is another one in the data. Name the file of a study on these data, or "
        "remove the row.",
    ),
    "two corrections of one item": (
        [row(0, "bad", "good"), row(0, "bad", "bad")],
        "row 3: corrects row-2 a second time, to another label.",
    ),
    "no id": ([["", "", "", "good"]], "row 2: corrects an item without an id. Fill in its id."),
    "nothing": (
        [row(0, "bad", "")],
        "corrects no label. Write the right label of each wrong item into the column corrected, or leave "
        "the file out.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_a_correction_is_refused_with_the_row(own, case):
    cells, expected = WRONG[case]
    with pytest.raises(DataError) as error:
        read(own, corrected(own, *cells))
    assert str(error.value).endswith(expected)


def test_a_row_whose_label_is_not_the_item_s_is_refused(own):
    with pytest.raises(DataError, match="the label of row-2 is 'bad' in the data, not 'ugly'"):
        read(own, corrected(own, row(0, "ugly", "good")))


def test_a_file_without_the_column_says_what_to_write(own):
    path = own.with_name("label_errors.csv")
    path.write_text("id,label\nrow-2,bad\n")
    with pytest.raises(
        DataError, match=r"has no column corrected\. Its columns: id, label\. Write the right"
    ):
        read(own, path)


def test_items_stay_in_their_parts_when_labels_are_corrected(own):
    cells = [row(number, "bad", "good") for number in range(0, 24, 2)]
    settings = SplitSettings(train_size=20, seed=3)
    plain = make_splits(TASK, TASK.read(TASK.options(path=str(own))), settings)
    changed = make_splits(TASK, read(own, corrected(own, *cells)), settings)
    for part in ("train", "dev", "test"):
        assert [item.id for item in plain.part(part)] == [item.id for item in changed.part(part)]
    report = changed.report["corrections"]
    assert sum(report["parts"].values()) + report["left_out"] == 12
    labels = {item.id: item.label for part in ("train", "dev", "test") for item in changed.part(part)}
    assert all(labels.get(cell[0], 1) == 1 for cell in cells)
    assert plain.report["fingerprints"]["test"] != changed.report["fingerprints"]["test"]
    assert "corrections" not in plain.report


def test_corrected_test_labels_are_a_warning_and_stand_beside_the_verdict(own, tmp_path):
    cells = [row(number, "bad", "good") for number in range(0, 24, 2)]
    task = {"path": str(own), "corrections": str(corrected(own, *cells)), "text": "text", "label": "label"}
    recipe = {"task": {"labels": task}, "arms": ["majority", "lexical"], "out": str(tmp_path / "study")}
    study = run(recipe)
    splits = study.record.splits
    finding = next(f for f in study.record.audit["findings"] if f["name"] == "corrected_labels")
    assert finding["level"] == "warning"
    count = splits["corrections"]["parts"]["test"]
    note = corrections_note(splits)
    assert note.startswith(f"{count} of {splits['sizes']['test']} test labels")
    assert "label_errors.csv: every score is on another test set than before" in note
    for name in ("report.md", "report.html"):
        assert "every score is on another test set than before" in (tmp_path / "study" / name).read_text()


def test_corrections_outside_test_are_a_note_alone():
    corrections = {"files": ["a.csv"], "parts": {"train": 1, "dev": 0, "test": 0}, "left_out": 2}
    finding = audit_corrections({"corrections": corrections})[0]
    assert finding.level == "note"
    assert finding.message == (
        "1 label is corrected by a.csv (train 1, dev 0, test 0); the data's own file stays. 2 more belong to "
        "rows that are in no part."
    )
    assert corrections_note({"corrections": corrections, "sizes": {"test": 9}}) == ""
