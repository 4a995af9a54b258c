"""A sharded model computes and trains as the whole one does; here one process holds every shard."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from tuneproof.data.tokens import pad_batch
from tuneproof.families import family_of
from tuneproof.models.fsdp import clip_gradients, is_shard, local_part, shard, unsharded
from tuneproof.models.heads import class_logits, inner_model
from tuneproof.train.optimizer import make_optimizer

SIZES = {
    "vocab_size": 60,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}
DISTILLED = {"vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
DISTILLED |= {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
NAMES = ("distilbert", "llama", "albert")


@pytest.fixture(scope="module", autouse=True)
def group_of_one(tmp_path_factory) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def model_of(name: str, auto=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    sizes = DISTILLED if name == "distilbert" else SIZES
    no_dropout = {"hidden_dropout_prob": 0.0, "classifier_dropout_prob": 0.0} if name == "albert" else {}
    return auto.from_config(AutoConfig.for_model(name, **sizes, **no_dropout))


def batch_of() -> dict[str, torch.Tensor]:
    return pad_batch([[5, 6, 7], [8, 9], [10, 11, 12, 13, 14]], 0, "right")


def loss_of(model, dtype: torch.dtype | None = None) -> torch.Tensor:
    family = family_of(model.config)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        logits = class_logits(model, family, batch_of())
    return torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 1]), reduction="sum")


def gradients_of(model) -> dict[str, torch.Tensor]:
    return {n: local_part(p.grad) for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_head_has_the_gradients_of_the_whole_model_to_the_bit(name, dtype) -> None:
    whole = model_of(name)
    sharded = copy.deepcopy(whole)
    shard(sharded, dtype)
    losses = [loss_of(model, dtype) for model in (whole, sharded)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    expected, gradients = gradients_of(whole), gradients_of(sharded)
    assert gradients.keys() == expected.keys()
    for key, gradient in expected.items():
        assert gradients[key].dtype == torch.float32
        torch.testing.assert_close(gradients[key], gradient, rtol=0, atol=0, msg=key)


def test_blocks_are_gathered_in_half_precision_and_held_in_float32() -> None:
    model = model_of("llama")
    shard(model, torch.bfloat16)
    held = dict(model.named_parameters())
    assert {p.dtype for p in held.values()} == {torch.float32}
    assert {n for n, p in held.items() if not is_shard(p)} == {n for n, p in held.items() if p.ndim < 2}
    with unsharded(model):
        half = {n for n, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert half == {n for n, p in held.items() if ".layers." in n and p.ndim == 2}


@pytest.mark.parametrize("name", NAMES)
def test_clipped_steps_move_shards_and_vectors_as_whole_weights(name) -> None:
    whole = model_of(name)
    sharded = copy.deepcopy(whole)
    shard(sharded)
    norms = []
    for model in (whole, sharded):
        optimizer = make_optimizer(model, 1e-3, 0.1)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        for _ in range(3):
            loss_of(model).backward()
            norms.append(float(clip_gradients(trained, 0.5)))
            clipped = torch.cat([g.flatten() for g in gradients_of(model).values()])
            assert float(clipped.norm()) == pytest.approx(0.5, rel=1e-4)
            optimizer.step()
            optimizer.zero_grad()
    assert norms[:3] == pytest.approx(norms[3:], rel=1e-5)
    for (key, ours), theirs in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(local_part(ours), theirs, rtol=0, atol=2e-6, msg=key)


def test_a_part_may_be_called_before_the_first_step() -> None:
    """A resumed arm evaluates first, and label likelihoods call the base alone."""
    model = model_of("llama", AutoModelForCausalLM)
    shard(model)
    batch = batch_of()
    with unsharded(model), torch.inference_mode():
        inner_model(model).base_model(input_ids=batch["input_ids"])
    model(input_ids=batch["input_ids"]).logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
