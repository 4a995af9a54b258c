"""A device that runs out of memory costs time, not the experiment."""

import numpy as np
import pytest
import torch

from tests.train import tiny
from tuneproof.data.batches import Batch, collate_epoch
from tuneproof.errors import RunError
from tuneproof.memory.tracker import LiveMemory

ROWS = tiny.make_rows(40)


def run(model, device=None, objective=tiny.LABELS, **options):
    """Steps and final weights, on a device that may be small."""
    steps = []
    running = tiny.train(model, ROWS, objective, batch_size=8, learning_rate=2e-4, **options)
    if device is None:
        steps = list(running)
    else:
        with device:
            steps = list(running)
    return steps, tiny.weights_of(model)


class Failing(LiveMemory):
    """A device whose allocator fails once: at the n-th tensor that an operation of this name makes."""

    def __init__(self, operation: str, at: int) -> None:
        super().__init__()
        self.operation, self.left, self.failed = operation, at, False

    def _add(self, tensor, part, operation):
        super()._add(tensor, part, operation)
        self.left -= self.operation in operation
        if not self.failed and self.left == 0:
            self.failed = True
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("objective", [tiny.LABELS, tiny.WORDS], ids=["labels", "words"])
def test_a_run_that_runs_out_of_memory_ends_with_the_weights_of_one_that_did_not(objective):
    make = tiny.distilbert if objective is tiny.LABELS else tiny.llama_words
    steps, weights = run(make(), objective=objective)
    device = LiveMemory()
    run(make(), device, objective)
    small = LiveMemory(limit=int(device.peak_bytes * 0.75))
    others, other = run(make(), small, objective)
    assert sum(step.retries for step in others) >= 1
    assert others[-1].micro_batches >= 2
    assert tiny.largest_difference(tiny.without_key_biases(weights), other) < 1e-6
    assert [s.loss for s in steps] == pytest.approx([s.loss for s in others], abs=1e-6)
    assert [s.count for s in steps] == [s.count for s in others]
    assert tiny.largest_difference(weights, tiny.weights_of(make())) > 1e-4


@pytest.mark.parametrize(
    ("operation", "at"),
    [("embedding.default", 3), ("gelu.default", 7), ("gelu_backward", 4), ("aten.mm", 30)],
)
def test_wherever_in_a_step_the_allocator_fails_the_weights_are_the_same(operation, at):
    _, weights = run(tiny.distilbert())
    device = Failing(operation, at)
    steps, other = run(tiny.distilbert(), device)
    assert device.failed
    assert [step.retries for step in steps].count(1) == 1
    assert steps[-1].micro_batches == 2
    assert tiny.largest_difference(tiny.without_key_biases(weights), other) < 1e-6


def test_no_room_for_the_optimizer_is_an_error_that_smaller_batches_do_not_mend():
    with pytest.raises(RunError, match=r"step 1: .* the optimizer's state"):
        run(tiny.distilbert(), Failing("aten.zeros_like", 2))


def test_later_steps_begin_with_what_fitted():
    device = LiveMemory()
    run(tiny.distilbert(), device)
    steps, _ = run(tiny.distilbert(), LiveMemory(limit=int(device.peak_bytes * 0.75)))
    first = next(i for i, step in enumerate(steps) if step.retries)
    assert all(step.retries == 0 for step in steps[first + 1 :])
    assert {step.micro_batches for step in steps[first:]} == {steps[first].micro_batches}


def test_one_item_that_does_not_fit_is_an_error_and_moves_no_weight():
    model = tiny.distilbert()
    before = tiny.weights_of(model)
    with pytest.raises(RunError, match=r"step 1: .* too little memory .* one by one"):
        run(model, LiveMemory(limit=20_000))
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0
    assert all(p.grad is None for p in model.parameters())


def test_another_error_is_not_taken_for_a_lack_of_memory():
    def broken(model, inputs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run(tiny.distilbert(), objective=(tiny.collate_labels, broken, tiny.count_labels))


def test_a_halved_batch_holds_the_same_items_in_the_same_order():
    rows = list(range(10))
    collate = lambda part: [rows[i] for i in part]  # noqa: E731
    batch = next(collate_epoch([str(i) for i in rows], collate, 10, 0, 0))
    halves = batch.halved()
    assert [len(part) for part in halves.micro_batches] == [5, 5]
    assert [len(part) for part in halves.halved().micro_batches] == [3, 2, 3, 2]
    assert [*halves.micro_batches[0], *halves.micro_batches[1]] == batch.micro_batches[0]
    assert halves.ids == batch.ids
    single = Batch(("a",), (0,), (np.array([0]),), collate)
    assert single.halved() is None
