"""The Trainer in our loop's place: the same steps, stopped where the caller stops, errors told."""

import pytest
import torch

from tests.train import tiny
from tuneproof.data.batches import collate_epoch, count_batches
from tuneproof.errors import RunError
from tuneproof.train.hf_trainer import TrainerSettings, fit_with_trainer
from tuneproof.train.loop import fit, make_accelerator
from tuneproof.train.optimizer import make_optimizer, make_schedule

ROWS = tiny.make_rows(38)
BATCH, EPOCHS, RATE, DECAY, WARMUP = 8, 2, 1e-3, 0.01, 0.1
PER_EPOCH = count_batches(len(ROWS), BATCH)


def batches(collate):
    ids = [str(place) for place in range(len(ROWS))]
    return lambda epoch: collate_epoch(
        ids, lambda chosen: collate([ROWS[i] for i in chosen]), BATCH, 0, epoch
    )


def by_trainer(model, objective, schedule="linear", rate=RATE):
    collate, loss, count = objective
    return fit_with_trainer(
        model,
        batches(collate),
        loss,
        count,
        TrainerSettings(rate, DECAY, schedule, WARMUP, 1.0),
        epochs=EPOCHS,
        steps_per_epoch=PER_EPOCH,
        seed=3,
        accelerator=make_accelerator("cpu", "fp32"),
    )


def by_loop(model, objective, schedule="linear"):
    collate, loss, count = objective
    return fit(
        model,
        batches(collate),
        loss,
        count,
        make_optimizer(model, RATE, DECAY),
        make_schedule(schedule, EPOCHS * PER_EPOCH, WARMUP),
        epochs=EPOCHS,
        steps_per_epoch=PER_EPOCH,
        clip_norm=1.0,
        seed=3,
        accelerator=make_accelerator("cpu", "fp32"),
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(
    ("make", "objective"),
    [(tiny.distilbert, tiny.LABELS), (tiny.llama_words, tiny.WORDS)],
    ids=["labels", "words"],
)
def test_both_engines_take_the_same_steps(make, objective, schedule):
    ours, theirs = make(), make()
    mine = list(by_loop(ours, objective, schedule))
    other = list(by_trainer(theirs, objective, schedule))
    assert len(mine) == len(other) == EPOCHS * PER_EPOCH
    for step, found in zip(mine, other, strict=True):
        assert found.loss == pytest.approx(step.loss, abs=1e-5)
        assert found.gradient_norm == pytest.approx(step.gradient_norm, rel=1e-4)
        assert found.learning_rate == pytest.approx(step.learning_rate, abs=1e-12)
        assert (found.step, found.epoch, found.count, found.tokens) == (
            step.step,
            step.epoch,
            step.count,
            step.tokens,
        )
    left = tiny.without_key_biases(tiny.weights_of(ours))
    assert tiny.largest_difference(left, tiny.weights_of(theirs)) < 1e-5


def test_the_trainer_waits_while_the_caller_has_the_step_in_hand():
    model = tiny.distilbert()
    steps = by_trainer(model, tiny.LABELS)
    next(steps)
    held = tiny.weights_of(model)
    before = {name: weight.clone() for name, weight in held.items()}
    torch.manual_seed(99)  # what the caller draws changes nothing
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0
    assert next(steps).step == 2
    assert tiny.largest_difference(before, tiny.weights_of(model)) > 0
    steps.close()


def test_it_stops_where_the_caller_stops():
    model = tiny.distilbert()
    steps = by_trainer(model, tiny.LABELS)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()
    left = {name: weight.clone() for name, weight in tiny.weights_of(model).items()}
    assert tiny.largest_difference(left, tiny.weights_of(model)) == 0
    assert list(steps) == []


def test_what_goes_wrong_in_its_thread_reaches_the_caller():
    with pytest.raises(RunError, match="the Trainer's loss is"):
        list(by_trainer(tiny.distilbert(), tiny.LABELS, rate=1e30))
