"""One class in several spellings: merged with a count where that is certain, else refused with its rows."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.data.audit import audit_splits
from tuneproof.data.splits import make_splits
from tuneproof.errors import DataError
from tuneproof.settings import SplitSettings
from tuneproof.tasks import TASKS
from tuneproof.tasks.label_cells import list_items, remark_joined_labels
from tuneproof.tasks.label_columns import collect_label_names
from tuneproof.tasks.label_spellings import merge_spellings
from tuneproof.tasks.tables import Table

TASK = TASKS["labels"]
INVISIBLE = ["\u200b", "\u00ad", "\u200e", "\ufeff", "\u2060", "\u202c", "\x08", "\ufe0f"]


def names(column: list[str], named=None) -> tuple[list[str], tuple[str, ...], int]:
    """The column as it is read, its labels, and how many rows were merged."""
    table = Table("own.csv", {"label": column}, range(2, len(column) + 2))
    merged, remarks = merge_spellings({"all": column}, named)
    labels = named or collect_label_names({"all": table}, merged)
    return merged["all"], labels, sum(remark.count for remark in remarks)


@pytest.mark.parametrize("mark", INVISIBLE, ids=ascii)
def test_invisible_characters_make_no_class(mark):
    assert names(["pos", f"po{mark}s", f"{mark}pos", "neg"])[1:] == (("neg", "pos"), 2)


def test_the_two_forms_of_unicode_are_one_label():
    assert names(["café", "cafe\u0301", "tea"])[1:] == (("café", "tea"), 1)


def test_whole_numbers_with_a_point_are_whole_numbers():
    column = ["1", "1.0", "0", "0.00", "-1.0", "-1", "10", "-0.0"]
    assert names(column) == (["1", "1", "0", "0", "-1", "-1", "10", "0"], ("-1", "0", "1", "10"), 4)


def test_one_spelling_alone_stays_as_it_is():
    for column in (["1.0", "2.0"], ["👩\u200d💻", "x"], ["1.10", "2.5"]):
        assert names(column)[0] == column
        assert names(column)[2] == 0


REFUSED = [
    *[("1", "01"), ("1", "1e0"), ("1", "+1"), ("1.1", "1.10"), ("1", "١"), ("1", "１"), ("1", "true")],
    *[("0", "False"), ("true", "True"), ("positive", "positive."), ("positive", "'positive'")],
    *[("positive", '"positive"'), ("positive", "“positive”"), ("positive", "ｐositive"), ("pos", "pos!")],
    *[("very good", "very_good"), ("very good", "very-good"), ("very good", "very  good"), ("a b", "a\xa0b")],
    *[("type 1", "type-1"), ("positive", "**positive**"), ("ja", "ja,"), ("好", "好。"), ("ﬁne", "fine")],
]


@pytest.mark.parametrize(("first", "second"), REFUSED, ids=ascii)
def test_what_may_be_one_class_is_refused_with_its_rows(first, second):
    with pytest.raises(DataError) as error:
        names([first, "other", second, first])
    assert "(rows 2, 5)" in error.value.problem
    assert "(row 4)" in error.value.problem
    assert names([first, "other", second], (first, second, "other"))[0] == [first, "other", second]


@pytest.mark.parametrize(
    "labels",
    [
        *[("C", "C++", "C#"), ("A", "A+", "A-"), (":)", ":("), ("-1", "1"), ("<5", ">5", "5"), ("1-2", "12")],
        *[("+", "-"), ("Ja", "Nein"), ("1", "10", "1.5"), ("nan", "inf", "1"), ("1_0", "10")],
    ],
)
def test_different_classes_stay_apart(labels):
    assert set(names(list(labels))[1]) == set(labels)


def test_named_labels_take_the_other_spellings():
    assert names(["1.0", "0.0", "1"], ("0", "1")) == (["1", "0", "1"], ("0", "1"), 2)


BASES = ("1", "0", "true", "positive", "very good", "好的", "nan")
CHANGES = (
    *(lambda text, mark=mark: text[:1] + mark + text[1:] for mark in INVISIBLE),
    *(str.upper, str.title, lambda text: f"{text}.", lambda text: f"'{text}'", lambda text: f"“{text}”"),
    lambda text: text.replace(" ", "\xa0"),
    lambda text: f"{text}.0" if text.isdigit() else text,
    lambda text: f"0{text}" if text.isdigit() else text,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(BASES),
    st.lists(st.lists(st.sampled_from(CHANGES), max_size=2), min_size=1, max_size=4),
    st.randoms(),
)
def test_spellings_of_one_class_merge_or_are_refused_in_any_order(base, changes, random):
    column = [base]
    for steps in changes:
        text = base
        for change in steps:
            text = change(text)
        column.append(text)
    outcomes = []
    for _ in range(3):
        random.shuffle(column)
        try:
            outcomes.append(names([*column, "other"])[1])
        except DataError:
            outcomes.append(None)
    assert len(set(outcomes)) == 1
    assert outcomes[0] is None or len(outcomes[0]) == 2


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["nan", "0", "1", "inf", "-1", "2.5", "NaN ", "x"]), min_size=2), st.randoms()
)
def test_the_order_of_labels_does_not_depend_on_the_order_of_rows(column, random):
    def read() -> tuple[str, ...] | str:
        try:
            return names(column)[1]
        except DataError as error:
            return error.do

    before = read()
    random.shuffle(column)
    assert read() == before


def write(path: Path, labels: list, text: str = "text") -> Path:
    rows = [{"text": f"{text} {n}", "label": label} for n, label in enumerate(labels)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(path: Path, **options):
    return TASK.read(TASK.options(path=str(path), **options))


LISTS = {
    "['a', 'b']": ["a", "b"],
    '["a"]': ["a"],
    "['a' 'b']": ["a", "b"],
    "('a',)": ["a"],
    "{'a', 'b'}": ["a", "b"],
    '{"choices": ["a", "b"]}': ["choices", "a", "b"],
    "[0, 1]": ["0", "1"],
    "[0 1]": ["0", "1"],
    "[]": [],
    '["caf\\u00e9"]': ["café"],
    "['it\\'s']": ["it's"],
    **dict.fromkeys(("(1)", "[spam]", "()", "a [1]", "[a] b", "{x}", ":]", "", "[INST]", "[1", "(a, b)")),
}


@pytest.mark.parametrize("cell", LISTS)
def test_lists_are_recognised_however_they_are_written(cell):
    assert list_items(cell) == LISTS[cell]


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: f"['{x}']", lambda x: json.dumps([x])])
def test_a_list_of_one_label_is_its_label_and_is_counted(tmp_path, wrap):
    rows = read(write(tmp_path / "own.jsonl", [wrap("a"), wrap("a"), wrap("b"), "b"]))
    assert rows.labels == ("a", "b")
    assert [(remark.name, remark.count) for remark in rows.remarks] == [("label_lists", 3)]


@pytest.mark.parametrize(
    "cell", ["['a', 'b']", {"choices": ["a"]}, '{"choices": ["a"]}', [["a"]], "{'a', 'b'}"]
)
def test_several_labels_of_one_item_are_refused(tmp_path, cell):
    with pytest.raises(DataError, match=r"line 2: the column label contains (lists of several|objects, not)"):
        read(write(tmp_path / "own.jsonl", ["a", cell, "a", "b", "b"]))


@pytest.mark.parametrize("label", ["", [], "\u200b", None, "[None]"])
def test_a_label_of_nothing_is_missing(tmp_path, label):
    with pytest.raises(DataError, match=r"1 row has no label \(line 3\)"):
        read(write(tmp_path / "own.jsonl", ["a", "a", label, "b", "b"]))


@pytest.mark.parametrize("word", ["nan", "None", "NULL", "#N/A", "<NA>", "NaT", "n/a"])
def test_words_for_a_missing_value_become_a_warning(tmp_path, word):
    path = write(tmp_path / "own.jsonl", ["a", "b", word] * 20)
    rows = read(path)
    assert [(remark.name, remark.level, remark.count) for remark in rows.remarks] == [
        ("missing_label_word", "warning", 20)
    ]
    findings = audit_splits(TASK, make_splits(TASK, rows, SplitSettings()))
    assert any(finding.message.startswith("20 rows have a label that programs write") for finding in findings)
    assert not read(path, labels=("a", "b", word)).remarks  # a class by the user's own word


def test_texts_that_are_words_for_a_missing_value_become_a_warning(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("text,label\nfine,a\nnan,a\nbad,b\nNULL,b\n")
    assert [(remark.name, remark.count) for remark in read(path).remarks] == [("missing_text_word", 2)]


def test_labels_that_join_others_become_a_warning():
    assert remark_joined_labels(["anger", "fear", "anger#fear", "fear; anger"])[0].count == 2
    assert not remark_joined_labels(["C", "C++", "R&D", "A+", "1-2"])


def test_a_label_of_the_test_file_alone_names_that_file(tmp_path):
    paths = [
        write(tmp_path / f"{n}.jsonl", ["a", "a", "b", "b", *more]) for n, more in (("x", []), ("y", ["c"]))
    ]
    with pytest.raises(DataError, match=r"the label 'c' has no item; .*y\.jsonl has 1 item of it"):
        read(paths[0], test=str(paths[1]))


def test_spellings_of_one_group_are_one_group(tmp_path):
    path = tmp_path / "own.csv"
    rows = zip("abcdefgh", "xy" * 4, ["1", "1.0", "x", "x\u200b", "nan", "nan", "2", "2"], strict=True)
    path.write_text("text,label,by\n" + "".join(",".join(cells) + "\n" for cells in rows))
    rows = read(path, group="by")
    assert [item.group for item in rows.parts["all"]] == ["1", "1", "x", "x", "nan", "nan", "2", "2"]
    assert [(remark.name, remark.count) for remark in rows.remarks] == [("missing_group_word", 2)]
