"""Own labels files: what they may be, and the exact sentence for what they may not."""

import json
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from tuneproof.errors import DataError, RecipeError
from tuneproof.tasks import TASKS

TASK = TASKS["labels"]
GOOD = "text,label\nfine,pos\ngood,pos\nbad,neg\ndull,neg\n"


def read(path: Path, **options):
    return TASK.read(TASK.options(path=str(path), **options))


def written(tmp_path: Path, content: str | bytes, name: str = "reviews.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(path: Path, **options) -> str:
    """The error's sentence, the folder taken off."""
    with pytest.raises((DataError, RecipeError)) as error:
        read(path, **options)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{path.parent}/", "")


def test_a_csv_file_becomes_examples(tmp_path):
    rows = read(written(tmp_path, GOOD))
    assert rows.labels == ("neg", "pos")
    assert [(i.id, i.text, i.label) for i in rows.parts["all"]] == [
        ("row-2", "fine", 1),
        ("row-3", "good", 1),
        ("row-4", "bad", 0),
        ("row-5", "dull", 0),
    ]
    assert not rows.grouped
    assert len(rows.source["parts"]["all"]["sha256"]) == 64


def table(tmp_path: Path, ending: str) -> Path:
    values = [{"text": t, "label": n} for t, n in (("fine", 1), ("good", 1), ("bad", 0), ("dull", 0))]
    if ending == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(values), tmp_path / "rows.parquet")
        return tmp_path / "rows.parquet"
    if ending == ".jsonl":
        return written(tmp_path, "\n".join(map(json.dumps, values)) + "\n", "rows.jsonl")
    if ending == ".json":
        return written(tmp_path, json.dumps(values), "rows.json")
    sign = {".csv": ",", ".tsv": "\t"}[ending]
    lines = [sign.join(map(str, ["text", "label"]))] + [f"{v['text']}{sign}{v['label']}" for v in values]
    return written(tmp_path, "\n".join(lines), f"rows{ending}")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_kind_of_file_gives_the_same_items(tmp_path, ending):
    rows = read(table(tmp_path, ending))
    assert rows.labels == ("0", "1")
    assert [(i.text, i.label) for i in rows.parts["all"]] == [
        ("fine", 1),
        ("good", 1),
        ("bad", 0),
        ("dull", 0),
    ]


def test_numbers_sort_by_value_and_names_by_name(tmp_path):
    lines = "".join(f"text {n},{n}\nother {n},{n}\n" for n in (10, 9, 1))
    assert read(written(tmp_path, "text,label\n" + lines)).labels == ("1", "9", "10")


def test_labels_named_keep_their_order(tmp_path):
    assert read(written(tmp_path, GOOD), labels=("pos", "neg")).labels == ("pos", "neg")


def test_groups_and_ids_come_from_their_columns(tmp_path):
    text = "key,text,label,author\na,fine,pos,x\nb,good,pos,y\nc,bad,neg,x\nd,dull,neg,y\n"
    rows = read(written(tmp_path, text), id="key", group="author")
    assert rows.grouped
    assert [(i.id, i.group) for i in rows.parts["all"]] == [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")]


def test_three_files_are_three_parts(tmp_path):
    paths = [written(tmp_path, GOOD, f"{name}.csv") for name in ("train", "dev", "test")]
    rows = read(paths[0], dev=str(paths[1]), test=str(paths[2]))
    assert {part: items[0].id for part, items in rows.parts.items()} == {
        "train": "train-2",
        "dev": "dev-2",
        "test": "test-2",
    }


def test_empty_texts_are_dropped_with_a_count_when_asked(tmp_path):
    rows = read(written(tmp_path, GOOD + " ,pos\n\n,neg\n"), drop_empty=True)
    assert len(rows.parts["all"]) == 4
    assert rows.dropped == {"blank line": 1, "empty text": 2}


def test_line_breaks_and_quotes_inside_cells_are_text(tmp_path):
    rows = read(written(tmp_path, GOOD + '"two\nlines, ""quoted""\u2028same line",pos\n'))
    assert rows.parts["all"][-1].text == 'two\nlines, "quoted"\u2028same line'
    assert rows.parts["all"][-1].id == "row-6"


def test_quotation_marks_can_be_ordinary_characters(tmp_path):
    text = GOOD.replace(",", "\t") + '"half a quote\tpos\n'
    rows = read(written(tmp_path, text, "rows.tsv"), quotes=False)
    assert rows.parts["all"][-1].text == '"half a quote'


def test_another_encoding_can_be_named(tmp_path):
    path = written(tmp_path, (GOOD + "café,pos\n").encode("cp1252"))
    assert read(path, encoding="cp1252").parts["all"][-1].text == "café"
    path = written(tmp_path, GOOD.encode("utf-16"))
    assert len(read(path, encoding="utf-16").parts["all"]) == 4


def test_three_rows_rendered_exactly(tmp_path):
    options = TASK.options(path=str(written(tmp_path, GOOD)))
    rows = TASK.read(options)
    prompt = TASK.prompt(options, rows.labels)
    assert prompt.instruction == "Choose the label of the text: neg, pos."
    assert prompt.words == prompt.cloze_words == ("neg", "pos")
    assert [prompt.template.replace("{text}", i.text) for i in rows.parts["all"][:3]] == [
        "Text: fine\nLabel:",
        "Text: good\nLabel:",
        "Text: bad\nLabel:",
    ]


BAD = {
    "a label that is not known": (
        GOOD + "ok,positve\n",
        {"labels": ("neg", "pos")},
        'reviews.csv, row 6: the label "positve" is not one of neg, pos. Fix the row, or name the '
        "labels with labels: [...].",
    ),
    "many labels that are not known": (
        GOOD + "ok,Neg\nso,Neg\n",
        {"labels": ("neg", "pos")},
        'reviews.csv, row 6: the label "Neg" is not one of neg, pos. 2 rows have such a label (rows 6, 7). '
        "Fix the row, or name the labels with labels: [...].",
    ),
    "a column that is missing": (
        GOOD,
        {"text": "txt"},
        "reviews.csv: there is no column txt. The columns are text, label. Did you mean text?",
    ),
    "no such column at all": (
        GOOD,
        {"text": "review"},
        "reviews.csv: there is no column review. Name one of its columns with text: text, label.",
    ),
    "another delimiter": (
        GOOD.replace(",", ";"),
        {},
        "reviews.csv: there is no column text. Its only column is 'text;label'. "
        'If ; separates its cells, set delimiter: ";".',
    ),
    "a header that names a column twice": (
        "text,label,text\na,b,c\n",
        {},
        "reviews.csv, row 1: the header names text twice. Rename one of the columns.",
    ),
    "a quotation mark that is never closed": (
        GOOD + '"half,pos\nmore,pos\n',
        {},
        "reviews.csv, row 6: a quotation mark is opened and never closed. Write a quotation mark "
        'inside quotes as "", or set quotes: false if they are ordinary characters.',
    ),
    "text after a closing quotation mark": (
        GOOD + '"half" a,pos\n',
        {},
        "reviews.csv, row 6: text follows a closing quotation mark. Write a quotation mark inside "
        'quotes as "", or set quotes: false if they are ordinary characters.',
    ),
    "a row with too many cells": (
        GOOD + "well, good,pos\n",
        {},
        "reviews.csv, row 6: has 3 cells; the header has 2. Put quotation marks around a text that "
        "contains a comma.",
    ),
    "a row with too few cells": (
        GOOD + "well\n",
        {},
        "reviews.csv, row 6: has 1 cell; the header has 2. Fill in the missing cells.",
    ),
    "empty texts": (
        GOOD + "  ,pos\n,neg\n",
        {},
        "reviews.csv: 2 texts are empty (rows 6, 7). Fill them in, or set drop_empty: true to leave "
        "these rows out.",
    ),
    "a label that is missing": (
        GOOD + "ok,\n",
        {},
        "reviews.csv: 1 row has no label (row 6). Fill them in, or remove these rows.",
    ),
    "one label only": (
        "text,label\na,pos\nb,pos\n",
        {},
        "reviews.csv: every row has the label 'pos'. Two or more labels are needed. Check that "
        "label: names the right column.",
    ),
    "a label with one item": (
        GOOD + "so,odd\n",
        {},
        "reviews.csv: the label 'odd' has one item. Every label needs at least two items: one for "
        "train, one for another part. Add items, or remove the label.",
    ),
    "labels that differ in case alone": (
        GOOD + "ok,Pos\nso,Pos\n",
        {},
        "reviews.csv: the labels 'Pos' (rows 6, 7) and 'pos' (rows 2, 3) differ only in case, width, spaces "
        "or hyphens. Write them the same way, or name every label with labels: [...].",
    ),
    "ids that stand twice": (
        "k,text,label\n1,a,x\n1,b,x\n2,c,y\n2,d,y\n",
        {"id": "k"},
        "reviews.csv, row 3: the id '1' is also in row 2; 2 ids are repeated (rows 3, 5). Make the "
        "ids unique, or leave out id.",
    ),
    "an id that is missing": (
        "k,text,label\n1,a,x\n,b,x\n2,c,y\n3,d,y\n",
        {"id": "k"},
        "reviews.csv, row 3: the id is missing. Fill it in, or leave out id.",
    ),
    "a group that is missing": (
        "g,text,label\n1,a,x\n,b,x\n2,c,y\n3,d,y\n",
        {"group": "g"},
        "reviews.csv, row 3: the group is missing. Fill it in, or leave out group.",
    ),
    "texts that are numbers": (
        "text,label\n1.5,x\n2,x\n3,y\n4,y\n",
        {},
        "reviews.csv: the column text contains numbers, not text (the first is 1.5). Set text: to "
        "the column of the texts.",
    ),
    "an empty file": ("", {}, "reviews.csv: is empty. Add a header and rows."),
    "a header alone": ("text,label\n", {}, "reviews.csv: has a header but no rows. Add rows."),
    "an encoding that does not exist": (
        GOOD,
        {"encoding": "utf-99"},
        "task.labels.encoding: 'utf-99' is not an encoding. Examples: utf-8-sig, cp1252, latin-1, utf-16.",
    ),
    "a delimiter of two characters": (
        GOOD,
        {"delimiter": "||"},
        'task.labels.delimiter: \'||\' is not one character. Use "," or ";" or "\\t".',
    ),
    "bytes that are not UTF-8": (
        GOOD.encode() + b"caf\xe9 noir,pos\n",
        {},
        "reviews.csv, line 6: byte 49 (0xe9) is not utf-8. Save it as UTF-8, or set encoding: "
        "cp1252 if “café noir,pos” looks right.",
    ),
    "UTF-16": (
        GOOD.encode("utf-16"),
        {},
        "reviews.csv, line 1: byte 0 (0xff) is not utf-8. Set encoding: utf-16.",
    ),
    "a workbook": (
        b"PK\x03\x04" + bytes(40),
        {},
        "reviews.csv: is not text: it is a zip archive or an Excel workbook. If it is a workbook, name it "
        ".xlsx.",
    ),
    "zero bytes": (
        GOOD.encode() + b"\x00\x01,pos\n",
        {},
        "reviews.csv, line 6: contains a zero byte: this is a binary file. Name a CSV, TSV, JSONL or "
        "Parquet file.",
    ),
    "random bytes": (
        bytes(range(256)) * 4,
        {},
        "reviews.csv: is a binary file, not text. Name a CSV, TSV, JSONL or Parquet file.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path, case):
    content, options, expected = BAD[case]
    assert message(written(tmp_path, content), **options) == expected


OTHER = {
    "not JSON": (
        "rows.jsonl",
        '{"text": "a", "label": "x"}\n{"text": \n',
        "rows.jsonl, line 2: is not JSON: Expecting value: line 1 column 10 (char 9). Each line is one "
        'object such as {"text": "…", "label": "…"}.',
    ),
    "not an object": (
        "rows.jsonl",
        "[1]\n",
        "rows.jsonl, line 1: is not an object but list. Each row is one object with the columns as its keys.",
    ),
    "texts that are numbers": (
        "rows.jsonl",
        '{"text": 3, "label": "x"}\n{"text": 4, "label": "y"}\n',
        "rows.jsonl, line 1: the column text contains numbers, not text. Set text: to the column "
        "of the texts.",
    ),
    "a label that is NaN": (
        "rows.jsonl",
        '{"text": "a", "label": NaN}\n',
        "rows.jsonl: 1 row has no label (line 1). Fill them in, or remove these rows.",
    ),
    "several labels a row": (
        "rows.jsonl",
        '{"text": "a", "label": ["x", "y"]}\n',
        "rows.jsonl, line 1: the column label contains lists of several labels, such as x, y. Each item has "
        "one label. Run a study for each label: one_vs_rest: x (--set task.labels.one_vs_rest=x) tells it "
        "from all others.",
    ),
    "a JSON object": ("rows.json", "{}", "rows.json: is not a list of objects. Write [{…}, {…}], or JSONL."),
    "lines in a JSON file": (
        "rows.json",
        '{"a": 1}\n{"a": 2}\n',
        "rows.json: is not JSON: Extra data: line 2 column 1 (char 9). If it has one object per "
        "line, name it .jsonl.",
    ),
    "deep JSON": ("rows.jsonl", "[" * 200_000, None),
    "a pickle": (
        "rows.pkl",
        pickle.dumps([1]),
        "rows.pkl: .pkl files are not supported: a pickle can run code when it is read. Save the rows as "
        "CSV, JSONL, Parquet or .xlsx.",
    ),
    "a pickle called CSV": (
        "rows.csv",
        pickle.dumps([1]),
        "rows.csv: is not text: it is a pickle, which can run code when it is read. Save the rows as CSV.",
    ),
    "an unknown ending": (
        "rows.xyz",
        "a",
        "rows.xyz: .xyz is not a supported file type. Supported: .csv, .tsv, .jsonl, .json, .parquet, .xlsx.",
    ),
    "no ending": (
        "rows",
        "a",
        "rows: a file without an ending is not a supported file type. Supported: "
        ".csv, .tsv, .jsonl, .json, .parquet, .xlsx.",
    ),
    "Parquet that is none": ("rows.parquet", "text,label\n", None),
}


@pytest.mark.parametrize("case", OTHER)
def test_what_is_wrong_with_another_file_is_said_in_one_sentence(tmp_path, case):
    name, content, expected = OTHER[case]
    found = message(written(tmp_path, content, name))
    if expected is None:  # the sentence of a library stands inside it
        assert found.startswith(name)
    else:
        assert found == expected


def test_a_missing_file_suggests_the_one_beside_it(tmp_path):
    written(tmp_path, GOOD)
    assert message(tmp_path / "review.csv") == "review.csv: does not exist. Did you mean reviews.csv?"
    assert message(tmp_path / "x" / "a.csv") == (
        "a.csv: does not exist. Check the path; it is relative to the current folder."
    )


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "rows.csv").mkdir()
    assert message(tmp_path / "rows.csv") == "rows.csv: is a folder. Name one file."


def test_a_thousand_labels_are_no_classes(tmp_path):
    text = "text,label\n" + "".join(f"text {n},{n}\n" for n in range(1200))
    assert message(written(tmp_path, text)) == (
        "reviews.csv: the label column contains 1,200 different values. At most 1,000 labels are allowed. "
        "Check that label: names the right column."
    )


def test_an_id_in_two_files_is_refused(tmp_path):
    text = "k,text,label\n1,a,x\n2,b,x\n3,c,y\n4,d,y\n"
    paths = [written(tmp_path, text, f"{name}.csv") for name in ("train", "test")]
    with pytest.raises(DataError, match="the id '1' is also in the train file"):
        read(paths[0], test=str(paths[1]), id="k")


def test_a_label_of_the_test_file_alone_is_an_error(tmp_path):
    paths = [written(tmp_path, GOOD + extra, f"{n}.csv") for n, extra in (("a", ""), ("b", "x,odd\n"))]
    with pytest.raises(DataError, match="the label 'odd' has no item"):
        read(paths[0], test=str(paths[1]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "a.csv", "hub": "x/y", "revision": "1"},
        {"hub": "x/y"},
        {"path": "a.csv", "revision": "1"},
        {"path": "a.csv", "dev": "b.csv"},
        {"path": "a.csv", "words": ["a", "b"]},
        {"path": "a.csv", "labels": ["a", "a"]},
        {"path": "a.csv", "labels": ["a"]},
        {"path": "a.csv", "template": "no hole"},
        {"path": "a.csv", "cloze": "{text} no mask"},
        {"path": "a.csv", "colour": "red"},
    ],
)
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(ValidationError):
        TASK.options(**options)
