"""What weight files hold decides where config.json says otherwise: whole weights, an untied head."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from tests.tiny_models import is_encoder, tiny_model
from tuneproof.errors import ModelError
from tuneproof.families.models import resolve_model
from tuneproof.models.checkpoint_files import read_config
from tuneproof.parameters.count import count


def add_tensors(folder, tensors) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **tensors}, path, metadata={"format": "pt"})


def quantise_on_paper(folder, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": values}))


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "fp8"])
def test_a_left_over_quantisation_of_whole_weights_is_named(tmp_path, method) -> None:
    folder = tiny_model(tmp_path / "llama", "llama")
    quantise_on_paper(folder, quant_method=method)
    for read in (lambda: read_config(resolve_model(folder)), lambda: count(str(folder))):
        with pytest.raises(ModelError, match=rf"quantised \({method}\); they are whole\. Take quantization_"):
            read()


@pytest.mark.parametrize(
    ("method", "name", "dtype"),
    [
        ("bitsandbytes", "model.layers.0.mlp.up_proj.weight", torch.uint8),
        ("gptq", "model.layers.0.mlp.up_proj.qweight", torch.int32),
        ("fp8", "model.layers.0.mlp.up_proj.weight", torch.float8_e4m3fn),
        ("bitnet", "model.layers.0.mlp.up_proj.weight", torch.float32),  # rounds them in use
    ],
)
def test_quantised_weights_are_still_refused_as_such(tmp_path, method, name, dtype) -> None:
    folder = tiny_model(tmp_path / "llama", "llama")
    quantise_on_paper(folder, quant_method=method)
    add_tensors(folder, {name: torch.ones(64, 32).to(dtype)})
    with pytest.raises(ModelError, match=r"the weights are quantised\. Name the model with its full weights"):
        read_config(resolve_model(folder))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "bert"])
@pytest.mark.parametrize("trained", [True, False])
def test_a_head_that_was_trained_apart_is_counted(tmp_path, kind, trained) -> None:
    folder = tiny_model(tmp_path / kind, kind)
    auto = AutoModelForMaskedLM if is_encoder(kind) else AutoModelForCausalLM
    model = auto.from_pretrained(folder)
    tied = {name: to for name, to in model.all_tied_weights_keys.items() if name.endswith("weight")}
    tied_weights = {name: model.get_parameter(to).detach() for name, to in tied.items()}
    before = count(str(folder))
    add_tensors(folder, {name: (weight + trained).clone() for name, weight in tied_weights.items()})
    after = count(str(folder))
    assert after.total - before.total == trained * sum(weight.numel() for weight in tied_weights.values())
    assert after.architecture.tied_embeddings is not trained
    loaded = sum(parameter.numel() for parameter in auto.from_pretrained(folder).parameters())
    assert loaded - sum(parameter.numel() for parameter in model.parameters()) == after.total - before.total
