"""The arithmetic of training: the counter's figures are those that one counts by hand."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from tests.train.tiny import collate_labels, labels_loss, llama_head
from tuneproof.models.oom import recompute_activations
from tuneproof.throughput.flops import TrainingCost, measure_training_cost
from tuneproof.train.gradients import LossSum

CPU = torch.device("cpu")
ROWS = [([5, 6, 7, 8, 9, 10, 11], 1, 0), ([3, 4, 5], 0, 0)]


def count(model, parts=None, loss=labels_loss, recompute=False) -> TrainingCost:
    parts = [collate_labels([row]) for row in ROWS] if parts is None else parts
    return measure_training_cost(model, loss, parts, CPU, nullcontext, recompute)


def stack_loss(model, part) -> LossSum:
    return LossSum(model(part["values"]).square().sum(), len(part["values"]), len(part["values"]))


def stack(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))


def test_a_stack_of_linear_layers_counts_as_by_hand() -> None:
    model = stack(8, 16, 4)
    part = {"values": torch.ones(5, 8)}
    forward = 2 * (8 * 16 + 16 * 4)
    backward = forward + 2 * 16 * 4  # weights of both, activations above the first alone
    cost = count(model, [part], stack_loss)
    assert cost.flops == 5 * (forward + backward)
    assert (cost.tokens, cost.flops_per_token) == (5, forward + backward)
    weights = 4 * (8 * 16 + 16 + 16 * 4 + 4)
    assert cost.trained_bytes == cost.dense_trained_bytes == weights
    assert cost.weights_bytes == weights + 4 * (16 * 4 + 4)  # the backward pass reads the second
    assert cost.step_bytes(1) == cost.weights_bytes + 8 * weights
    assert cost.step_bytes(3) == 3 * cost.weights_bytes + 12 * weights


def test_nothing_counts_below_the_lowest_trained_layer() -> None:
    model = stack(8, 16, 4)
    model[0].requires_grad_(False)
    cost = count(model, [{"values": torch.ones(5, 8)}], stack_loss)
    assert cost.flops_per_token == 2 * (8 * 16 + 16 * 4) + 2 * 16 * 4


def test_activations_pass_through_a_frozen_layer_and_its_weight_costs_nothing() -> None:
    model = stack(8, 16, 4)
    model[1].requires_grad_(False)
    cost = count(model, [{"values": torch.ones(5, 8)}], stack_loss)
    assert cost.flops_per_token == 2 * (8 * 16 + 16 * 4) + 2 * 16 * 4 + 2 * 8 * 16


def test_lora_counts_less_backward_than_full_fine_tuning() -> None:
    full = count(llama_head())
    lora = count(get_peft_model(llama_head(), LoraConfig(r=1, target_modules=["q_proj", "v_proj"])))
    assert lora.flops < 0.85 * full.flops
    assert lora.trained_bytes < full.trained_bytes
    assert lora.step_bytes(1) < full.step_bytes(1)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_decoder_counts_as_by_hand_and_attention_as_its_products(attention) -> None:
    model = llama_head()
    model.set_attn_implementation(attention)
    blocks = 2 * (16 * 16 * 2 + 2 * 16 * 8 + 3 * 16 * 32)  # 2 layers: q, o; k, v; gate, up, down
    expected = 0
    for tokens, _, _ in ROWS:
        size = len(tokens)
        linear = 2 * size * (blocks + 3 * 16)  # the head reads every position
        products = 2 * 2 * 2 * size * size * 16  # 2 layers, scores and states, 4 heads of 4
        expected += 3 * (linear + products)
    cost = count(model)
    # the angles of rotary positions are a small product too, left aside by hand
    assert cost.flops == pytest.approx(expected, rel=0.01)
    assert cost.tokens == 10


def test_what_checkpointing_computes_again_does_not_count() -> None:
    plain, again = llama_head(), llama_head()
    recompute_activations(again)
    cost = count(again, recompute=True)
    assert cost.flops == pytest.approx(count(plain).flops, rel=0.02)


def test_counting_leaves_no_trace() -> None:
    model = llama_head()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    count(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_embeddings_are_looked_up_and_tied_ones_count_where_logits_are() -> None:
    class Tied(nn.Module):
        def __init__(self, logits: bool) -> None:
            super().__init__()
            self.words = nn.Embedding(50, 8)
            self.out = nn.Linear(8, 50 if logits else 2, bias=False)
            if logits:
                self.out.weight = self.words.weight

        def forward(self, ids):
            return self.out(self.words(ids)[:, -1:])

    def loss(model, part) -> LossSum:
        return LossSum(model(part["ids"]).sum(), 1, part["ids"].numel())

    part = {"ids": torch.arange(10)[None]}
    tied, apart = count(Tied(True), [part], loss), count(Tied(False), [part], loss)
    assert tied.flops == 3 * 2 * 8 * 50  # one position of ten
    assert apart.flops == 3 * 2 * 8 * 2
    assert tied.dense_trained_bytes == tied.trained_bytes == 4 * 50 * 8
    assert apart.dense_trained_bytes == 4 * 2 * 8


def test_experts_count_as_the_one_matrix_that_a_row_meets() -> None:
    if not hasattr(torch, "_grouped_mm"):
        pytest.skip("this torch has no grouped product")
    experts = nn.Parameter(torch.ones(3, 16, 8, dtype=torch.bfloat16))
    ends = torch.tensor([2, 2, 6], dtype=torch.int32)

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = experts

        def forward(self, values):
            return torch._grouped_mm(values, self.weight, offs=ends)

    part = {"values": torch.ones(6, 16, dtype=torch.bfloat16)}
    cost = count(Experts(), [part], stack_loss)
    assert cost.flops == 2 * (2 * 6 * 16 * 8)  # forward, and the weight's gradient
