"""Bad rows of labels, and the error that each gets."""

import pickle

import pytest

from tests.errors.case import GOOD, OWN, ROWS, TASK, Case, Parts


def rows(text: str | bytes, parts: Parts, *more: str, name: str = "own.csv") -> Case:
    """`check` of an own file with this text."""
    return Case(["check", name, *OWN, "--arms", "majority", *more], parts, files={name: text})


OWN_FILES = {
    "missing own": Case(
        ["check", "recipe.yaml"],
        Parts("reviws.csv", "does not exist.", do="Did you mean reviews.csv?"),
        files={"recipe.yaml": TASK.replace("reviews", "reviws") + "arms: [majority]\n"},
    ),
    "wrong column": rows(
        GOOD,
        Parts(
            "own.csv",
            "there is no column reveiw.",
            allowed="The columns are review, sentiment.",
            do="Did you mean review?",
        ),
        "--text",
        "reveiw",
    ),
    "wrong label column": rows(
        GOOD,
        Parts(
            "own.csv",
            "there is no column stars.",
            do="Name one of its columns with label: review, sentiment.",
        ),
        "--label",
        "stars",
    ),
    "semicolons": rows(
        GOOD.replace(",", ";"),
        Parts(
            "own.csv",
            "there is no column review.",
            allowed="Its only column is 'review;sentiment'.",
            do='If ; separates its cells, set delimiter: ";".',
        ),
    ),
    "unknown label": rows(
        GOOD.replace("lovely plot number 3,positive", "lovely plot number 3,positve"),
        Parts(
            "own.csv, row 15",
            'the label "positve" is not one of negative, positive.',
            do="Fix the row, or name the labels with labels: [...].",
        ),
        "--set",
        "task.labels.labels=[negative, positive]",
    ),
    "one class": rows(
        "review,sentiment\n" + "\n".join(f"film {i},positive" for i in range(20)),
        Parts(
            "own.csv",
            "every row has the label 'positive'.",
            allowed="Two or more labels are needed.",
            do="Check that label: names the right column.",
        ),
    ),
    "rare": rows(
        GOOD + "so so,neutral\n",
        Parts(
            "own.csv",
            "the label 'neutral' has one item.",
            allowed="Every label needs at least two items: one for train, one for another part.",
            do="Add items, or remove the label.",
        ),
    ),
    "case": rows(
        GOOD + "so so,Positive\n",
        Parts(
            "own.csv",
            "the labels 'Positive' (row 42) and 'positive' (rows 2, 3, 6, 7, 10 and 15 more) differ only in "
            "case, width, spaces or hyphens.",
            do="Write them the same way, or name every label with labels: [...].",
        ),
    ),
    "empty text": rows(
        GOOD + ",positive\n  ,negative\n",
        Parts(
            "own.csv",
            "2 texts are empty (rows 42, 43).",
            do="Fill them in, or set drop_empty: true to leave these rows out.",
        ),
    ),
    "no label": rows(
        GOOD + "hm,\n",
        Parts("own.csv", "1 row has no label (row 42).", do="Fill them in, or remove these rows."),
    ),
    "nan label": rows(
        '{"review": "a", "sentiment": NaN}\n{"review": "b", "sentiment": "x"}\n',
        Parts("own.jsonl", "1 row has no label (line 1).", do="Fill them in, or remove these rows."),
        name="own.jsonl",
    ),
    "list label": rows(
        '{"review": "a", "sentiment": ["x", "y"]}\n{"review": "b", "sentiment": "x"}\n',
        Parts(
            "own.jsonl, line 1",
            "the column sentiment contains lists of several labels, such as x, y.",
            allowed="Each item has one label.",
            do="Run a study for each label: one_vs_rest: x (--set task.labels.one_vs_rest=x) tells it from "
            "all others.",
        ),
        name="own.jsonl",
    ),
    "number text": rows(
        "review,sentiment\n1,a\n2,b\n",
        Parts(
            "own.csv",
            "the column review contains numbers, not text (the first is 1).",
            do="Set text: to the column of the texts.",
        ),
    ),
    "one group": rows(
        "review,sentiment,who\n" + "\n".join(f"{r},ann" for r in ROWS),
        Parts(
            "split",
            "all 40 items belong to the group 'ann', so that no part can be held out.",
            do="Name another group column, or leave group out.",
        ),
        "--group",
        "who",
    ),
    "no group": rows(
        "review,sentiment,who\n" + "\n".join(f"{r},{i if i else ''}" for i, r in enumerate(ROWS)),
        Parts("own.csv, row 2", "the group is missing.", do="Fill it in, or leave out group."),
        "--group",
        "who",
    ),
    "one text": rows(
        "review,sentiment\n" + "\n".join(f"same,{'ab'[i % 2]}" for i in range(20)),
        Parts(
            "split",
            "all 20 items have the same text, so that no part can be held out.",
            do="Check that text: names the right column.",
        ),
    ),
    "few": rows(
        "review,sentiment\na b,x\nc d,y\ne f,x\ng h,y\n",
        Parts(
            "split",
            "dev would be empty (train 2, dev 0, test 2 items).",
            do="Change split.shares or split.dev_share, or add items, or use smaller groups.",
        ),
    ),
    "binary": rows(
        bytes(range(256)) * 20,
        Parts("own.csv", "is a binary file, not text.", do="Name a CSV, TSV, JSONL or Parquet file."),
    ),
    "pickle inside": rows(
        pickle.dumps({"review": []}),
        Parts(
            "own.csv",
            "is not text: it is a pickle, which can run code when it is read.",
            do="Save the rows as CSV.",
        ),
    ),
    "pickle": rows(
        pickle.dumps([]),
        Parts(
            "own.pkl",
            ".pkl files are not supported: a pickle can run code when it is read.",
            do="Save the rows as CSV, JSONL, Parquet or .xlsx.",
        ),
        name="own.pkl",
    ),
    "excel": rows(
        b"PK\x03\x04aaaa",
        Parts(
            "own.csv",
            "is not text: it is a zip archive or an Excel workbook.",
            do="If it is a workbook, name it .xlsx.",
        ),
    ),
    "gz": rows(
        b"\x1f\x8baaaa",
        Parts(
            "own.csv.gz",
            ".gz files are not supported: it is compressed.",
            do="Save the rows as CSV, JSONL, Parquet or .xlsx.",
        ),
        name="own.csv.gz",
    ),
    "xlsx": rows(
        b"PK\x03\x04aaaa",
        Parts(
            "own.xlsx",
            "cannot be read as a workbook: File is not a zip file.",
            do="Open it in Excel or LibreOffice and save it as .xlsx, or save the sheet as CSV.",
        ),
        name="own.xlsx",
    ),
    "extension": rows(
        GOOD,
        Parts(
            "own.txt",
            ".txt is not a supported file type.",
            allowed="Supported: .csv, .tsv, .jsonl, .json, .parquet, .xlsx.",
        ),
        name="own.txt",
    ),
    "noext": rows(
        GOOD,
        Parts(
            "own",
            "a file without an ending is not a supported file type.",
            allowed="Supported: .csv, .tsv, .jsonl, .json, .parquet, .xlsx.",
        ),
        name="own",
    ),
    "latin": rows(
        GOOD.encode() + "caf\u00e9 noir,positive\n".encode("latin-1"),
        Parts(
            "own.csv, line 42",
            "byte 1260 (0xe9) is not utf-8.",
            do="Save it as UTF-8, or set encoding: cp1252 if “café noir,positive” looks right.",
        ),
    ),
    "utf16": rows(
        GOOD.encode("utf-16"),
        Parts("own.csv, line 1", "byte 0 (0xff) is not utf-8.", do="Set encoding: utf-16."),
    ),
    "encoding unknown": rows(
        GOOD,
        Parts(
            "task.labels.encoding",
            "'klingon' is not an encoding.",
            allowed="Examples: utf-8-sig, cp1252, latin-1, utf-16.",
        ),
        "--set",
        "task.encoding=klingon",
    ),
    "delimiter": rows(
        GOOD,
        Parts("task.labels.delimiter", "'ab' is not one character.", allowed='Use "," or ";" or "\\t".'),
        "--set",
        "task.delimiter=ab",
    ),
    "ids": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{min(i, 30)}" for i, r in enumerate(ROWS)),
        Parts(
            "own.csv, row 33",
            "the id '30' is also in row 32; 9 ids are repeated (rows 33, 34, 35, 36, 37 and 4 more).",
            do="Make the ids unique, or leave out id.",
        ),
        "--id",
        "no",
    ),
    "id missing": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{i or ''}" for i, r in enumerate(ROWS)),
        Parts("own.csv, row 2", "the id is missing.", do="Fill it in, or leave out id."),
        "--id",
        "no",
    ),
    "ragged": rows(
        GOOD + "good, really good,positive\n",
        Parts(
            "own.csv, row 42",
            "has 3 cells; the header has 2.",
            do="Put quotation marks around a text that contains a comma.",
        ),
    ),
    "short row": rows(
        GOOD + "good\n",
        Parts("own.csv, row 42", "has 1 cell; the header has 2.", do="Fill in the missing cells."),
    ),
    "quote": rows(
        GOOD + '"never closed,positive\n',
        Parts(
            "own.csv, row 42",
            "a quotation mark is opened and never closed.",
            do='Write a quotation mark inside quotes as "", or set quotes: false if they are '
            "ordinary characters.",
        ),
    ),
    "twin columns": rows(
        "review,review,sentiment\na,b,c\n",
        Parts("own.csv, row 1", "the header names review twice.", do="Rename one of the columns."),
    ),
    "empty": rows("", Parts("own.csv", "is empty.", do="Add a header and rows.")),
    "header": rows("review,sentiment\n", Parts("own.csv", "has a header but no rows.", do="Add rows.")),
    "json object": rows(
        '{"a": 1}',
        Parts("own.json", "is not a list of objects.", do="Write [{…}, {…}], or JSONL."),
        name="own.json",
    ),
    "jsonl broken": rows(
        '{"review": "a", "sentiment": "x"}\n{"review": \n',
        Parts(
            "own.jsonl, line 2",
            "is not JSON: <library>.",
            do='Each line is one object such as {"text": "…", "label": "…"}.',
        ),
        name="own.jsonl",
    ),
    "parquet": rows(
        "nothing",
        Parts(
            "own.parquet",
            "cannot be read as Parquet: <library>.",
            do="Check the file's ending, or write the file again.",
        ),
        name="own.parquet",
    ),
    "test file": rows(
        GOOD,
        Parts("nowhere.csv", "does not exist.", do="Check the path; it is relative to the current folder."),
        "--test",
        "nowhere.csv",
    ),
    "test ids": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{i}" for i, r in enumerate(ROWS)),
        Parts(
            "test file",
            "the id '0' is also in the train file.",
            do="Make the ids unique across all files, or leave out id.",
        ),
        "--id",
        "no",
        "--test",
        "own.csv",
    ),
    "train_size labels": rows(
        GOOD.replace("lovely plot", "odd plot").replace("3,positive", "3,other"),
        Parts(
            "split",
            "dev would have no item of the label 'other' (3 of 40 items are in dev).",
            do="Add items of that label, give the part a larger share, or remove the label.",
        ),
        "--set",
        "split.train_size=2",
    ),
    "binary metric": rows(
        "review,sentiment\n" + "\n".join(f"word{i} a,{'abc'[i % 3]}" for i in range(60)),
        Parts("claim.metric", "f1 is for two labels, and there are 3.", do="Use f1_macro or accuracy."),
        "--arms",
        "majority,lexical",
        "--set",
        "claim={arm: lexical, over: majority, metric: f1}",
    ),
    "words count": rows(
        GOOD,
        Parts("command line", "task.labels: words needs labels of the same length, in the same order."),
        "--set",
        "task.words=[a, b]",
    ),
    "too many labels": rows(
        "review,sentiment\n" + "\n".join(f"a b {i},l{i}" for i in range(1001)),
        Parts(
            "own.csv",
            "the label column contains 1,001 different values.",
            allowed="At most 1,000 labels are allowed.",
            do="Check that label: names the right column.",
        ),
    ),
}


@pytest.mark.parametrize("name", OWN_FILES)
def test_bad_rows_get_their_error(name, provoke):
    provoke(OWN_FILES[name])
