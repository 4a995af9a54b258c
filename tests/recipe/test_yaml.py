"""YAML as data: YAML 1.2's words and numbers, lines, and nothing that a recipe never needs."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.errors import RecipeError
from tuneproof.recipe.yaml import MAX_BYTES, Document, dump_yaml, parse_value, read_yaml


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-5", 2e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-3", -3),
        ("0o17", 15),
        ("0x1f", 31),
        ("010", 10),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("'7'", "7"),
        ("1.2.3", "1.2.3"),
        ("[1, two, 3.5]", [1, "two", 3.5]),
        ("{a: 1, 2: b}", {"a": 1, "2": "b"}),
        ("é…", "é…"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text, value):
    found = parse_value(text, "here")
    assert found == value
    assert type(found) is type(value)


def test_values_are_plain_python(tmp_path):
    values = read_yaml(write(tmp_path, "a: 'x'\nb: [1, 0x1f, 2.50]\nc: {d: yes}\n")).values
    assert values == {"a": "x", "b": [1, 31, 2.5], "c": {"d": "yes"}}
    assert {type(one) for one in (values, values["a"], *values["b"])} == {dict, str, int, float}


def test_a_place_has_its_line(tmp_path):
    path = write(tmp_path, "# a recipe\ntask: sst2\narms:\n  - majority\n  - lora:\n      rank: 4\n")
    document = read_yaml(path)
    assert document.where(("task",)) == f"{path}, line 2"
    assert document.where(("arms", 0)) == f"{path}, line 4"
    assert document.where(("arms", 1, "lora", "rank")) == f"{path}, line 6"
    assert document.where(("arms", 1, "lora", "rnak")) == f"{path}, line 5"
    assert document.where(("nothing",)) == str(path)
    assert Document("command line", {}).where(("task",)) == "command line"


def test_a_changed_place_is_the_change(tmp_path):
    document = read_yaml(write(tmp_path, "train: {epochs: 3}\n"))
    document.override("train.epochs=zero")
    assert document.where(("train", "epochs")) == "--set train.epochs=zero"


def test_a_file_from_windows_reads(tmp_path):
    text = "task: sst2\r\narms: [majority]\r\n".encode("utf-8-sig")
    assert read_yaml(write(tmp_path, text)).values == {"task": "sst2", "arms": ["majority"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\n", "line 1: contains an anchor or alias"),
        ("a: 1\nb: *x\n", "line 2: contains an anchor or alias"),
        ("<<: {a: 1}\nb: !!int 3\n", "line 2: contains the tag tag:yaml.org,2002:int"),
        ("a: !secret x\n", "line 1: contains the tag !secret"),
        ("a: 1\na: 2\n", "line 2: is not valid YAML: found duplicate key"),
        ("a: [1\n", "is not valid YAML"),
        ("a: b: c\n", "line 1: is not valid YAML"),
        ("a: " + "[" * 21 + "]" * 21, "nested deeper than 20 levels"),
        ("[" * 50_000, "nested deeper than 20 levels"),
        ("just words\n", "contains no settings"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"a: \x00", "contains a zero byte"),
        ("#" * (MAX_BYTES + 1), "is larger than 1,000,000 bytes"),
    ],
)
def test_what_a_recipe_never_needs_is_refused(text, said, tmp_path):
    with pytest.raises(RecipeError) as error:
        read_yaml(write(tmp_path, text))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        (["a.b=1"], {"a": {"b": 1}}),
        (["a=", "a.b=1"], {"a": {"b": 1}}),
        (["a=[x, {y: 2}]", "a.y=3", "a.0=z"], {"a": ["z", {"y": 3}]}),
        (["a=[x]", "a.x={r: 1}"], {"a": [{"x": {"r": 1}}]}),
        (["a=[x]", "a.x=y"], {"a": ["y"]}),
        (["a=[x]", "a.x.r=1"], {"a": [{"x": {"r": 1}}]}),
        (["task=sst2", "task.path=here"], {"task": {"sst2": {"path": "here"}}}),
        (["out=a=b"], {"out": "a=b"}),
    ],
)
def test_changes_find_their_place(changes, values):
    document = Document("command line", {})
    for change in changes:
        document.override(change)
    assert document.values == values


@pytest.mark.parametrize("change", ["a", "=1", "  =1", "l.c=1", "l.5=1", "n.x.y=1", "l=[1"])
def test_a_change_that_leads_nowhere_is_refused(change):
    document = Document("command line", {"l": ["a", "b"], "n": {"x": 1}})
    with pytest.raises(RecipeError, match=r"^--set "):
        document.override(change)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(PLAIN)
def test_what_is_dumped_reads_back(tmp_path_factory, value):
    path = write(tmp_path_factory.getbasetemp(), dump_yaml({"value": value}))
    assert read_yaml(path).values == {"value": value}
