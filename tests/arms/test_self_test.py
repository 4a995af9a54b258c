"""The self-test passes on what is right, names what is wrong, and leaves nothing behind."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.arms.small import arm_of, begin, follow, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.arms import tuned
from tuneproof.arms.self_test import self_test, some_items
from tuneproof.errors import RunError
from tuneproof.train.gradients import LossSum

ARMS = {
    "full": "full",
    "full, words": {"full": {"objective": "words"}},
    "lora": "lora",
    "lora, words": {"lora": {"objective": "words"}},
    "lp-ft": {"lp-ft": {"then": "lora"}},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {k: tiny_model(root / k, k) for k in ("bert", "distilbert", "llama", "gemma2", "gpt2")}


def begun(tmp_path, models, kind="distilbert", arm="full"):
    recipe = small_recipe(tmp_path, [models[kind]], [ARMS[arm]])
    return begin(recipe, recipe.arms[0].name)


def proved(b) -> bool:
    return self_test(b.model, b.objective, b.ready, b.compute, False, "arm")


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "llama", "gemma2", "gpt2"])
def test_it_passes_on_every_kind_of_arm_and_leaves_nothing_behind(tmp_path, models, kind, arm) -> None:
    if "words" in arm and "bert" in kind:
        pytest.skip("an encoder continues no words")
    b = begun(tmp_path, models, kind, arm)
    b.model.train()
    before = {name: p.detach().clone() for name, p in b.model.named_parameters()}
    assert proved(b)
    assert all(module.training for module in b.model.modules())
    assert all(p.grad is None for p in b.model.parameters())
    assert all(torch.equal(before[name], p) for name, p in b.model.named_parameters())


def test_an_output_that_depends_on_the_neighbours_is_named(tmp_path, models) -> None:
    b = begun(tmp_path, models)
    b.model.classifier.register_forward_hook(
        lambda module, given, out: out + out.mean(0, keepdim=True) * len(out)
    )
    with pytest.raises(RunError, match=r"self-test failed: the logits of row-\d+ in a batch padded"):
        proved(b)


def test_one_padding_side_that_moves_positions_is_named(tmp_path, models) -> None:
    b = begun(tmp_path, models, "gpt2", "lora, words")
    base = b.model.get_base_model().base_model
    forward = base.forward

    def without_positions(input_ids=None, attention_mask=None, position_ids=None, use_cache=None):
        return forward(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)

    base.forward = without_positions
    with pytest.raises(RunError, match="padded on the left differ"):
        proved(b)


def test_a_loss_that_micro_batches_change_is_named_with_the_worst_weight(tmp_path, models) -> None:
    b = begun(tmp_path, models)
    loss = b.objective.loss

    def scaled(model, part):
        found = loss(model, part)
        return LossSum(found.sum * found.count, found.count, found.tokens)

    b.objective.loss = scaled
    with pytest.raises(RunError, match=r"differs by 0\.5 .*two micro-batches, most of all at "):
        proved(b)


def test_a_trained_weight_without_a_gradient_is_named(tmp_path, models) -> None:
    b = begun(tmp_path, models)
    b.model.register_parameter("forgotten", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(RunError, match="forgotten is to be trained and gets no gradient"):
        proved(b)


def test_a_failing_test_fails_the_arm_and_can_be_turned_off(tmp_path, models, monkeypatch) -> None:
    original = tuned.make_objective

    def made(*given):
        objective = original(*given)
        loss = objective.loss
        objective.loss = lambda model, part: replace(found := loss(model, part), sum=found.sum * found.count)
        return objective

    monkeypatch.setattr(tuned, "make_objective", made)
    recipe = small_recipe(tmp_path, [models["distilbert"]], ["full"], train={"micro_batch": 3})
    with pytest.raises(RunError, match="self-test failed"):
        follow(recipe)
    assert "self_test: false" in arm_of(recipe, "full")["reason"]
    off = small_recipe(
        tmp_path, [models["distilbert"]], ["full"], train={"micro_batch": 3, "self_test": False}
    )
    follow(off)
    assert "self-test" not in json.dumps(arm_of(off, "full")["time_s"])


def test_the_items_are_short_and_of_different_lengths() -> None:
    lengths = np.array([9, 3, 3, 5, 3, 8, 5, 40])
    assert lengths[some_items(lengths)].tolist() == [3, 5, 8, 9]
    assert sorted(some_items(np.array([4, 4, 4])).tolist()) == [0, 1, 2]
    assert some_items(np.array([7])).tolist() == [0]


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_model_that_is_asked_is_tested_on_its_prompts(tmp_path, models, monkeypatch, kind) -> None:
    from tuneproof.arms import prompted

    proved, original = [], prompted.prove_prompts

    def mixed(module, given, out):
        states = out.last_hidden_state
        out.last_hidden_state = states + 0.1 * states.mean(0, keepdim=True) * len(states)
        return out

    def prove(model, rows, *rest):
        proved.append(original(model, rows, *rest))
        assert len({len(row) for row in rows}) > 1
        model.base_model.register_forward_hook(mixed)
        return original(model, rows, *rest)

    monkeypatch.setattr(prompted, "prove_prompts", prove)
    recipe = small_recipe(tmp_path, [models[kind]], ["zero-shot"])
    with pytest.raises(RunError, match=r"self-test failed: the states of row-\d+ in a batch padded"):
        follow(recipe)
    assert proved == [True]
