"""Weights that no output depends on stay frozen; what a router or a zero hides from a batch still trains."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    EsmConfig,
    Gemma3Config,
    LlamaConfig,
    MixtralConfig,
)

from tuneproof.families import family_of
from tuneproof.families.models import ModelSource
from tuneproof.methods.full import FullOptions, apply_full
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.methods.unread_weights import unread_weights
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.ledger import parameter_ledger

SOURCE = ModelSource("a model", "no/where", "main", False)
DECODER = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": 0,
}
VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS = {
    "esm": EsmConfig(
        vocab_size=64,
        mask_token_id=4,
        pad_token_id=0,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    ),
    "gemma3": Gemma3Config(
        text_config={**DECODER, "head_dim": 8},
        vision_config={**VISION, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    ),
    "llama": LlamaConfig(**DECODER),
    "mixtral": MixtralConfig(**DECODER, num_local_experts=8),
}


def build(kind: str, device: str = "cpu"):
    with torch.device(device):
        return AutoModelForSequenceClassification.from_config(CONFIGS[kind])


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("kind", "unread"),
    [
        ("esm", ("esm.contact_head.",)),
        ("gemma3", ("model.vision_tower.", "model.multi_modal_projector.")),
        ("llama", ()),
        ("mixtral", ()),
    ],
)
def test_full_freezes_what_no_output_depends_on(kind, unread, device) -> None:
    model = apply_full(build(kind, device), family_of(CONFIGS[kind]), FullOptions())
    for name, weight in model.named_parameters():
        assert weight.requires_grad != name.startswith(unread or ("-",)), name


def test_with_layers_they_stay_frozen_too() -> None:
    model = apply_full(build("esm"), family_of(CONFIGS["esm"]), FullOptions(layers="last 1"))
    assert not model.esm.contact_head.regression.weight.requires_grad
    assert not model.esm.encoder.layer[0].output.dense.weight.requires_grad
    assert model.esm.encoder.layer[1].output.dense.weight.requires_grad


def test_the_ledger_counts_and_names_them() -> None:
    model = apply_full(build("esm"), family_of(CONFIGS["esm"]), FullOptions())
    ledger = parameter_ledger(model, pretrained_on_meta(SOURCE, CONFIGS["esm"]), family_of(CONFIGS["esm"]))
    (reason,) = (line.reason for line in ledger.lines if line.part == "not trained")
    assert reason.startswith("5 weights (esm.contact_head 5): frozen")
    assert ledger.trainable == ledger.total - 5


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_adapters_in_an_unread_tower_are_frozen_and_named_by_it(device) -> None:
    with torch.device(device):
        model = apply_lora(build("gemma3", device), family_of(CONFIGS["gemma3"]), LoraOptions(rank=2))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained
    assert not any("vision_tower" in name for name in trained)
    ledger = parameter_ledger(
        model, pretrained_on_meta(SOURCE, CONFIGS["gemma3"]), family_of(CONFIGS["gemma3"])
    )
    (reason,) = (line.reason for line in ledger.lines if line.part == "not trained")
    assert "(model.vision_tower " in reason


class Experts(torch.nn.Module):
    """Four experts, each a module of its own, of which the first alone is ever used."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(4))
        self.spare = torch.nn.Linear(16, 16)

    def forward(self, states):
        return self.experts[0](states)


def test_an_expert_that_no_token_reached_still_trains() -> None:
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"])
    model.model.layers[1].mlp = Experts()
    assert unread_weights(model) == ("model.layers.1.mlp.spare.weight", "model.layers.1.mlp.spare.bias")


def test_a_weight_behind_a_zero_still_trains() -> None:
    model = build("llama")
    torch.nn.init.zeros_(model.score.weight)
    assert unread_weights(model) == ()
