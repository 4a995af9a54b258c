"""An adapter that is not as an arm wrote it is refused by file, key and tensor."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.errors import ModelError
from tuneproof.families.models import resolve_model
from tuneproof.methods import METHODS
from tuneproof.models.adapter import check_adapter, load_adapter
from tuneproof.models.load import model_on_meta

LABELS = ["bad", "good"]
TENSOR = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
HEAD = "base_model.model.score.weight"


def adapter_of(root: Path, kind: str, **options: object) -> Path:
    """An adapter of a tiny model, saved as an arm saves it, with random values everywhere."""
    opened = open_model(tiny_model(root / kind, kind), "labels", LABELS, seed=0)
    method = METHODS["lora"]
    assert method.apply is not None
    adapted = method.apply(opened.model, opened.family, method.options(rank=2, **options), opened.fresh)
    adapted.save_pretrained(root / "adapter")
    return root / "adapter"


def base_on_meta(folder: Path):
    opened = open_model(folder, "labels", LABELS, seed=0)
    return model_on_meta(resolve_model(folder), opened.config, head="labels", labels=LABELS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("adapter")
    adapter_of(root, "llama")
    return root


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved / "adapter", tmp_path / "adapter"))


def refusal(saved: Path, folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        check_adapter(folder, base_on_meta(saved / "llama"))
    return str(error.value)


@pytest.mark.parametrize("kind", ["llama", "bert", "gpt2"])
@pytest.mark.parametrize("variant", ["none", "rslora", "dora", "pissa"])
def test_what_an_arm_saves_is_loaded(tmp_path, kind, variant) -> None:
    folder = adapter_of(tmp_path, kind, variant=variant)
    base = open_model(tmp_path / kind, "labels", LABELS, seed=0)
    model = load_adapter(base.model, folder, base_on_meta(tmp_path / kind))
    stored = load_file(folder / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model, save_embedding_layers=False)
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())


def test_adapters_in_the_last_layers_alone_are_loaded(tmp_path) -> None:
    folder = adapter_of(tmp_path, "llama", layers="last 1", targets=("q_proj", "v_proj"))
    check_adapter(folder, base_on_meta(tmp_path / "llama"))


CONFIGS = {
    "a huge rank": ({"r": 10**7}, "r is 10000000. It must be a whole number from 1"),
    "a rank in words": ({"r": "two"}, "r is 'two'"),
    "no rank": ({"r": 0}, "r is 0"),
    "a yes as rank": ({"r": True}, "r is True"),
    "another rank": ({"r": 3}, "has the shape [2, 64]; adapter_config.json describes [3, 64]"),
    "a negative scale": ({"lora_alpha": -1}, "lora_alpha is -1. It must be a number above 0"),
    "an endless scale": ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
    "full dropout": ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
    "a flag in words": ({"use_dora": "yes"}, "use_dora is 'yes'. It must be true or false"),
    "dora": ({"use_dora": True}, "tensors are missing"),
    "no targets": ({"target_modules": []}, "target_modules is []"),
    "a pattern": ({"target_modules": ".*proj"}, "target_modules is '.*proj'"),
    "unknown targets": ({"target_modules": ["nowhere"]}, "describes no adapter of LlamaForSequenceClass"),
    "fewer targets": ({"target_modules": ["q_proj"]}, "none of the adapter's that adapter_config.json"),
    "a new layer order": ({"layer_replication": [[0, 2], [0, 2]]}, "layer_replication is [[0, 2], [0, 2]]"),
    "ranks by layer": ({"rank_pattern": {"q_proj": 10**7}}, "rank_pattern is {'q_proj': 10000000}"),
    "trained biases": ({"bias": "all"}, "bias is 'all'. No arm writes another value"),
    "another start": ({"init_lora_weights": "eva"}, "init_lora_weights is 'eva'"),
    "another kind": ({"peft_type": "WAVE"}, "peft_type 'WAVE' is no kind of adapter"),
    "a list as kind": ({"peft_type": ["LORA"]}, "peft_type ['LORA'] is no kind"),
    "soft prompts": ({"peft_type": "PROMPT_TUNING"}, "is no key of a PROMPT_TUNING adapter"),
    "another task": ({"task_type": "TOKEN_CLS"}, "task_type is 'TOKEN_CLS'"),
    "a list as task": ({"task_type": ["SEQ_CLS"]}, "task_type is ['SEQ_CLS']"),
    "an unknown key": ({"lora_gamma": 1}, "lora_gamma is no key of a LORA adapter"),
    "a base that is a number": ({"base_model_name_or_path": 7}, "base_model_name_or_path is 7"),
    "a class by name": ({"auto_mapping": {"parent_library": "os"}}, "auto_mapping is {'parent_library'"),
    "heads in a number": ({"modules_to_save": [1]}, "modules_to_save is [1]"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_changed_configuration_is_refused_by_its_key(saved, folder, name) -> None:
    values, sentence = CONFIGS[name]
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    message = refusal(saved, folder)
    assert sentence in message
    assert str(folder) in message


@pytest.mark.parametrize("key", ["r", "target_modules", "peft_type"])
def test_a_missing_key_is_refused(saved, folder, key) -> None:
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))
    assert key in refusal(saved, folder)


@pytest.mark.parametrize("text", ["[]", "{", "", '{"r": ' + "[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(saved, folder, text) -> None:
    (folder / "adapter_config.json").write_text(text)
    assert "adapter_config.json: is not" in refusal(saved, folder)


def removed(tensors: dict) -> None:
    del tensors[TENSOR]


def removed_head(tensors: dict) -> None:
    del tensors[HEAD]


def renamed(tensors: dict) -> None:
    tensors[TENSOR.replace("down", "side")] = tensors.pop(TENSOR)


def added(tensors: dict) -> None:
    tensors["base_model.model.score.bias"] = torch.zeros(2)


def reshaped(tensors: dict) -> None:
    tensors[TENSOR] = tensors[TENSOR].T.contiguous()


def widened_head(tensors: dict) -> None:
    tensors[HEAD] = torch.zeros(3, 32)


def not_a_number(tensors: dict) -> None:
    tensors[TENSOR][0, 0] = float("nan")


def endless_head(tensors: dict) -> None:
    tensors[HEAD][1, 1] = float("-inf")


def rounded(tensors: dict) -> None:
    tensors[TENSOR] = tensors[TENSOR].to(torch.int32)


TENSORS = {
    removed: f"1 of the adapter's tensors are missing, {TENSOR} first",
    removed_head: f"1 of the adapter's tensors are missing, {HEAD} first",
    renamed: f"1 of the adapter's tensors are missing, {TENSOR} first",
    added: "base_model.model.score.bias first",
    reshaped: f"{TENSOR} has the shape [64, 2]; adapter_config.json describes [2, 64]",
    widened_head: f"{HEAD} has the shape [3, 32]",
    not_a_number: f"{TENSOR} holds values that are not finite",
    endless_head: f"{HEAD} holds values that are not finite",
    rounded: f"{TENSOR} holds torch.int32",
}


@pytest.mark.parametrize("change", TENSORS, ids=lambda change: change.__name__)
def test_a_changed_tensor_is_refused_by_its_name(saved, folder, change) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    assert TENSORS[change] in refusal(saved, folder)


def test_weights_that_are_cut_short_are_refused(saved, folder) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert "adapter_model.safetensors: cannot be read" in refusal(saved, folder)
    path.unlink()
    assert "contains no adapter_model.safetensors" in refusal(saved, folder)
