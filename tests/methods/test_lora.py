"""LoRA's size, by the paper's formula and by published counts."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from tests.arms.small import prepare_arm, small_recipe
from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.families import family_of
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.ledger import parameter_ledger

LLAMA_1B = LlamaConfig(
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    tie_word_embeddings=True,
    num_labels=2,
)


def trainable(model) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def by_formula(model, family, rank: int, targets: str = "all-linear") -> int:
    """Sum of r(in + out) over the targets (Hu et al. 2021, section 4.2)."""
    ends = tuple(family.adapter_targets(model, targets))
    return sum(
        rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.endswith(ends)
    )


@pytest.mark.parametrize(("objective", "published"), [("words", 5_636_096), ("head", 5_640_192)])
def test_llama_1b_with_rank_8_trains_what_the_formula_says(objective, published) -> None:
    family = family_of(LLAMA_1B)
    auto = LlamaForCausalLM if objective == "words" else LlamaForSequenceClassification
    with torch.device("meta"):
        model = auto(LLAMA_1B)
        expected = by_formula(model, family, 8) + (0 if objective == "words" else 2 * 2048)
        adapted = apply_lora(model, family, LoraOptions(rank=8, objective=objective))
    assert expected == published
    assert trainable(adapted) == published


def test_distilbert_counts_both_layers_of_its_classifier() -> None:
    config = DistilBertConfig(num_labels=2)
    with torch.device("meta"):
        model = DistilBertForSequenceClassification(config)
        assert sum(p.numel() for p in model.parameters()) == 66_955_010
        formula = by_formula(model, family_of(config), 16)
        adapted = apply_lora(model, family_of(config), LoraOptions(rank=16))
    assert formula == 6 * 16 * (4 * (768 + 768) + 2 * (768 + 3072))
    assert trainable(adapted) == formula + 590_592 + 1_538


def test_attention_targets_leave_the_feed_forward_layers_alone() -> None:
    family = family_of(LLAMA_1B)
    with torch.device("meta"):
        model = LlamaForCausalLM(LLAMA_1B)
        formula = by_formula(model, family, 4, "attention")
        adapted = apply_lora(model, family, LoraOptions(rank=4, objective="words", targets="attention"))
    assert trainable(adapted) == formula
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert names
    assert not any("mlp" in name for name in names)


def scaled(variant: str) -> float:
    config = tiny_config("llama", tiny_tokenizer("llama"))
    model = LlamaForCausalLM(config)
    options = LoraOptions(rank=4, alpha=8, objective="words", variant=variant)
    adapted = apply_lora(model, family_of(config), options)
    layer = adapted.base_model.model.model.layers[0].self_attn.q_proj
    return layer.scaling["default"]


def test_the_update_is_scaled_by_alpha_over_rank_or_its_root() -> None:
    assert scaled("none") == pytest.approx(2.0)
    assert scaled("rslora") == pytest.approx(4.0)


def test_a_pooler_that_the_checkpoint_lacks_is_not_left_random(tmp_path) -> None:
    tokenizer = tiny_tokenizer("bert")
    folder = tmp_path / "bert"
    BertForMaskedLM(tiny_config("bert", tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    prepared = prepare_arm(small_recipe(tmp_path, [folder], ["lora"]), "lora")
    modules = {
        name.split(".modules_to_save.")[0].removeprefix("base_model.model.")
        for name, p in prepared.model.named_parameters()
        if p.requires_grad and ".modules_to_save." in name
    }
    assert modules == {"bert.pooler.dense", "classifier"}
    prepared.model.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert any("pooler" in name for name in saved)
    skeleton = pretrained_on_meta(prepared.spec.source, prepared.spec.config)
    ledger = parameter_ledger(prepared.model, skeleton, prepared.spec.family)
    assert ledger.base + sum(line.count for line in ledger.lines) == ledger.total


def test_dora_adds_one_magnitude_an_output() -> None:
    config = tiny_config("llama", tiny_tokenizer("llama"))
    sizes = {}
    for variant in ("none", "dora"):
        model = LlamaForCausalLM(config)
        outs = sum(
            module.out_features
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and ".layers." in f".{name}"
        )
        options = LoraOptions(rank=4, objective="words", variant=variant)
        sizes[variant] = trainable(apply_lora(model, family_of(config), options))
    assert sizes["dora"] - sizes["none"] == outs
