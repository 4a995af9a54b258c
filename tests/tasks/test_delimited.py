"""CSV and TSV: quotation marks that swallow rows, other delimiters, joined files, Excel's first line."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.errors import DataError
from tuneproof.tasks.delimited import declared_delimiter, read_delimited
from tuneproof.tasks.tables import TextFormat, read_table


def read(text: str, delimiter: str = ",", quotes: bool | None = None):
    return read_delimited("own.csv", text, delimiter, quotes)


def table(rows: list[str], header: str = "text,label") -> str:
    return "\n".join([header, *rows]) + "\n"


def halves(first: int, second: int, delimiter: str = ",", count: int = 12) -> str:
    """Rows of which two hold one half of a quotation each."""
    texts = [f"text {n}" for n in range(count)]
    texts[first], texts[second] = f'"begun {first}', f'ended {second}"'
    rows = [f"{text}{delimiter}{('neg', 'pos')[n % 2]}" for n, text in enumerate(texts)]
    return table(rows, f"text{delimiter}label")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize(("first", "second"), [(0, 11), (2, 5), (3, 4)])
def test_halves_of_a_quotation_do_not_swallow_rows(delimiter, first, second):
    text = halves(first, second, delimiter)
    with pytest.raises(DataError) as error:
        read(text, delimiter)
    assert str(error.value).startswith(
        f"own.csv, row {first + 2} (lines {first + 2} to {second + 2}): a quoted cell of the column text"
    )
    assert "quotes: false" in error.value.do
    assert "quotes: true" in error.value.do
    assert len(read(text, delimiter, quotes=False).numbers) == 12
    assert len(read(text, delimiter, quotes=True).numbers) == 12 - (second - first)


def test_swallowed_rows_are_seen_where_the_text_is_the_last_column():
    with pytest.raises(DataError, match="lines 3 to 4"):
        read(table(["pos,so", 'neg,"more', 'pos,so"', "neg,fine"], "label,text"))


def test_swallowed_rows_are_seen_without_labels():
    rows = ["one,1", '"two,2', "three,3", "four,4", "five,5", 'six",6', "seven,7"]
    with pytest.raises(DataError, match="lines 3 to 7"):
        read(table(rows, "text,nr"))


LEGITIMATE = {
    "a poem": "Roses are red,\nViolets are blue,\nSugar is sweet,\nAnd so are you.",
    "an address": "Jane Doe,\n12 High Street,\nLeeds",
    "an address in one line and a half": "12 High Street, Leeds\nEngland",
    "a list": "Shopping:\n- milk, eggs\n- bread\n",
    "a letter": "Dear sir,\n\nI was, I must say, disappointed, neg\n\nYours,\nA",
    "prices": "It costs 1,000\nand not 900",
}


@pytest.mark.parametrize("cell", LEGITIMATE.values(), ids=LEGITIMATE)
def test_cells_of_several_lines_are_read(cell):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([("text", "label"), (cell, "pos"), ("a", "neg")])
    assert read(stream.getvalue()).columns["text"] == [cell, "a"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from('ab ,"\n'), max_size=8), min_size=1, max_size=8))
def test_a_file_that_is_read_has_all_its_rows(texts):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([("text", "label"), *((text, f"l{n % 2}") for n, text in enumerate(texts))])
    try:
        columns = read(stream.getvalue()).columns
    except DataError:
        return
    assert columns["text"] == texts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.sampled_from('ab "'), min_size=1, max_size=6), min_size=2, max_size=8))
def test_a_file_of_one_line_a_row_is_read_whole_or_refused(texts):
    rows = [f"{text},{('neg', 'pos')[n % 2]}" for n, text in enumerate(texts)]
    try:
        numbers = read(table([*rows, "fine,neg", "good,pos"])).numbers
    except DataError:
        return
    assert len(numbers) == len(texts) + 2


@pytest.mark.parametrize(
    ("sign", "delimiter"),
    [(";", ","), ("\t", ","), ("|", ","), (",", "\t")],
    ids=["semicolon", "tab", "bar", "comma"],
)
@pytest.mark.parametrize("text", ["well, this", "a\tb", '"half" of, it'])
def test_another_delimiter_is_suggested_where_texts_contain_the_expected_one(sign, delimiter, text):
    with pytest.raises(DataError) as error:
        read(f"text{sign}label\n{text}{delimiter}{sign}pos\n", delimiter)
    shown = {"\t": "\\t"}.get(sign, sign)
    assert error.value.do == f'If {shown} separates its cells, set delimiter: "{shown}".'


@pytest.mark.parametrize("sign", [";", ",", "\t", "|"])
def test_the_delimiter_of_the_first_line_is_used_and_is_no_row(sign):
    text = f"sep={sign}\r\ntext{sign}label\r\nfine, good{sign}pos\r\n".replace(
        "fine, good", "fine" if sign == "," else "fine, good"
    )
    assert declared_delimiter(text) == sign
    read_columns = read(text, sign)
    assert read_columns.columns["label"] == ["pos"]
    assert list(read_columns.numbers) == [2]
    assert declared_delimiter("text,label\n") is None


def test_a_carriage_return_inside_a_row_is_named():
    with pytest.raises(
        DataError, match=r"row 2: a carriage return is inside the row\. Replace it by a space\."
    ):
        read("text\tlabel\nspring\rtime\tpos\nfine\tneg\n", "\t", quotes=False)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_joined_files_are_refused_with_the_rows_of_their_headers(mark):
    text = table(["a,pos", f"{mark}text,label", "b,neg", f"{mark}text, label", "c,neg"])
    with pytest.raises(DataError, match=r"own.csv: 2 rows repeat the header \(rows 3, 5\). Remove the rows."):
        read(text)
    assert len(read("text\na\ntext\n").numbers) == 2  # a column of texts may contain the word


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_named(tmp_path, encoding):
    path = tmp_path / "own.csv"
    path.write_bytes("text,label\nfine,pos\nbad,neg\n".encode(encoding))
    with pytest.raises(DataError, match=f"Set encoding: {encoding}"):
        read_table(path)
    assert list(read_table(path, TextFormat(encoding)).numbers) == [2, 3]
    path.write_bytes(bytes(range(9)) * 20 + b"text,label\n")
    with pytest.raises(DataError, match="Name a CSV"):
        read_table(path)


def test_rows_share_their_labels_beside_many_other_short_cells():
    rows = [f"t{n},id{n},{('neg', 'pos')[n % 2]}" for n in range(12_000)]
    labels = read(table(rows, "text,id,label")).columns["label"]
    assert len({id(label) for label in labels}) == 2
