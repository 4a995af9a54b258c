"""LoRA beside routed experts in one tensor: each has its own update, which is learnt, saved and merged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, XLNetConfig

from tests.arms.small import arm_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.apply.labels import predict
from tuneproof.families import family_of
from tuneproof.inference.prediction import read_predictions
from tuneproof.methods.experts import expert_weights
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.record.study_folder import read_items

RANK = 4
KINDS = ("qwen2_moe", "qwen3_moe", "mixtral", "gpt_oss", "jamba")
TOKENS = torch.tensor([[5, 9, 3, 17, 30, 8], [7, 4, 4, 21, 2, 11]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("experts")
    return {kind: tiny_model(root / kind, kind) for kind in KINDS}


def base_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def adapted(folder, **options):
    model = base_of(folder)
    settings = LoraOptions(objective="words", rank=RANK, **options)
    return apply_lora(model, family_of(model.config), settings).eval()


@torch.no_grad()
def logits(model):
    return model(input_ids=TOKENS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_has_the_size_of_one_for_each_expert(folders, kind) -> None:
    weights = dict(base_of(folders[kind]).named_parameters())
    names = expert_weights(base_of(folders[kind]))
    assert names
    expected = sum(weights[n].shape[0] * RANK * (weights[n].shape[1] + weights[n].shape[2]) for n in names)
    trained = {n: p.numel() for n, p in adapted(folders[kind]).named_parameters() if p.requires_grad}
    assert sum(size for name, size in trained.items() if ".experts." in name) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_at_the_base_and_is_the_same_saved_and_merged(folders, tmp_path, kind) -> None:
    from peft import PeftModel

    model = adapted(folders[kind])
    assert torch.allclose(logits(model), logits(base_of(folders[kind])), atol=1e-5)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
    moved = {n: p for n, p in model.named_parameters() if ".experts." in n and "lora_B" in n}
    assert moved
    assert all(weight.abs().max() > 0 for weight in moved.values())
    learnt = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(base_of(folders[kind]), tmp_path / "adapter").eval()
    assert torch.allclose(logits(again), learnt, atol=1e-5)
    merged = again.merge_and_unload()
    assert torch.allclose(logits(merged), learnt, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.allclose(logits(base_of(tmp_path / "merged")), learnt, atol=1e-4)


def test_the_upper_blocks_alone_have_them_with_layers(folders) -> None:
    names = expert_weights(base_of(folders["mixtral"]), last=1)
    assert names
    assert all(".layers.1." in name for name in names)


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"variant": "dora"}, {"targets": ("q_proj",)}])
def test_what_peft_cannot_do_there_and_chosen_layers_leave_them_out(folders, options) -> None:
    names = [name for name, p in adapted(folders["mixtral"], **options).named_parameters() if p.requires_grad]
    assert names
    assert not any(".experts." in name for name in names)


def test_other_weights_of_three_dimensions_are_no_experts() -> None:
    config = XLNetConfig(vocab_size=50, d_model=16, n_layer=1, n_head=2, d_inner=32)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    assert any(weight.ndim == 3 for weight in model.parameters())
    assert expert_weights(model) == []


def test_an_arm_with_them_answers_new_rows_as_it_answered_test(folders, tmp_path) -> None:
    recipe = small_recipe(tmp_path, [folders["qwen3_moe"]], ["lora"])
    run_recorded(recipe)
    (folder,) = (Path(recipe.out) / "arms").glob("*.lora.*")
    assert "experts" not in " ".join(arm_of(recipe, "lora")["notes"])
    stored = read_predictions(folder / "predictions.parquet")
    again = predict(folder, read_items(Path(recipe.out), "test").texts)
    np.testing.assert_allclose(again.probabilities_NC, stored.probabilities_NC, atol=1e-5)
