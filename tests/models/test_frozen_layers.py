"""Frozen layers: skipped where their states are cached, run where they are not."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from tuneproof.data.tokens import pad_batch
from tuneproof.families import family_of
from tuneproof.families.blocks import blocks_of
from tuneproof.models.activation_cache import ActivationCache, TokenRow, write_states
from tuneproof.models.frozen_layers import FrozenLayers
from tuneproof.models.heads import class_logits
from tuneproof.models.lm_logits import lm_head_logits
from tuneproof.models.oom import AdaptiveBatchSize

SIZES = {
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "embedding_size": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
OWN = {
    "distilbert": {"vocab_size": 60, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48},
    "gpt2": {"vocab_size": 60, "n_embd": 32, "n_layer": 4, "n_head": 4, "pad_token_id": 0},
    "gemma2": {**DECODER, "sliding_window": 3, "query_pre_attn_scalar": 8},
    "mistral": {**DECODER, "sliding_window": 3},
    "gemma3_text": {**DECODER, "sliding_window": 3, "sliding_window_pattern": 2, "query_pre_attn_scalar": 8},
    "qwen3": DECODER,
    "modernbert-decoder": {
        **SIZES,
        "local_attention": 6,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 1,
        "sep_token_id": 2,
    },
    "llama": DECODER,
    "falcon": {**SIZES, "alibi": False},
    "modernbert": {**SIZES, "local_attention": 4, "global_attn_every_n_layers": 2},
}
ENCODERS = ("bert", "distilbert", "roberta", "electra", "mpnet", "deberta-v2", "modernbert")
DECODERS = (
    "llama",
    "gemma2",
    "gemma3_text",
    "qwen3",
    "modernbert-decoder",
    "mistral",
    "gpt2",
    "falcon",
    "opt",
)
ROWS = [TokenRow(np.array(row)) for row in ([1, 5, 9, 8, 7, 6, 40], [1, 7], [1, 11, 12, 13, 14])]
CPU = torch.device("cpu")


def model_of(kind: str, auto=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **OWN.get(kind, SIZES))
    return auto.from_config(config), family_of(config)


def autocast():
    return torch.autocast("cpu", enabled=False)


def cached(frozen: FrozenLayers, family, folder) -> ActivationCache:
    assert frozen.compute_states(family, ROWS[:1], 0, CPU) is not None
    write_states(folder, ROWS, frozen.compute_batches(family, ROWS, 0, AdaptiveBatchSize(2), CPU, autocast))
    cache = ActivationCache()
    cache.add(folder)
    return cache


def calls_of(model) -> list[int]:
    """Numbers of the blocks whose linear layers run."""
    calls: list[int] = []
    for index, block in enumerate(blocks_of(model).modules):
        for module in block.modules():
            if not list(module.children()) and list(module.parameters()):
                module.register_forward_hook(lambda *_, index=index: calls.append(index))
                break
    return calls


def batch_of(side="right", rows=ROWS):
    return pad_batch([row.ids for row in rows], 0, side)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ENCODERS + DECODERS)
def test_from_cached_states_the_logits_are_those_of_the_whole_model(tmp_path, kind, side) -> None:
    model, family = model_of(kind)
    model.eval()
    batch = batch_of(side)
    expected = class_logits(model, family, batch)
    assert expected.std() > 1e-4, "the logits say nothing, so the test would"
    frozen = FrozenLayers(model, 2)
    torch.testing.assert_close(class_logits(model, family, batch), expected, rtol=0, atol=1e-6)
    ran = calls_of(model)
    frozen.cache = cached(frozen, family, tmp_path / "states-a")
    assert set(ran) == {0, 1}, "reading the frozen stops where it ends"
    ran.clear()
    logits = class_logits(model, family, batch)
    torch.testing.assert_close(logits, expected, rtol=0, atol=5e-6)  # other kernels round otherwise
    assert set(ran) == {2, 3}


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_states_are_used_and_not_computed_again(tmp_path, kind) -> None:
    model, family = model_of(kind)
    frozen = FrozenLayers(model.eval(), 2)
    frozen.cache = cached(frozen, family, tmp_path / "states-a")
    before = class_logits(model, family, batch_of())
    with torch.no_grad():
        for parameter in blocks_of(model).modules[0].parameters():
            parameter.zero_()
    torch.testing.assert_close(class_logits(model, family, batch_of()), before)
    frozen.cache = None
    assert not torch.allclose(class_logits(model, family, batch_of()), before, atol=1e-4)


@pytest.mark.parametrize("kind", DECODERS)
def test_words_after_left_padded_prompts_have_the_same_logits(tmp_path, kind) -> None:
    model, family = model_of(kind, AutoModelForCausalLM)
    model.eval()
    batch, positions = batch_of("left"), torch.arange(6)
    expected = lm_head_logits(model, batch, 2, positions)
    frozen = FrozenLayers(model, 1)
    frozen.cache = cached(frozen, family, tmp_path / "states-a")
    torch.testing.assert_close(lm_head_logits(model, batch, 2, positions), expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_row_that_is_not_cached_runs_through_the_whole_model(tmp_path, kind) -> None:
    model, family = model_of(kind)
    model.eval()
    batch = batch_of(rows=[ROWS[0], TokenRow(np.array([1, 33, 34]))])
    expected = class_logits(model, family, batch)
    frozen = FrozenLayers(model, 2)
    frozen.cache = cached(frozen, family, tmp_path / "states-a")
    torch.testing.assert_close(class_logits(model, family, batch), expected, rtol=0, atol=1e-6)


def test_generation_fills_its_cache_from_the_whole_model(tmp_path) -> None:
    model, family = model_of("llama", AutoModelForCausalLM)
    batch = batch_of("left")
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    expected = model.eval().generate(**inputs, **options)
    frozen = FrozenLayers(model, 2)
    frozen.cache = cached(frozen, family, tmp_path / "states-a")
    assert torch.equal(model.generate(**inputs, **options), expected)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2"])
def test_in_training_the_frozen_has_no_dropout_and_no_graph(kind) -> None:
    model, family = model_of(kind)
    FrozenLayers(model.train(), 1)
    ran = []
    blocks = blocks_of(model).modules
    blocks[-1].register_forward_pre_hook(lambda _, args: ran.append(args[0]))
    class_logits(model, family, batch_of())
    class_logits(model, family, batch_of())
    assert torch.equal(ran[0], ran[1])
    assert not ran[0].requires_grad
    dropouts = [m for m in blocks[-1].modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts
    assert all(module.training for module in dropouts), "above the frozen dropout stays on"


@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_of_the_upper_layers_are_the_same(tmp_path, kind, recompute) -> None:
    gradients = []
    for is_cached in (False, True):
        model, family = model_of(kind)
        if recompute:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        frozen = FrozenLayers(model, 2)
        if is_cached:
            frozen.cache = cached(frozen, family, tmp_path / "states-a")
            model.train()
        class_logits(model, family, batch_of()).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert any(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        if gradient is None or not gradient.any():
            assert gradients[1][name] is None or not gradients[1][name].any(), name
        else:
            torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_names_of_weights_and_what_is_saved_stay_the_same(tmp_path) -> None:
    model, _ = model_of("bert")
    names = list(model.state_dict())
    FrozenLayers(model, 2)
    assert list(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
