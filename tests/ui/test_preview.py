"""A preview guesses the columns that are clear, leaves others to the person, and reads as its options say."""

import json
import sys

import pyarrow
import pyarrow.parquet
import pytest

from tuneproof.errors import DataError
from tuneproof.tasks.tables import Table
from tuneproof.ui.preview import MAX_LABELS, main, preview, text_format_from

TURNS = [{"role": "user", "content": "Is it good?"}, {"role": "assistant", "content": "yes"}]


def preview_of(path, **options):
    return preview(path, text_format_from(options))


def table(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "guess"),
    [
        ("note,kind", {"text": "note", "label": "kind"}),
        ("note,Klasse", {"text": "note", "label": "Klasse"}),
        ("rating,comment", {"text": "comment", "label": "rating"}),
    ],
)
def test_the_only_column_of_few_values_or_the_one_called_so_is_the_label(tmp_path, header, guess):
    is_first = header.startswith("rating")
    rows = [f"{n % 2},A long text {n}" if is_first else f"A long text {n},{n % 2}" for n in range(20)]
    assert preview_of(table(tmp_path / "a.csv", header, rows))["guess"] == guess


def test_two_columns_of_few_values_are_left_to_the_person(tmp_path):
    rows = [f"A long text {n},{n % 2},{n % 3}" for n in range(20)]
    guess = preview_of(table(tmp_path / "a.csv", "text,colour,country", rows))["guess"]
    assert guess == {"text": "text", "label": None}
    guess = preview_of(table(tmp_path / "a.csv", "text,colour,intent", rows))["guess"]
    assert guess == {"text": "text", "label": "intent"}


def test_a_column_called_label_counts_with_more_classes_than_are_listed(tmp_path):
    rows = [f"A text {n},class {n % 77}" for n in range(200)]
    values = preview_of(table(tmp_path / "a.csv", "text,label", rows))
    label = values["columns"][1]
    assert values["guess"]["label"] == "label"
    assert (len(label["labels"]), label["more_labels"]) == (MAX_LABELS, 77 - MAX_LABELS)
    assert values["columns"][0]["labels"] == []


def test_a_table_without_a_column_of_texts_gets_no_guess_of_one(tmp_path):
    guess = preview_of(table(tmp_path / "a.csv", "label,class", [f"{n},{n % 2}" for n in range(9)]))["guess"]
    assert guess == {"text": None, "label": "label"}


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_messages_are_recognised_in_every_kind_of_file(tmp_path, ending):
    path, rows = tmp_path / f"m.{ending}", [{"messages": TURNS}] * 3
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    assert preview_of(path)["kind"] == "messages"


def test_a_column_of_texts_goes_before_messages(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"messages": TURNS, "text": "Is it?", "label": "yes"}] * 3))
    assert preview_of(path)["kind"] == "labels"


def test_encoding_delimiter_and_quotes_are_those_of_the_options(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text;label\n"Grün;1\n"Blau;0\nRot;1\n', "utf-16")
    with pytest.raises(DataError, match="utf-16"):
        preview_of(path)
    values = preview_of(path, encoding="utf-16", delimiter=";", quotes="false")
    assert values["rows"] == [['"Grün', "1"], ['"Blau', "0"], ["Rot", "1"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8"])
def test_a_large_file_is_read_in_every_encoding(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr("tuneproof.ui.preview.HEAD_BYTES", 1001)
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "Grün ist die Hoffnung,1\nBlau,0\n" * 100, encoding)
    values = preview_of(path, encoding=encoding)
    assert values["rows"][:2] == [["Grün ist die Hoffnung", "1"], ["Blau", "0"]]
    assert values["partial"] == (values["read_rows"] < 200)


def test_the_command_prints_the_preview_or_the_error(tmp_path, monkeypatch, capsys):
    path = table(tmp_path / "a.csv", "text;label", ["a;x", "b;y", "c;x"])
    for options, names in (([], ["text;label"]), (['{"delimiter": ";"}'], ["text", "label"])):
        monkeypatch.setattr(sys, "argv", ["preview", str(path), *options])
        main()
        columns = json.loads(capsys.readouterr().out)["columns"]
        assert [column["name"] for column in columns] == names
    monkeypatch.setattr(sys, "argv", ["preview", str(path), '{"encoding": "utf-99"}'])
    main()
    assert "utf-99" in " ".join(json.loads(capsys.readouterr().out)["error"].values())


def test_the_train_part_of_a_data_set_on_the_hub_is_shown(monkeypatch, capsys):
    train = Table("news, train", {"text": ["a", "b"], "label": ["x", "y"]}, range(1, 3))
    monkeypatch.setattr("tuneproof.ui.preview.read_hub", lambda *names: {"test": None, "train": train})
    monkeypatch.setattr("sys.argv", ["preview", "-", '{"hub": "a/news", "revision": "1"}'])
    main()
    values = json.loads(capsys.readouterr().out)
    assert values["guess"] == {"text": "text", "label": "label"}
    assert values["rows"] == [["a", "x"], ["b", "y"]]
