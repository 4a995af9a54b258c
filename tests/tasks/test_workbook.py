"""Excel workbooks as tables: what a cell becomes, which sheet is read, what is refused and where."""

import datetime
import zipfile
from pathlib import Path

import openpyxl
import pytest

from tests.workbooks import inline, rows, workbook
from tuneproof.cli.main import main
from tuneproof.errors import DataError
from tuneproof.tasks import TASKS, size_limits, workbook_parts
from tuneproof.tasks.prediction_file import PredictionColumns, read_prediction_file
from tuneproof.tasks.tables import TextFormat, read_table

HEADER = inline("text", "label")
GOOD = rows(HEADER, inline("fine", "pos"), inline("bad", "neg"))


def book(tmp_path: Path, xml: str, name: str = "own.xlsx", **parts) -> Path:
    return workbook(tmp_path / name, {"Data": xml}, **parts)


def column(path: Path, name: str, sheet: str | None = None) -> list[str]:
    return list(read_table(path, TextFormat(sheet=sheet)).columns[name])


def message(path: Path, name: str = "text", sheet: str | None = None) -> str:
    """The error's sentence, the folder taken off."""
    with pytest.raises(DataError) as error:
        read_table(path, TextFormat(sheet=sheet)).column(name, "text")
    return str(error.value).replace(f"{path.parent}/", "")


def test_a_workbook_of_openpyxl_is_read_as_openpyxl_reads_it(tmp_path):
    table = openpyxl.Workbook()
    sheet = table.active
    sheet.title = "Reviews"
    moment = datetime.datetime(2024, 2, 29, 12, 30, 1)
    long = "ä" * 32_767
    sheet.append(["text", "label", "day", "moment", "share", "is_new"])
    sheet.append([f"a\nb {long}"[:32_767], 1, datetime.date(2024, 3, 1), moment, 0.1, True])
    sheet.append([" 007 ", 1.0, datetime.date(1900, 1, 31), moment, 3e-7, False])
    table.save(tmp_path / "own.xlsx")
    read = read_table(tmp_path / "own.xlsx")
    assert read.name.endswith("own.xlsx, sheet Reviews")
    assert list(read.numbers) == [2, 3]
    assert read.about["sheet"] == "Reviews"
    back = openpyxl.load_workbook(tmp_path / "own.xlsx", data_only=True).active
    assert list(read.columns["text"]) == [back["A2"].value, back["A3"].value]
    assert list(read.columns["label"]) == ["1", "1"]
    assert list(read.columns["day"]) == ["2024-03-01", "1900-01-31"]
    assert list(read.columns["moment"]) == ["2024-02-29T12:30:01"] * 2
    assert list(read.columns["share"]) == ["0.1", "3e-07"]
    assert list(read.columns["is_new"]) == ["true", "false"]


CELLS = {
    "a whole number": ("<v>1.0</v>", "", "1"),
    "a number as a program writes it": ("<v>3.0000000000000001E-1</v>", "", "0.3"),
    "a large whole number": ("<v>1E+20</v>", "", "1e+20"),
    "a date": ("<v>45413</v>", 's="1"', "2024-05-01"),
    "a date and a time": ("<v>45413.520833333336</v>", 's="2"', "2024-05-01T12:30:00"),
    "a time": ("<v>0.75</v>", 's="3"', "18:00:00"),
    "a date in a format of its own": ("<v>45413</v>", 's="4"', "2024-05-01"),
    "a duration": ("<v>1.5</v>", 's="5"', "36:00:00"),
    "a number with a unit": ("<v>2.5</v>", 's="6"', "2.5"),
    "a day that is none": ("<v>-3</v>", 's="1"', "-3"),
    "a date as text": ("<v>2024-05-01T00:00:00</v>", 't="d"', "2024-05-01"),
    "a boolean": ("<v>1</v>", 't="b"', "true"),
    "the value of a formula": ('<f>A1&amp;"x"</f><v>pos</v>', 't="str"', "pos"),
    "a formula that gives no text": ('<f>""</f><v></v>', 't="str"', ""),
    "the number of a formula": ("<f>1+1</f><v>2</v>", "", "2"),
    "a rich text": ("<is><r><t>a </t></r><r><t>b</t></r><rPh><t>KANA</t></rPh></is>", 't="inlineStr"', "a b"),
    "escapes": (
        "<is><t>a_x000D_\nb _x005F_x000D_ _xD83D_</t></is>",
        't="inlineStr"',
        "a\r\nb _x000D_ _xD83D_",
    ),
    "a shared text": ("<v>0</v>", 't="s"', "hello world"),
    "a style that is not there": ("<v>7</v>", 's="99"', "7"),
    "an empty cell": ("", 's="1"', ""),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_becomes_the_text_that_a_user_sees(tmp_path, case):
    content, attributes, expected = CELLS[case]
    sheet = rows(HEADER, inline("one") + f"<c {attributes}>{content}</c>")
    shared = ["<r><t>hello </t></r><r><t>world</t></r><rPh><t>x</t></rPh>"]
    assert column(book(tmp_path, sheet, shared=shared), "label") == [expected]


def test_days_may_be_counted_from_1904(tmp_path):
    sheet = rows(HEADER, inline("one") + '<c s="1"><v>0</v></c>')
    path = book(tmp_path, sheet, settings='<workbookPr date1904="1"/>')
    assert column(path, "label") == ["1904-01-01"]


def test_rows_have_the_spreadsheet_s_numbers_and_empty_ones_are_counted_up_to_the_last_with_content(tmp_path):
    cells = "".join(
        f'<row r="{row}">' + "".join(
            f'<c r="{letter}{row}" t="inlineStr"><is><t>{text}</t></is></c>' for letter, text in texts.items()
        ) + "</row>"
        for row, texts in {
            2: {"B": "text", "D": "label"}, 3: {"B": "fine", "D": "pos"}, 6: {"D": "neg"}, 9: {"B": " "}
        }.items()
    )  # fmt: skip
    table = read_table(book(tmp_path, f'<dimension ref="A1:XFD1048576"/><sheetData>{cells}</sheetData>'))
    assert list(table.numbers) == [3, 6]
    assert table.blank_lines == 3
    assert list(table.columns["text"]) == ["fine", ""]


def test_the_only_visible_sheet_with_content_is_read(tmp_path):
    sheets = {"Empty": "<sheetData/>", "Old": rows(inline("x")), "Data": GOOD}
    assert column(workbook(tmp_path / "own.xlsx", sheets, hidden=["Old"]), "label") == ["pos", "neg"]


def test_one_of_several_sheets_is_named_by_the_user(tmp_path):
    path = workbook(tmp_path / "own.xlsx", {"Train": GOOD, "Test": rows(HEADER, inline("odd", "neg"))})
    assert message(path) == (
        "own.xlsx: has 2 sheets with content: Train, Test. One is read. Name it: set sheet: Train"
    )
    assert column(path, "text", "Test") == ["odd"]
    assert "has no sheet 'test'. Its sheets: Train, Test. Did you mean Test?" in message(path, sheet="test")
    assert message(path, sheet="x") == "own.xlsx: has no sheet 'x'. Its sheets: Train, Test."


def test_train_and_test_may_be_sheets_of_one_workbook(tmp_path):
    more = rows(HEADER, *(inline(f"text {i}", "pos" if i % 2 else "neg") for i in range(8)))
    path = workbook(tmp_path / "own.xlsx", {"Train": more, "Test": GOOD})
    options = {"path": str(path), "test": str(path), "sheet": {"train": "Train", "test": "Test"}}
    parts = TASKS["labels"].read(TASKS["labels"].options(**options)).parts
    assert {part: len(items) for part, items in parts.items()} == {"train": 8, "test": 2}


@pytest.mark.parametrize("sheet", [{"trian": "A"}, {"test": 3}, "", 7])
def test_a_sheet_is_a_name_or_one_for_each_part(sheet):
    with pytest.raises(ValueError, match="write the name of a sheet, or one for each part"):
        TASKS["labels"].options(path="own.xlsx", sheet=sheet)


def test_a_hidden_sheet_is_read_only_where_it_is_named(tmp_path):
    path = workbook(tmp_path / "own.xlsx", {"Data": GOOD}, hidden=["Data"])
    assert message(path) == (
        "own.xlsx: shows no sheet with content; hidden: Data. To read it, set sheet: Data"
    )
    assert column(path, "label", "Data") == ["pos", "neg"]


SHEETS = {
    "a title above the header": (
        rows(inline("Survey 2024"), "", HEADER, inline("fine", "pos")),
        "own.xlsx, sheet Data, cell B3: has content, but row 1, the header, ends at column A. If row 1 is a "
        "title, delete the rows above the header; else name the column, or empty the cell.",
    ),
    "merged cells": (
        GOOD + '<mergeCells><mergeCell ref="B2:B3"/></mergeCells>',
        "own.xlsx, sheet Data: the cells B2:B3 are merged, so only B2 has a value. Every row has cells of "
        "its own. Unmerge them and write the value into each cell.",
    ),
    "a formula that no program has computed": (
        rows(HEADER, "<c><f>B1</f><v></v></c>" + inline("pos")),
        "own.xlsx, sheet Data, cell A2: holds a formula without a stored value; formulas are not computed "
        "here. Open the file in Excel or LibreOffice and save it, which stores the values, or write the "
        "value.",
    ),
    "an error": (
        rows(HEADER, '<c t="e"><f>1/0</f><v>#DIV/0!</v></c>' + inline("pos")),
        "own.xlsx, sheet Data, cell A2: holds the error #DIV/0!, not a value. Correct the cell, or remove "
        "the column.",
    ),
    "an error in the header": (
        rows(HEADER + '<c t="e"><v>#N/A</v></c>', inline("fine", "pos", "x")),
        "own.xlsx, sheet Data, cell C1: holds the error #N/A, not a value. Correct the cell, or remove "
        "the column.",
    ),
    "a repeated column": (
        rows("", inline("text", "text"), inline("a", "b")),
        "own.xlsx, sheet Data, row 2: the header names text twice. Rename one of the columns.",
    ),
    "no rows": (rows(HEADER), "own.xlsx: has a header but no rows. Add rows."),
    "no cells": (rows("", ""), "own.xlsx: has no sheet with content. Add a header and rows."),
    "rows out of order": (
        '<sheetData><row r="2"><c><v>1</v></c></row><row r="1"/></sheetData>',
        "own.xlsx: cannot be read as a workbook: row 1 follows row 2. Open it in Excel or LibreOffice and "
        "save it as .xlsx, or save the sheet as CSV.",
    ),
    "a text that is not there": (
        rows(HEADER, '<c t="s"><v>-1</v></c>'),
        "own.xlsx: cannot be read as a workbook: a cell names the text -1 of 0. Open it in Excel or "
        "LibreOffice and save it as .xlsx, or save the sheet as CSV.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHEETS)
def test_what_a_sheet_must_not_hold_is_refused_with_the_cell(tmp_path, case):
    sheet, expected = SHEETS[case]
    assert message(book(tmp_path, sheet)) == expected


def test_an_error_in_a_column_that_nobody_reads_is_no_matter(tmp_path):
    sheet = rows(HEADER + inline("note"), inline("fine", "pos") + '<c t="e"><v>#N/A</v></c>')
    assert column(book(tmp_path, sheet), "text") == ["fine"]
    assert "cell C2: holds the error #N/A" in message(book(tmp_path, sheet), "note")


def test_merged_cells_above_or_beside_the_table_are_no_matter(tmp_path):
    sheet = rows("", HEADER, inline("fine", "pos"))
    merged = '<mergeCells><mergeCell ref="A1:B1"/><mergeCell ref="F2:F3"/></mergeCells>'
    assert column(book(tmp_path, sheet + merged), "label") == ["pos"]


def zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return path


def test_other_files_with_the_ending_of_a_workbook_are_named(tmp_path):
    (tmp_path / "own.xlsx").write_text("text,label\nfine,pos\n")
    assert message(tmp_path / "own.xlsx") == (
        "own.xlsx: is a text file, not a workbook. Give it the ending of what it is, such as .csv or .tsv."
    )
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    (tmp_path / "own.xlsx").write_bytes(old + bytes(600))
    assert "is an old workbook (.xls), whatever its ending says." in message(tmp_path / "own.xlsx")
    (tmp_path / "own.xlsx").write_bytes(old + "EncryptedPackage".encode("utf-16-le"))
    assert "is protected with a password. Remove the password in Excel" in message(tmp_path / "own.xlsx")
    assert "is a .xlsb file" in message(zip_of(tmp_path / "own.xlsx", "xl/workbook.bin"))
    assert "is a .ods file" in message(zip_of(tmp_path / "own.xlsx", "mimetype", "content.xml"))
    assert "is a zip archive, but no workbook." in message(zip_of(tmp_path / "own.xlsx", "a.txt"))


@pytest.mark.parametrize("ending", [".xls", ".xlsb", ".ods", ".numbers"])
def test_other_forms_of_workbooks_are_refused(tmp_path, ending):
    (tmp_path / f"own{ending}").write_bytes(b"x")
    assert ".xlsx is read. Save the rows as CSV, JSONL, Parquet or .xlsx." in message(
        tmp_path / f"own{ending}"
    )


@pytest.mark.parametrize("name", ["~$own.xlsx", ".~lock.own.xlsx#"])
def test_the_lock_file_of_an_open_workbook_names_the_workbook(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert message(tmp_path / name) == (
        f"{name}: is no table: an office program keeps it while the workbook is open. Name own.xlsx."
    )


def test_a_workbook_with_another_ending_is_named(tmp_path):
    path = book(tmp_path, GOOD)
    for ending in (".csv", ".jsonl"):
        assert "If it is a workbook, name it .xlsx." in message(path.rename(path.with_suffix(ending)))
        path = book(tmp_path, GOOD)


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook_parts, "MAX_UNPACKED", 100_000)
    path = book(tmp_path, GOOD + " " * 200_000)
    assert path.stat().st_size < 5_000
    assert "unpacks to 200,389 bytes" in message(path)
    assert "At most 100,000 are allowed. Save the sheet as CSV." in message(path)


def test_elements_are_counted_though_a_small_file_can_spell_many(tmp_path, monkeypatch):
    monkeypatch.setattr(size_limits, "MAX_CELLS", 1000)
    for extra in ({"xl/sharedStrings.xml": f"<sst>{'<si/>' * 1001}</sst>"}, {}):
        path = book(tmp_path, GOOD + "<x/>" * 1000, extra=extra)
        assert "has 1,001 cells (rows times columns). At most 1,000 are allowed." in message(path)


def test_declared_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "cccc">]><sst>&b;</sst>'
    assert "declares a document type" in message(book(tmp_path, GOOD, extra={"xl/sharedStrings.xml": bomb}))


DAMAGES = {
    "no cell has this name": '<c r="A0"/>',
    "a column right of the last": '<c r="XFE2"/>',
    "a number that is none": "<c><v>one</v></c>",
    "an element that does not end": "<c>",
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_sheet_is_one_sentence(tmp_path, case):
    assert "cannot be read as a workbook: " in message(book(tmp_path, rows(HEADER, DAMAGES[case])))


def test_a_workbook_cut_off_anywhere_is_refused_or_read(tmp_path):
    data = book(tmp_path, GOOD).read_bytes()
    for length in range(4, len(data), 97):
        (tmp_path / "cut.xlsx").write_bytes(data[:length])
        assert "cannot be read as a workbook" in message(tmp_path / "cut.xlsx")


def test_predict_reads_the_sheet_that_is_named(tmp_path, capsys):
    words = {"pos": "fine great", "neg": "bad dull"}
    labels = ["pos", "neg"] * 20
    sheet = rows(HEADER, *(inline(f"{words[label]} {i}", label) for i, label in enumerate(labels)))
    path = str(workbook(tmp_path / "own.xlsx", {"A": sheet, "B": rows(HEADER, inline("fine", "pos"))}))
    out = tmp_path / "study"
    command = [path, "--text", "text", "--label", "label", "--sheet", "A", "--arms", "majority,lexical"]
    assert main(["run", *command, "--out", str(out)]) == 0
    capsys.readouterr()
    predict = ["predict", str(out / "arms" / "lexical"), "--input", path]
    assert main(predict) == 2
    assert "has 2 sheets with content: A, B. One is read. Name it: pass --sheet A" in capsys.readouterr().err
    assert main([*predict, "--sheet", "B"]) == 0
    assert capsys.readouterr().out.startswith("text,label,predicted,p_neg,p_pos\nfine,pos,pos,")


def test_questions_and_predictions_of_another_program_are_read_from_workbooks(tmp_path):
    cells = (inline("question", "context", "answers"), inline("Who?", "Ann went.", "Ann"))
    path = book(tmp_path, rows(*cells))
    (item,) = TASKS["questions"].read(TASKS["questions"].options(path=str(path))).parts["all"]
    assert item.required_question.answers == ("Ann",)
    path = book(tmp_path, rows(inline("id", "predicted"), "<c><v>7</v></c>" + inline("pos")))
    predictions = read_prediction_file(str(path), PredictionColumns(), ("neg", "pos"))
    assert (predictions.row_of, predictions.texts) == ({"7": 0}, ["pos"])
