"""Models that skip padding: the same outputs and gradients, in every family, and nothing left behind."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from tuneproof.families import FAMILIES
from tuneproof.families.blocks import blocks_of
from tuneproof.models.heads import class_logits
from tuneproof.models.lm_logits import lm_head_logits
from tuneproof.models.prefix_cache import shares_prefixes
from tuneproof.models.unpadded import NAME, ROTARY, STACKS, Layout, skip_padding

SIZES = {
    "vocab_size": 60,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "embedding_size": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DISTILLED = {"vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
DECODER = SIZES | {
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 4,
    "max_position_embeddings": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
LENGTHS = (3, 9, 1, 6)


def model_of(name: str):
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **(DISTILLED if name == "distilbert" else SIZES))
    return AutoModelForSequenceClassification.from_config(config).eval()


def batch_of(lengths=LENGTHS):
    torch.manual_seed(1)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.randint(3, 60, mask.shape) * mask, "attention_mask": mask}


def rows_read(model) -> list[int]:
    """How many rows each call of the first layer's feed-forward got."""
    base = model.base_model
    stack = getattr(base, "encoder", None) or base.transformer
    linear = next(m for n, m in stack.named_modules() if n.endswith(("intermediate.dense", "lin1", "ffn")))
    found: list[int] = []
    linear.register_forward_hook(lambda _, args, out: found.append(out.shape[:-1].numel()))
    return found


@pytest.mark.parametrize("name", STACKS)
def test_logits_and_gradients_are_those_of_the_padded_batch(name):
    plain, skipping = model_of(name), model_of(name)
    batch = batch_of()
    read = rows_read(skipping)
    expected = plain(**batch).logits
    with skip_padding(skipping.base_model, batch["attention_mask"]):
        found = skipping(**batch).logits
    assert set(read) == {sum(LENGTHS)}
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for logits in (expected, found):
        logits.square().sum().backward()
    for one, other in zip(plain.parameters(), skipping.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def decoder_of(name: str):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **DECODER)).eval()


def left_padded():
    torch.manual_seed(1)
    mask = (torch.arange(max(LENGTHS)) >= max(LENGTHS) - torch.tensor(LENGTHS)[:, None]).long()
    ids, positions = torch.randint(3, 60, mask.shape) * mask, (mask.cumsum(1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def rows_of_layers(model) -> list[int]:
    """How many rows each call of a linear layer of the first block got; an expert gets some of them."""
    read: list[int] = []
    for module in blocks_of(model.base_model).modules[0].modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, args, out: read.append(out.shape[:-1].numel()))
    return read


@pytest.mark.parametrize(
    ("name", "recompute"), [*((name, False) for name in sorted(ROTARY)), ("gemma3_text", True)]
)
def test_decoders_score_answers_and_learn_as_on_the_padded_batch(name, recompute):
    plain, skipping = decoder_of(name), decoder_of(name)
    batch, last = left_padded(), torch.arange(len(LENGTHS))
    if recompute:
        skipping.train().gradient_checkpointing_enable()
    read = rows_of_layers(skipping)
    expected = plain(**batch, use_cache=False).logits[:, -1]
    scored = lm_head_logits(skipping, batch, 1, last)
    assert max(read) == sum(LENGTHS)
    torch.testing.assert_close(scored, expected, rtol=0, atol=1e-6)
    for logits in (expected, scored):
        logits.square().sum().backward()
    for one, other in zip(plain.parameters(), skipping.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mixtral", "olmoe", "qwen3_moe"])
def test_a_mixture_that_returns_what_its_router_computes_reads_padded_batches(name):
    model, batch, last = decoder_of(name), left_padded(), torch.arange(len(LENGTHS))
    expected = lm_head_logits(model, batch, 1, last)
    model.config.output_router_logits = True
    torch.testing.assert_close(lm_head_logits(model, batch, 1, last), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_compiled_layers_read_padded_batches(index):
    model, batch = decoder_of("llama"), left_padded()
    layer = model.model.layers[index]
    layer._compiled_call_impl = layer._call_impl
    read = rows_of_layers(model)
    lm_head_logits(model, batch, 1, torch.arange(len(LENGTHS)))
    assert set(read) == {batch["input_ids"].numel()}


def test_a_decoder_that_skipped_padding_shares_prefixes_and_generates_as_before():
    plain, used = decoder_of("llama"), decoder_of("llama")
    batch = left_padded()
    lm_head_logits(used, batch, 1, torch.arange(len(LENGTHS)))
    assert used.config._attn_implementation == NAME
    assert shares_prefixes(plain)
    assert shares_prefixes(used)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    texts = [model.generate(**inputs, max_new_tokens=5, do_sample=False) for model in (plain, used)]
    assert texts[0].equal(texts[1])


def test_recomputed_activations_skip_padding_too():
    plain, skipping = model_of("bert").train(), model_of("bert").train()
    skipping.gradient_checkpointing_enable()
    batch = batch_of()
    with skip_padding(skipping.base_model, batch["attention_mask"]):
        found = skipping(**batch).logits
    found.sum().backward()  # the layers run again, outside the context
    plain(**batch).logits.sum().backward()
    for one, other in zip(plain.parameters(), skipping.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_a_model_that_once_skipped_padding_reads_padded_batches_and_saves_as_before(tmp_path):
    plain, used = model_of("bert"), model_of("bert")
    batch = batch_of()
    with skip_padding(used.base_model, batch["attention_mask"]):
        used(**batch)
    torch.testing.assert_close(used(**batch).logits, plain(**batch).logits, rtol=0, atol=1e-6)
    used.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


def test_a_head_takes_it_as_it_comes_on_either_padding_side():
    model = model_of("bert")
    right = batch_of()
    left = {
        name: torch.stack([row.roll(max(LENGTHS) - n) for row, n in zip(values, LENGTHS, strict=True)])
        for name, values in right.items()
    }
    read = rows_read(model)
    found = class_logits(model, FAMILIES["bert"], left)
    assert set(read) == {sum(LENGTHS)}
    torch.testing.assert_close(found, model_of("bert")(**right).logits, rtol=0, atol=1e-6)


def test_without_padding_and_with_other_attention_nothing_changes():
    full = batch_of((5, 5))
    model = model_of("bert")
    read = rows_read(model)
    with skip_padding(model.base_model, full["attention_mask"]):
        model(**full)
    eager = model_of("bert")
    eager.set_attn_implementation("eager")
    more = rows_read(eager)
    with skip_padding(eager.base_model, batch_of()["attention_mask"]):
        eager(**batch_of())
    assert (read, more) == ([10], [len(LENGTHS) * max(LENGTHS)])


@pytest.mark.parametrize("name", ["modernbert", "deberta-v2"])
def test_encoders_whose_layers_count_positions_read_padding_as_transformers_does(name):
    model = model_of(name)
    batch = batch_of()
    read: list[int] = []
    layer = next(module for module in model.modules() if module.__class__.__name__.endswith("Attention"))
    layer.register_forward_hook(lambda module, args, output: read.append(output[0].shape[-2]))
    expected = model(**batch).logits
    with skip_padding(model.base_model, batch["attention_mask"]):
        assert model(**batch).logits.equal(expected)
    assert read == [max(LENGTHS)] * 2
    assert model.config._attn_implementation in ("sdpa", "eager"), "no kernel that a CPU lacks"


def test_what_is_gathered_comes_back_with_zeros_at_padding():
    states = torch.arange(12.0).reshape(2, 3, 2)
    layout = Layout(torch.tensor([0, 3, 4]), 2, 3)
    back = layout.pad(layout.gather(states))
    assert back.flatten(0, 1)[[0, 3, 4]].equal(states.flatten(0, 1)[[0, 3, 4]])
    assert back.flatten(0, 1)[[1, 2, 5]].count_nonzero() == 0
