"""Values in a stranger's files that end a process, fill its memory or are no numbers (52 to 60).

In: a workspace with one file changed. Out: nothing. Knows nothing of: how a value is checked.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from tests.models.test_adapter import adapter_of, base_on_meta
from tests.strangers.workspace import OWN, Workspace
from tuneproof.cli.main import main
from tuneproof.errors import ModelError
from tuneproof.models.adapter import check_adapter


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values))


GROWS = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 100}
NORMALIZERS = [
    {"type": "Sequence", "normalizers": [GROWS] * 5},
    GROWS | {"pattern": {"Regex": "[a-z]"}},
    {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"},
]


@pytest.mark.parametrize(
    "normalizer",
    [pytest.param(NORMALIZERS[0], marks=pytest.mark.slow), *NORMALIZERS[1:]],
    ids=["chain", "pattern", "map"],
)
def test_52_a_tokenizer_that_grows_or_ends_its_process_is_refused(workspace: Workspace, tiny, normalizer):
    folder = workspace.model(tiny)
    change(folder / "tokenizer.json", normalizer=normalizer)
    workspace.check().refused("its tokenizer cannot be read")


@pytest.mark.parametrize(
    "values",
    [{"num_labels": 10**9}, {"num_labels": "two"}, {"head_dim": 10**12}, {"max_position_embeddings": 10**30}],
    ids=str,
)
def test_53_a_value_of_a_configuration_that_no_model_has_is_refused_by_its_key(
    workspace: Workspace, tiny, values
):
    workspace.model(tiny, **values)
    workspace.check().refused(next(iter(values)))


@pytest.mark.parametrize("token", [[1, "a"], -7, 2**32 - 1, 10**12])
def test_54_a_token_id_that_is_none_is_refused(workspace: Workspace, tiny, token):
    workspace.model(tiny, eos_token_id=token)
    workspace.check().refused("eos_token_id")


@pytest.mark.parametrize("length", ["x", [512]])
def test_54_a_length_of_a_tokenizer_that_is_no_number_is_refused(workspace: Workspace, tiny, length):
    folder = workspace.model(tiny)
    change(folder / "tokenizer_config.json", model_max_length=length)
    workspace.check().refused("model_max_length")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study of two baselines."""
    from tests.strangers.workspace import GOOD

    folder = tmp_path_factory.mktemp("finished")
    (folder / "reviews.csv").write_text(GOOD)
    words = ["run", str(folder / "reviews.csv"), *OWN[1:], "--arms", "majority,lexical", "--quiet"]
    assert main([*words, "--out", str(folder / "study")]) == 0
    return folder / "study"


def replace_numbers(value: Any, other: Any) -> Any:
    """The JSON value with another value for every number."""
    if isinstance(value, dict):
        return {key: replace_numbers(v, other) for key, v in value.items()}
    if isinstance(value, list):
        return [replace_numbers(item, other) for item in value]
    return other if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.parametrize("other", ["<b>one</b>", None, [1]], ids=["text", "null", "list"])
@pytest.mark.parametrize("name", ["arms/lexical/scores.json", "arms/lexical/arm.json", "comparisons.json"])
def test_55_what_is_no_number_in_a_study_ends_in_a_sentence(workspace: Workspace, finished, name, other):
    shutil.copytree(finished, workspace / "study")
    file = workspace / "study" / name
    file.write_text(json.dumps(replace_numbers(json.loads(file.read_text("utf-8")), other)))
    for words in (
        ["report", "study"],
        ["report", "study", str(finished)],
        ["compare", "study/arms/lexical", "study/arms/majority"],
        ["plan", "study"],
    ):
        answer = workspace.run_command(*words)
        assert answer.code in (0, 1, 2)
        assert "Traceback" not in answer.err, f"{words}: {answer.err}"
        assert len(answer.err.splitlines()) <= 1
    for page in (workspace / "study").glob("*.html"):
        assert "<b>one</b>" not in page.read_text("utf-8")


def write_dictionary(path: Path) -> None:
    indices = pa.array([0] * 1_000_000, pa.int32())
    texts = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 10_000]))
    moods = pa.DictionaryArray.from_arrays(indices, pa.array(["good"]))
    pq.write_table(pa.table({"review": texts, "mood": moods}), path)


def write_nulls(path: Path) -> None:
    count = 20_000_000
    pq.write_table(pa.table({"review": pa.nulls(count), "mood": pa.nulls(count)}), path)


@pytest.mark.parametrize("write", [write_dictionary, write_nulls])
def test_56_a_small_table_of_many_or_repeated_values_is_refused_unread(workspace: Workspace, write):
    write(workspace / "own.parquet")
    assert (workspace / "own.parquet").stat().st_size < 1_000_000
    workspace.run_command("check", "own.parquet", *OWN[1:], "--arms", "majority").refused("own.parquet")


@pytest.mark.parametrize("column", ["review", "mood", "id"])
def test_57_half_an_emoji_is_refused_by_its_row_and_never_half_read(workspace: Workspace, column):
    rows = [{"id": str(n), "review": f"number {n}", "mood": "good" if n % 2 else "bad"} for n in range(40)]
    rows[5][column] += "\ud83d"
    (workspace / "own.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    words = ["own.jsonl", *OWN[1:], "--arms", "majority", "--quiet", "--out", "study"]
    workspace.run_command("run", *words).refused("6")


@pytest.mark.parametrize("name", ["LoraConfig", "LoHaConfig"])
@pytest.mark.parametrize("rank", [10**7, -1, 0, "eight", 2.5])
def test_58_a_rank_that_no_adapter_has_is_refused_before_memory_is_taken(tmp_path, name, rank):
    import peft

    folder, base = adapter_of(tmp_path, "llama"), base_on_meta(tmp_path / "llama")
    getattr(peft, name)(task_type="SEQ_CLS", target_modules=["q_proj"]).save_pretrained(folder)
    change(folder / "adapter_config.json", r=rank)
    with pytest.raises(ModelError):
        check_adapter(folder, base)


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 300_000 + "[]]", '{"data": [' + "{}," * 300_000 + "{}]}"], ids=["lists", "objects"]
)
def test_59_a_small_archive_of_empty_values_is_refused(workspace: Workspace, monkeypatch, text):
    monkeypatch.setattr("tuneproof.tasks.size_limits.MAX_BYTES", 20_000_000)
    (workspace / "own.json.gz").write_bytes(gzip.compress(text.encode()))
    assert (workspace / "own.json.gz").stat().st_size < 100_000
    workspace.run_command("check", "own.json.gz", "--questions", "--arms", "majority").refused(
        "so many lists"
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_60_weights_that_are_no_numbers_are_no_result(workspace: Workspace, tiny, number):
    file = workspace.model(tiny) / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "embed" in name)
    weights[name][:] = number
    save_file(weights, file, {"format": "pt"})
    workspace.run(arms="zero-shot").refused("finite")
