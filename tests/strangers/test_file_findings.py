"""What fuzzing the files of models, studies and questions showed, each by the smallest file that shows it.

In: files with one value changed. Out: nothing. Knows nothing of: the fuzzer.
"""

import copy
import json
import socket
from pathlib import Path
from typing import Any

import peft
import pytest

from tests.fuzz.file_targets import FILES
from tests.fuzz.json_mutations import mutate_json
from tests.models.test_adapter import adapter_of, base_on_meta
from tests.report.made_study import write_study
from tests.tiny_models import tiny_model
from tuneproof.errors import ModelError, TuneproofError
from tuneproof.families import family_of
from tuneproof.families.models import ModelSource, resolve_model
from tuneproof.models.adapter import check_adapter
from tuneproof.models.checkpoint_files import (
    ignored_code_notes,
    make_config,
    read_config,
    read_tokenizer_with_notes,
)
from tuneproof.models.load import model_on_meta
from tuneproof.record.study_folder import read_study

HUGE = 10**9


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    root = tmp_path_factory.mktemp("findings")
    return adapter_of(root, "llama"), base_on_meta(root / "llama")


def refusal_of(adapter: tuple[Path, Any], name: str, **values: Any) -> str:
    folder, base = adapter
    getattr(peft, name)(task_type="SEQ_CLS").save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ModelError) as error:
        check_adapter(folder, copy.deepcopy(base))
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "PromptTuningConfig",
        "PrefixTuningConfig",
        "PromptEncoderConfig",
        "MultitaskPromptTuningConfig",
        "XLoraConfig",
    ],
)
def test_an_adapter_that_stands_beside_no_layer_is_refused_before_it_is_made(adapter, name) -> None:
    values = {"num_virtual_tokens": HUGE} if name != "XLoraConfig" else {"hidden_size": HUGE}
    assert "stands beside no layer" in refusal_of(adapter, name, **values)


def test_an_adapter_that_names_a_tokenizer_of_the_hub_fetches_nothing(adapter, monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    values = {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "a", "tokenizer_name_or_path": "x/y"}
    refused = refusal_of(adapter, "PromptTuningConfig", num_virtual_tokens=4, **values)
    assert "stands beside no layer" in refused


@pytest.mark.parametrize("name", ["LoHaConfig", "LoKrConfig", "VeraConfig", "HRAConfig"])
def test_a_huge_rank_of_any_kind_takes_no_memory_before_the_file_is_compared(adapter, name) -> None:
    refused = refusal_of(adapter, name, r=HUGE, target_modules=["q_proj"])
    assert "tensors are missing" in refused or "describes no adapter" in refused
    assert "memory" not in refused


@pytest.mark.parametrize("files", ["tokenizer.json", "vocab.txt"])
def test_a_tokenizer_that_fails_at_an_unknown_word_is_refused_when_it_is_read(tmp_path, files) -> None:
    folder = tiny_model(tmp_path / "bert", "bert")
    values = json.loads((folder / "tokenizer_config.json").read_text())
    if files == "vocab.txt":
        vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        (folder / files).write_text("\n".join(vocabulary))
        (folder / "tokenizer.json").unlink()
    values |= {"unk_token": None, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    source = resolve_model(folder)
    config = read_config(source)
    with pytest.raises(ModelError, match=r"its tokenizer cannot be read: .*Missing \[UNK\]"):
        read_tokenizer_with_notes(source, config, family_of(config))


@pytest.mark.parametrize("token", ["unk_token", "pad_token", "eos_token"])
def test_a_special_token_that_is_empty_is_refused(tmp_path, token) -> None:
    folder = tiny_model(tmp_path / "bert", "bert")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {token: ""}))
    source = resolve_model(folder)
    config = read_config(source)
    with pytest.raises(ModelError, match=f"cannot be read: its {token} '' is no token of its vocabulary"):
        read_tokenizer_with_notes(source, config, family_of(config))


@pytest.mark.parametrize(
    "values",
    [
        {"architectures": [["BertModel"]]},
        {"architectures": "BertModel"},
        {"architectures": {"a": 1}},
        {"eos_token_id": {"a": 1}},
        {"dtype": 5e-324},
        {"dtype": "a."},
        {"torch_dtype": ["float32"]},
    ],
)
def test_a_value_that_a_configuration_does_not_expect_is_refused(values) -> None:
    with pytest.raises(ModelError, match=r"config\.json: "):
        family_of(make_config({"model_type": "bert", **values}, "config.json"))


@pytest.mark.parametrize("values", [{"hidden_act": "nope"}, {"hidden_act": "gelu\ud83d"}])
def test_a_configuration_that_makes_no_model_is_refused(tmp_path, values) -> None:
    config = make_config({"model_type": "bert", "hidden_size": 32, **values}, "config.json")
    with pytest.raises(ModelError, match="does not make a model"):
        model_on_meta(
            ModelSource("bert", str(tmp_path), None, True), config, head="labels", labels=["a", "b"]
        )


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *((name, b"{\xc6}\n") for name in ("recipe.yaml", "splits.json", "steps.jsonl", "arm.json")),
        *((name, b"[" * 100_000 + b"\n") for name in ("splits.json", "steps.jsonl")),
        ("recipe.yaml", b"\xff\xfea"),
    ],
)
def test_a_file_of_a_study_that_is_no_text_is_refused_with_its_name(tmp_path, name, data) -> None:
    study = write_study(tmp_path / "study", size=20)
    next(study.rglob(name)).write_bytes(data)
    with pytest.raises(TuneproofError, match=name):
        read_study(study)


DEEP = '{"a": [' * 150 + "]}" * 150  # which the parser of JSON reads, and no reader follows


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_models_file_of_lists_without_end_is_refused_with_its_name(tmp_path, name) -> None:
    folder = tiny_model(tmp_path / "bert", "bert")
    (folder / name).write_text(f'{{"model_type": "bert", "x": {DEEP}}}')

    def read() -> None:
        source = resolve_model(folder)
        ignored_code_notes(source)
        read_config(source)

    with pytest.raises(ModelError, match=rf"{name}: .*more than 100 deep"):
        read()


@pytest.mark.parametrize("name", ["adapter_config.json"])
def test_an_adapter_of_lists_without_end_is_refused_with_its_name(adapter, name) -> None:
    folder, base = adapter
    (folder / name).write_text(DEEP)
    with pytest.raises(ModelError, match=rf"{name}: .*more than 100 deep"):
        check_adapter(folder, copy.deepcopy(base))


@pytest.mark.parametrize("name", ["splits.json", "arm.json", "steps.jsonl", "audit.json"])
def test_a_study_file_of_lists_without_end_is_refused_with_its_name(tmp_path, name) -> None:
    study = write_study(tmp_path / "study", size=20)
    next(study.rglob(name)).write_text(DEEP + "\n")
    with pytest.raises(TuneproofError, match=rf"{name}: .*more than 100 deep"):
        read_study(study)


def run_mutations(name: str, count: int) -> None:
    """Each of the first files as it is, and mutated again and again from fixed seeds."""
    run, seeds = FILES[name]
    for index, data in enumerate(seeds()):
        for seed in range(count):
            run(data)
            data = mutate_json(data, 65_536, 1000 * index + seed, lambda data, size: data[: size - 1])


@pytest.mark.parametrize(("name", "count"), [("adapter", 8), ("questions", 12)])
def test_a_mutated_file_is_read_or_refused(name, count) -> None:
    run_mutations(name, count)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_mutated_many_times_is_read_or_refused(name) -> None:
    run_mutations(name, 40)
