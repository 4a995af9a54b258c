"""What a training step does, and what the caller may do between two of them."""

import itertools
import math

import pytest
import torch

from tests.train import tiny
from tuneproof.data.batches import Batch
from tuneproof.errors import RunError
from tuneproof.train.gradients import LossSum
from tuneproof.train.loop import Step, fit, make_accelerator
from tuneproof.train.optimizer import make_optimizer

ROWS = tiny.make_rows(40)


@pytest.fixture
def accelerator():
    """Accelerate keeps one precision a process; each test here may have its own."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    yield make_accelerator
    AcceleratorState._reset_state(True)


def trained(rows=ROWS, model=None, **options):
    model = model or tiny.distilbert()
    steps = list(tiny.train(model, rows, **options))
    return steps, tiny.weights_of(model)


def one_step(model, loss, *, ids=("a", "b"), micro_batches=(1,), count=lambda _: 2, clip_norm=1.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return fit(
        model,
        lambda epoch: [Batch(tuple(ids), tuple(micro_batches))],
        loss,
        count,
        optimizer,
        lambda step: 1.0,
        epochs=1,
        steps_per_epoch=1,
        clip_norm=clip_norm,
        seed=0,
        accelerator=make_accelerator("cpu", "fp32"),
    )


def test_a_step_says_what_happened():
    steps, _ = trained(rows=ROWS[:20], epochs=2)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.count for step in steps] == [8, 8, 4, 8, 8, 4]
    assert steps[2].epoch == 1
    assert steps[-1].epoch == 2
    assert sum(step.tokens for step in steps) == 2 * sum(len(tokens) for tokens, _, _ in ROWS[:20])
    assert all(step.tokens_per_s == step.tokens / step.time_s for step in steps)
    assert steps[0].learning_rate == 0
    assert steps[1].learning_rate == pytest.approx(1e-3)
    assert not any(step.skipped for step in steps)


def test_training_lowers_the_loss():
    steps, _ = trained(rows=ROWS[:8], epochs=40, learning_rate=1e-2)
    assert steps[-1].loss < 0.1 < 0.9 < steps[0].loss


@pytest.mark.parametrize("objective", [tiny.LABELS, tiny.WORDS], ids=["labels", "words"])
def test_one_by_eight_two_by_four_and_eight_by_one_give_the_same_weights(objective):
    make = tiny.distilbert if objective is tiny.LABELS else tiny.llama_words
    options = {"objective": objective, "batch_size": 8, "epochs": 2, "learning_rate": 2e-4}
    steps, weights = trained(model=make(), **options)
    for micro in (4, 1):
        other_steps, other = trained(model=make(), micro_batch=micro, **options)
        assert tiny.largest_difference(tiny.without_key_biases(weights), other) < 1e-6
        assert [s.loss for s in steps] == pytest.approx([s.loss for s in other_steps], abs=1e-6)
        assert [s.gradient_norm for s in steps] == pytest.approx(
            [s.gradient_norm for s in other_steps], rel=1e-5
        )
        assert [s.count for s in steps] == [s.count for s in other_steps]
    assert tiny.largest_difference(weights, tiny.weights_of(make())) > 1e-4


@pytest.mark.parametrize("objective", [tiny.LABELS, tiny.WORDS], ids=["labels", "words"])
def test_in_double_precision_micro_batches_differ_by_rounding_alone(objective):
    make = tiny.distilbert if objective is tiny.LABELS else tiny.llama_words
    options = {"objective": objective, "learning_rate": 1e-2, "epochs": 3}
    _, weights = trained(model=make().double(), **options)
    for more in ({"micro_batch": 3}, {"micro_batch": 3, "by_length": True}):
        _, other = trained(model=make().double(), **options, **more)
        assert tiny.largest_difference(weights, other) < 1e-9


def test_the_loss_is_a_mean_over_tokens_not_over_means_of_micro_batches():
    model = tiny.llama_words()
    step = next(tiny.train(model, ROWS[:8], tiny.WORDS, micro_batch=1, warmup_share=0))
    model = tiny.llama_words()
    parts = [tiny.answer_loss(model, tiny.collate_words([row])) for row in ROWS[:8]]
    total = sum(part.count for part in parts)
    assert step.count == total
    assert step.loss == pytest.approx(sum(part.sum.item() for part in parts) / total, abs=1e-6)
    mean_of_means = sum(part.sum.item() / part.count for part in parts) / 8
    assert abs(step.loss - mean_of_means) > 1e-2


def test_the_gradient_is_clipped_to_the_norm_and_reported_before():
    model = torch.nn.Linear(1, 1, bias=False)
    before = model.weight.detach().clone()
    loss = lambda model, _: LossSum(2 * 30 * model.weight.sum(), 2, 2)  # noqa: E731
    step = next(one_step(model, loss, clip_norm=0.5))
    assert step.gradient_norm == pytest.approx(30)
    assert float((before - model.weight).detach()) == pytest.approx(0.5, rel=1e-5)
    assert step.loss == pytest.approx(30 * float(before))


def test_frozen_weights_do_not_move_and_the_rest_does():
    model = tiny.distilbert()
    for parameter in model.distilbert.parameters():
        parameter.requires_grad = False
    before = tiny.weights_of(model)
    list(tiny.train(model, ROWS))
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n, p in model.named_parameters() if p.requires_grad}
    assert moved
    assert all(p.grad is None for p in model.distilbert.parameters())


def test_gradient_checkpointing_changes_no_weight():
    _, weights = trained(model=tiny.distilbert(dropout=0.2))
    model = tiny.distilbert(dropout=0.2)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _, other = trained(model=model)
    assert tiny.largest_difference(weights, other) < 1e-6


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    _, weights = trained(model=tiny.distilbert(dropout=0.2))
    _, same = trained(model=tiny.distilbert(dropout=0.2))
    assert tiny.largest_difference(weights, same) == 0
    _, other = trained(model=tiny.distilbert(dropout=0.2), seed=1)
    assert tiny.largest_difference(weights, other) > 1e-4


def test_what_the_caller_does_between_steps_changes_no_weight():
    _, weights = trained(model=tiny.distilbert(dropout=0.2))
    model = tiny.distilbert(dropout=0.2)
    for _ in tiny.train(model, ROWS):
        assert model.training
        model.eval()
        torch.rand(7)
        torch.manual_seed(123)
        with torch.no_grad():
            tiny.labels_loss(model, tiny.collate_labels(ROWS[:4]))
    assert tiny.largest_difference(weights, tiny.weights_of(model)) == 0


def test_the_caller_stops_when_it_likes():
    model = tiny.distilbert()
    steps = list(itertools.islice(tiny.train(model, ROWS, epochs=100), 3))
    assert [step.step for step in steps] == [1, 2, 3]
    first = tiny.train(model, ROWS)
    next(first)
    first.close()
    assert list(first) == []


def test_nothing_is_trained_before_the_first_step_is_asked_for():
    model = tiny.distilbert()
    before = tiny.weights_of(model)
    tiny.train(model, ROWS, warmup_share=0)
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0


def test_a_run_goes_on_from_a_step_with_the_same_optimizer_to_the_same_weights():
    options = {"epochs": 2}
    _, weights = trained(model=tiny.distilbert(dropout=0.2), **options)
    model = tiny.distilbert(dropout=0.2)
    optimizer = make_optimizer(model, 1e-3, 0.01)
    list(itertools.islice(tiny.train(model, ROWS, optimizer=optimizer, **options), 7))
    rest = list(tiny.train(model, ROWS, optimizer=optimizer, start=7, **options))
    assert [step.step for step in rest] == [8, 9, 10]
    assert tiny.largest_difference(weights, tiny.weights_of(model)) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step_with_the_items_and_moves_nothing(bad):
    model = torch.nn.Linear(1, 1)
    before = tiny.weights_of(model)
    ids = [f"review-{i}" for i in range(10)]
    loss = lambda model, _: LossSum(model.weight.sum() * bad, 2, 2)  # noqa: E731
    with pytest.raises(RunError) as error:
        next(one_step(model, loss, ids=ids))
    assert str(error.value).startswith("step 1: the loss is ")
    assert "review-0, review-1" in str(error.value)
    assert "review-7 and 2 more" in str(error.value)
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0
    assert model.weight.grad is None


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is_finite():
    model = torch.nn.Linear(1, 1, bias=False)
    before = tiny.weights_of(model)
    loss = lambda model, _: LossSum(torch.sqrt(model.weight.sum() * 0), 2, 2)  # noqa: E731
    with pytest.raises(RunError, match="step 1: the gradient's norm is nan"):
        next(one_step(model, loss))
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0


def test_a_nan_in_the_middle_names_its_step():
    model = tiny.distilbert()
    seen = 0

    def loss(model, inputs):
        nonlocal seen
        seen += 1
        part = tiny.labels_loss(model, inputs)
        return LossSum(part.sum * (math.nan if seen == 4 else 1), part.count, part.tokens)

    steps = tiny.train(model, ROWS, (tiny.collate_labels, loss, tiny.count_labels))
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    after = tiny.weights_of(model)
    with pytest.raises(RunError, match="step 4: the loss is nan in the batch of row-"):
        next(steps)
    assert tiny.largest_difference(after, tiny.weights_of(model)) == 0


def test_a_batch_without_anything_supervised_is_refused():
    with pytest.raises(RunError, match=r"step 1: nothing is supervised in the batch of a, b"):
        next(one_step(torch.nn.Linear(1, 1), lambda m, _: None, count=lambda _: 0))


def test_a_micro_batch_without_anything_supervised_is_not_an_error():
    model = tiny.llama_words()
    rows = [*ROWS[:3], (ROWS[3][0], 0, 0)]
    step = next(tiny.train(model, rows, tiny.WORDS, batch_size=4, micro_batch=1))
    assert step.count == sum(tiny.count_words(tiny.collate_words([row])) for row in rows[:3])


def test_a_loss_that_counts_otherwise_is_refused():
    loss = lambda model, _: LossSum(model.weight.sum(), 3, 3)  # noqa: E731
    with pytest.raises(RunError, match="counted 3 supervised units where the batch has 2"):
        next(one_step(torch.nn.Linear(1, 1), loss))


def test_an_epoch_of_another_length_than_announced_is_refused():
    loss = lambda model, _: LossSum(model.weight.sum(), 2, 2)  # noqa: E731
    steps = fit(
        model := torch.nn.Linear(1, 1),
        lambda epoch: [Batch(("a",), (1,))] * 2,
        loss,
        lambda _: 2,
        torch.optim.SGD(model.parameters(), lr=0.1),
        lambda step: 1.0,
        epochs=1,
        steps_per_epoch=3,
        clip_norm=1.0,
        seed=0,
        accelerator=make_accelerator("cpu", "fp32"),
    )
    with pytest.raises(RunError, match="epoch 1: has 2 batches where steps_per_epoch is 3"):
        list(steps)


def test_bfloat16_computes_in_bfloat16_and_keeps_the_weights_float32(accelerator):
    exact, _ = trained(epochs=1, accelerator=accelerator("cpu", "fp32"))
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    dtypes = set()
    model = tiny.distilbert()
    model.classifier.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    rounded, weights = trained(model=model, epochs=1, accelerator=accelerator("cpu", "bf16"))
    assert dtypes == {torch.bfloat16}
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert [s.loss for s in exact] != [s.loss for s in rounded]
    assert [s.loss for s in exact] == pytest.approx([s.loss for s in rounded], abs=0.05)


def with_scaler(accelerator, scale):
    made = accelerator("cpu", "fp32")
    made.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return made


def test_the_scaler_of_float16_changes_neither_weights_nor_norms(accelerator):
    steps, weights = trained(accelerator=accelerator("cpu", "fp32"))
    scaled, other = trained(accelerator=with_scaler(accelerator, 1024.0))
    assert tiny.largest_difference(weights, other) < 1e-6
    assert [s.gradient_norm for s in steps] == pytest.approx([s.gradient_norm for s in scaled], rel=1e-5)


def test_a_step_that_overflows_float16_is_skipped_and_says_so(accelerator):
    model = tiny.distilbert()
    before = tiny.weights_of(model)
    made = with_scaler(accelerator, 2e38)

    def larger(model, inputs):
        part = tiny.labels_loss(model, inputs)
        return LossSum(part.sum * 100, part.count, part.tokens)

    objective = (tiny.collate_labels, larger, tiny.count_labels)
    steps = tiny.train(model, ROWS, objective, warmup_share=0, epochs=4, accelerator=made)
    first = next(steps)
    assert first.skipped
    assert first.gradient_norm is None
    assert math.isfinite(first.loss)
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0
    rest = list(steps)
    assert not rest[-1].skipped
    assert tiny.largest_difference(before, tiny.weights_of(model)) > 0


def test_a_gradient_that_no_scale_saves_stops_the_run(accelerator):
    made = with_scaler(accelerator, 2.0)
    model = torch.nn.Linear(1, 1, bias=False)
    loss = lambda model, _: LossSum(torch.sqrt(model.weight.sum() * 0), 2, 2)  # noqa: E731
    steps = fit(
        model,
        lambda epoch: [Batch(("a",), (1,))] * 5,
        loss,
        lambda _: 2,
        torch.optim.SGD(model.parameters(), lr=0.1),
        lambda step: 1.0,
        epochs=1,
        steps_per_epoch=5,
        clip_norm=1.0,
        seed=0,
        accelerator=made,
    )
    assert next(steps).skipped
    with pytest.raises(RunError, match="step 2: the gradient's norm is nan"):
        next(steps)


def test_float16_weights_are_not_trained():
    with pytest.raises(RunError, match=r"trained weights are float16, the first distilbert\."):
        tiny.train(tiny.distilbert().half(), ROWS)


def test_no_time_gives_no_rate():
    step = Step(1, 0.1, 1.0, 1, 1e-3, 1.0, tokens=5, time_s=0.0)
    assert step.tokens_per_s == 0
