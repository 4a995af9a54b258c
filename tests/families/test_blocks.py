"""Where blocks are, and what lies below the last of them, in every family."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.models.test_frozen_layers import OWN, SIZES
from tuneproof.errors import ModelError
from tuneproof.families.blocks import blocks_of, layers_of, weights_below

LISTS = {
    "bert": "bert.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
    "electra": "electra.encoder.layer",
    "mpnet": "mpnet.encoder.layer",
    "llama": "model.layers",
    "gemma2": "model.layers",
    "gemma3_text": "model.layers",
    "qwen3": "model.layers",
    "modernbert-decoder": "model.layers",
    "modernbert": "model.layers",
    "roberta": "roberta.encoder.layer",
    "mistral": "model.layers",
    "gpt2": "transformer.h",
    "falcon": "transformer.h",
    "opt": "model.decoder.layers",
    "deberta-v2": "deberta.encoder.layer",
}


def model_of(kind: str, device: str = "cpu", auto=AutoModelForSequenceClassification):
    config = AutoConfig.for_model(kind, **OWN.get(kind, SIZES))
    with torch.device(device):
        return auto.from_config(config).eval()


@pytest.mark.parametrize("kind", LISTS)
def test_the_blocks_are_found(kind) -> None:
    model = model_of(kind, "meta")
    found = blocks_of(model)
    assert found.name == LISTS[kind]
    assert len(found.modules) == layers_of(model.config) == 4


@pytest.mark.parametrize("kind", LISTS)
def test_below_the_last_two_is_what_they_read_and_nothing_else(kind) -> None:
    found = weights_below(model_of(kind), 2)
    assert found == weights_below(model_of(kind, "meta"), 2), "counting ahead says something else"
    for name, _ in model_of(kind, "meta").named_parameters():
        rest = name.removeprefix(f"{LISTS[kind]}.")
        if rest != name:
            assert (name in found) == (rest.split(".")[0] in ("0", "1")), name
        elif "embed" in name or ".wte." in name or ".wpe." in name:
            assert name in found, name
        elif "relative_attention_bias" not in name:  # MPNet's, which all layers share
            assert name not in found, name
    if kind == "mpnet":
        assert "mpnet.encoder.relative_attention_bias.weight" in found


def test_what_cannot_be_followed_without_weights_is_all_of_the_base_below(monkeypatch) -> None:
    model = model_of("bert", "meta")

    def forward(**_):
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    monkeypatch.setattr(model.bert, "forward", forward)
    left = {name for name, _ in model.named_parameters()} - weights_below(model, 2)
    assert {name.split(".")[0] for name in left if "layer" not in name} == {"classifier"}
    assert {name.split(".")[3] for name in left if "layer" in name} == {"2", "3"}


def test_a_head_tied_to_the_embeddings_lies_below() -> None:
    tied = model_of("gpt2", auto=AutoModelForCausalLM)
    assert tied.lm_head.weight is tied.transformer.wte.weight
    assert "transformer.wte.weight" in weights_below(tied, 1)
    untied = model_of("falcon", auto=AutoModelForCausalLM)
    if untied.lm_head.weight is not untied.transformer.word_embeddings.weight:
        assert "lm_head.weight" not in weights_below(untied, 1)


def test_layers_that_share_one_block_are_refused() -> None:
    with pytest.raises(ModelError, match="has no list of its 4 layers, each with weights of its own"):
        blocks_of(model_of("albert", "meta"))
