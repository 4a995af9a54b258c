"""What fuzzing found, each kept by the bytes that showed it."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import answer, own_file, recipe_text
from tuneproof.errors import DataError, RecipeError
from tuneproof.recipe.recipe import read_recipe
from tuneproof.tasks import labels, questions

GOOD = """task: {labels: {path: a.csv, text: text, label: label}}
models: [distilbert]
arms:
  - majority
  - few-shot: {shots: 4}
  - lora: {rank: 16, name: "a b"}
seeds: [0, 1]
claim: {arm: a b, over: majority, metric: accuracy}
train: {learning_rate: 2e-5}
out: studies/x
"""
PIECES = [
    "&a ",
    "*a",
    "!!str ",
    "? ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "\t",
    "#",
    "'",
    '"',
    "|",
    ">",
    "~",
    "no",
    "1e3",
    "0o7",
    ".nan",
    "-1",
    "9" * 40,
    "2024-01-01",
    "2024-99-99",
    "<<: ",
    "%",
    "---\n",
    "...\n",
    "\u2028",
    "\x85",
    "\ufeff",
    "\\",
    "lora",
    "task",
    "arms",
]


@pytest.mark.parametrize(
    "text", ["task: demo\n? [a]\n: b\narms: [majority]\n", "? ms: [majority]\n", "a: {? {b: c} : d}\n"]
)
def test_a_key_that_is_a_list_or_a_map_is_refused(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match="a list or a mapping as a key"):
        read_recipe(tmp_path / "recipe.yaml")


def test_text_in_parquet_that_is_not_utf_8_is_refused(tmp_path):
    sound = ["good", "bad"] * 4
    offsets = pa.array([0, *range(2, 17, 2)], pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(8, offsets, pa.py_buffer(b"\xf9\xff" * 8))
    pq.write_table(pa.table({"text": broken, "label": sound}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        labels.read(labels.LabelsOptions(path=str(tmp_path / "own.parquet")))


def test_answers_nested_without_end_are_refused(tmp_path):
    deep = "[" * 100_000
    (tmp_path / "own.csv").write_text(f"question,context,answers\nWhy?,Because.,{deep}\n")
    with pytest.raises(DataError, match="the answers are not JSON"):
        questions.read(questions.QuestionsOptions(path=str(tmp_path / "own.csv")))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_mutated_recipe_is_read_back_to_itself_or_refused(data):
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        piece = data.draw(st.sampled_from(PIECES) | st.text(max_size=4))
        text = text[:start] + piece + text[start + length :]
    recipe_text(text.encode("utf-8", "surrogatepass"))


def table(kind: int, rows: list[dict[str, str]]) -> bytes:
    """Rows as the file that the fuzzer's first byte names."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return bytes([kind]) + stream.getvalue()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_are_a_table_or_refused(data, kind):
    own_file(bytes([kind]) + data)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_a_parquet_file_with_other_bytes_is_a_table_or_refused(index, other):
    rows = [{"text": f"good film {n}", "label": "ab"[n % 2]} for n in range(6)]
    good = table(4, rows)
    index = 1 + index % (len(good) - 1)
    own_file(good[:index] + other + good[index + len(other) :])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_none(data):
    answer(data)
