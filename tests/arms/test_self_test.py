"""The self-test passes on sound arms, names what fails, and leaves nothing behind."""

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.arms.questions import question_models, question_recipe
from tests.arms.small import arm_of, context_of, prepare_arm, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import tuned
from tuneproof.arms.self_test import check_gradients, check_order, select_items, self_test
from tuneproof.errors import RunError
from tuneproof.families import unsupported
from tuneproof.models.load import load_model
from tuneproof.objectives.make import make_objective
from tuneproof.study.plan import check
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


def prepare(tmp_path, models, kind="distilbert", arm="full"):
    recipe = small_recipe(tmp_path, [models[kind]], [ARMS[arm]])
    return prepare_arm(recipe, recipe.arms[0].name)


def passes(prepared) -> bool:
    return self_test(prepared.context, prepared.model, prepared.objective)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "llama", "gemma2", "gpt2"])
def test_it_passes_on_every_kind_of_arm_and_leaves_nothing_behind(tmp_path, models, kind, arm) -> None:
    if "words" in arm and "bert" in kind:
        pytest.skip("an encoder continues no words")
    prepared = prepare(tmp_path, models, kind, arm)
    prepared.model.train()
    before = {name: p.detach().clone() for name, p in prepared.model.named_parameters()}
    assert passes(prepared)
    assert all(module.training for module in prepared.model.modules())
    assert all(p.grad is None for p in prepared.model.parameters())
    assert all(torch.equal(before[name], p) for name, p in prepared.model.named_parameters())


def test_an_output_that_depends_on_the_neighbours_is_named(tmp_path, models) -> None:
    prepared = prepare(tmp_path, models)
    prepared.model.classifier.register_forward_hook(
        lambda module, inputs, out: out + out.mean(0, keepdim=True) * len(out)
    )
    with pytest.raises(RunError, match=r"self-test failed: the logits of row-\d+ in a batch padded"):
        passes(prepared)


def test_one_padding_side_that_moves_positions_is_named(tmp_path, models) -> None:
    prepared = prepare(tmp_path, models, "gpt2", "lora, words")
    base = prepared.model.get_base_model().base_model
    forward = base.forward

    def without_positions(input_ids=None, attention_mask=None, position_ids=None, use_cache=None):
        return forward(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)

    base.forward = without_positions
    with pytest.raises(RunError, match="padded on the left differ"):
        passes(prepared)


def test_a_loss_that_micro_batches_change_is_named_with_the_worst_weight(tmp_path, models) -> None:
    prepared = prepare(tmp_path, models)
    loss = prepared.objective.loss

    def scaled(model, part):
        summed = loss(model, part)
        return LossSum(summed.sum * summed.count, summed.count, summed.tokens)

    prepared.objective.loss = scaled
    with pytest.raises(RunError, match=r"differs by 0\.5 .*two micro-batches, most of all at "):
        passes(prepared)


@pytest.mark.parametrize(("of_an_item", "passed"), [(40.0, True), (1.0, False)])
def test_gradients_that_cancel_may_differ_by_the_rounding_of_what_was_summed(
    tmp_path, models, monkeypatch, of_an_item, passed
) -> None:
    def gradients(context, model, objective, parts):
        value = 1.0003 if len(parts) == 2 else 1.0 if len(parts[0]) == 4 else of_an_item
        return {"weight": torch.tensor([value])}

    prepared = prepare(tmp_path, models)
    monkeypatch.setattr("tuneproof.arms.self_test._gradients", gradients)
    arguments = (prepared.context, prepared.model, prepared.objective, np.arange(4), 1e-4)
    with nullcontext() if passed else pytest.raises(RunError, match=r"differs by 0\.0003 "):
        check_gradients(*arguments)


def test_a_trained_weight_without_a_gradient_is_named(tmp_path, models) -> None:
    prepared = prepare(tmp_path, models)
    prepared.model.register_parameter("forgotten", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(RunError, match="forgotten should train and gets no gradient"):
        passes(prepared)


def test_a_failing_test_fails_the_arm_and_can_be_turned_off(tmp_path, models, monkeypatch) -> None:
    original = tuned.make_objective

    def make(context):
        objective = original(context)
        loss = objective.loss
        objective.loss = lambda model, part: replace(total := loss(model, part), sum=total.sum * total.count)
        return objective

    monkeypatch.setattr(tuned, "make_objective", make)
    recipe = small_recipe(tmp_path, [models["distilbert"]], ["full"], train={"micro_batch": 3})
    with pytest.raises(RunError, match="self-test failed"):
        run_recorded(recipe)
    assert "self_test: false" in arm_of(recipe, "full")["reason"]
    off = small_recipe(
        tmp_path, [models["distilbert"]], ["full"], train={"micro_batch": 3, "self_test": False}
    )
    run_recorded(off)
    assert "self-test" not in json.dumps(arm_of(off, "full")["time_s"])


def test_the_items_are_short_and_of_different_lengths() -> None:
    lengths = np.array([9, 3, 3, 5, 3, 8, 5, 40])
    assert lengths[select_items(lengths)].tolist() == [3, 5, 8, 9]
    assert sorted(select_items(np.array([4, 4, 4])).tolist()) == [0, 1, 2]
    assert select_items(np.array([7])).tolist() == [0]


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_a_prompted_model_is_tested_on_its_prompts(tmp_path, models, monkeypatch, kind) -> None:
    from tuneproof.arms import prompted

    passed, original = [], prompted.self_test_prompts

    def mix(module, inputs, out):
        states = out.last_hidden_state
        out.last_hidden_state = states + 0.1 * states.mean(0, keepdim=True) * len(states)
        return out

    def test_twice(context, model, rows, ids):
        passed.append(original(context, model, rows, ids))
        assert len({len(row) for row in rows}) > 1
        model.base_model.register_forward_hook(mix)
        return original(context, model, rows, ids)

    monkeypatch.setattr(prompted, "self_test_prompts", test_twice)
    recipe = small_recipe(tmp_path, [models[kind]], ["zero-shot"])
    with pytest.raises(RunError, match=r"self-test failed: the states of row-\d+ in a batch padded"):
        run_recorded(recipe)
    assert passed == [True]


def test_states_that_change_with_later_tokens_are_named() -> None:
    def in_order(rows, side):
        return [torch.tensor(row).float().cumsum(0)[:, None] for row in rows]

    def ahead(rows, side):
        return [torch.tensor(row).float().flip(0).cumsum(0)[:, None] for row in rows]

    row = np.arange(1, 7)
    check_order(in_order, row, "row-1", 1e-4, "zero-shot")
    with pytest.raises(RunError, match=r"row-1's first 3 tokens change by .* tokens that follow"):
        check_order(ahead, row, "row-1", 1e-4, "zero-shot")


@pytest.mark.parametrize("arm", ["zero-shot", {"full": {"objective": "words"}}])
def test_words_of_a_model_that_reads_ahead_are_refused(tmp_path, monkeypatch, arm) -> None:
    monkeypatch.setattr(unsupported, "READS_AHEAD", ())
    model = tiny_model(tmp_path / "m", "bert-generation")
    with pytest.raises(RunError, match=r"A model that reads ahead gives words no likelihood of their own"):
        run_recorded(small_recipe(tmp_path, [model], [arm]))


def test_features_that_depend_on_padding_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(unsupported, "MIXES_PADDING", ())
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / "m", "fnet")], ["head"])
    with pytest.raises(RunError, match="self-test failed: the states of row"):
        run_recorded(recipe)


@pytest.fixture(scope="module")
def span_models(tmp_path_factory):
    return question_models(tmp_path_factory.mktemp("span"), ("bert", "distilbert", "llama"))


def prepare_spans(tmp_path, model):
    """Context, model and objective of full fine-tuning of a head over spans."""
    context = context_of(check(question_recipe(tmp_path, [model], ["full"])), "full")
    spec = context.spec
    loaded = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="span", seed=0)
    return context, loaded.model, make_objective(context)


def mix(module, inputs, outputs):
    """Add the mean over the batch and its positions, so that outputs depend on neighbours and padding."""
    return outputs + outputs.mean((0, 1), keepdim=True) * outputs.shape[:2].numel()


@pytest.mark.parametrize("kind", ["bert", "distilbert", "llama"])
def test_it_passes_on_heads_over_spans(tmp_path, span_models, kind) -> None:
    assert self_test(*prepare_spans(tmp_path, span_models[kind]))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_spans_that_depend_on_the_neighbours_are_named(tmp_path, span_models, kind) -> None:
    context, model, objective = prepare_spans(tmp_path, span_models[kind])
    model.qa_outputs.register_forward_hook(mix)
    with pytest.raises(
        RunError, match=r"self-test failed: the logits of q\d+-\d in a batch padded on the right"
    ):
        self_test(context, model, objective)


@pytest.mark.parametrize("arm", ["head", "full"])
def test_a_base_whose_spans_depend_on_padding_fails_the_arm(tmp_path, monkeypatch, arm) -> None:
    monkeypatch.setattr(unsupported, "MIXES_PADDING", ())
    recipe = question_recipe(tmp_path, [tiny_model(tmp_path / "m", "convbert")], [arm])
    with pytest.raises(
        RunError, match=r"self-test failed: the states of q\d+-\d in a batch padded on the right"
    ):
        run_recorded(recipe)


@pytest.mark.parametrize(
    ("arms", "tests"),
    [
        (
            ["zero-shot", {"few-shot": {"shots": 1}}],
            ["zero-shot", "few-shot"],
        ),  # longer prompts are tested again
        (["lora", {"lora": {"name": "wide", "rank": 4}}], ["lora", "wide"]),
    ],
)
def test_seeds_share_the_test_of_an_arm(tmp_path, models, monkeypatch, arms, tests) -> None:
    from tuneproof.arms import prompted, tuned

    names = []

    def record(original, context, *arguments):
        names.append(context.arm.name)
        return original(context, *arguments)

    for module, name in ((prompted, "self_test_prompts"), (tuned, "self_test")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, partial(record, original))
    run_recorded(small_recipe(tmp_path, [models["llama"]], arms, seeds=[0, 1, 2]))
    assert names == tests


def test_a_seed_after_one_that_failed_is_tested(tmp_path, models, monkeypatch) -> None:
    from tuneproof.arms import tuned

    seeds, original = [], tuned.self_test

    def fail_first(context, *arguments):
        seeds.append(context.seed)
        if len(seeds) == 1:
            raise RunError("lora", "the self-test failed")
        return original(context, *arguments)

    monkeypatch.setattr(tuned, "self_test", fail_first)
    with pytest.raises(RunError, match="self-test failed"):
        run_recorded(small_recipe(tmp_path, [models["bert"]], ["lora"], seeds=[0, 1, 2]))
    assert seeds == [0, 1]
