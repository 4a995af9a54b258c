"""Weights captured, written and put back; the best of them by loss on dev."""

import math

import pytest
import torch
from torch import nn

from tests.train import tiny
from tuneproof.errors import ModelError, RunError
from tuneproof.train.checkpoint import (
    BestOnDev,
    capture_trained,
    read_weights,
    restore_trained,
    write_weights,
)


def set_to(model, value):
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)


@pytest.fixture(params=["memory", "disk"])
def path(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "best.safetensors"


def test_the_weights_of_the_lowest_dev_loss_come_back(path):
    model = nn.Linear(2, 2)
    best = BestOnDev(path)
    for step, (value, loss) in enumerate([(1, 0.9), (2, 0.4), (3, 0.6), (4, 0.4)], start=1):
        set_to(model, value)
        assert best.record(model, loss, step * 10).is_best == (step <= 2)
    assert best.restore(model) == 20
    assert model.weight.detach().unique().tolist() == [2]
    assert (best.loss, best.step, best.evaluations) == (0.4, 20, 4)


def test_kept_weights_are_copies(path):
    model = nn.Linear(2, 2)
    best = BestOnDev(path)
    set_to(model, 1)
    best.record(model, 0.5, 1)
    set_to(model, 7)
    best.restore(model)
    assert model.bias.detach().unique().tolist() == [1]


def test_patience_counts_evaluations_without_a_lower_loss_in_a_row():
    model = nn.Linear(1, 1)
    best = BestOnDev(patience=2)
    losses = [0.9, 0.95, 0.8, 0.8, 0.85]
    assert [best.record(model, loss, i).stop for i, loss in enumerate(losses)] == [
        False,
        False,
        False,
        False,
        True,
    ]
    endless = BestOnDev()
    assert not any(endless.record(model, 1.0, i).stop for i in range(50))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_dev_loss_that_is_not_finite_is_refused(loss):
    with pytest.raises(RunError, match="step 3: the loss on dev is"):
        BestOnDev().record(nn.Linear(1, 1), loss, 3)


def test_restoring_before_any_evaluation_is_refused():
    with pytest.raises(RunError, match="no evaluation took place"):
        BestOnDev().restore(nn.Linear(1, 1))


def test_only_trainable_weights_are_kept():
    model = tiny.distilbert()
    for parameter in model.distilbert.parameters():
        parameter.requires_grad = False
    assert capture_trained(model).keys() == {
        "pre_classifier.weight",
        "pre_classifier.bias",
        "classifier.weight",
        "classifier.bias",
    }


def test_written_weights_are_read_back_bit_for_bit(tmp_path):
    model, other = tiny.llama_words(seed=1), tiny.llama_words(seed=2)
    model.model.layers[0].to(torch.bfloat16)
    other.model.layers[0].to(torch.bfloat16)
    file = write_weights(tmp_path / "w.safetensors", capture_trained(model), {"step": "3"})
    restore_trained(other, read_weights(file))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_tied_weights_are_kept_once():
    config = tiny.llama_config()
    config.tie_word_embeddings = True
    model = type(tiny.llama_words())(config)
    weights = capture_trained(model)
    assert "model.embed_tokens.weight" in weights
    assert "lm_head.weight" not in weights
    restore_trained(model, weights)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("bias"), "bias: is missing in the saved weights, the first of 1"),
        (lambda w: w.update(more=torch.zeros(1)), "more: is missing in the model's trainable"),
        (lambda w: w.update(bias=torch.zeros(3)), r"saved as float32 \(3,\), the model has float"),
        (lambda w: w.update(bias=w["bias"].double()), r"saved as float64 \(2,\)"),
    ],
)
def test_weights_of_another_model_are_refused_and_nothing_moves(change, message):
    model = nn.Linear(2, 2)
    before = tiny.weights_of(model)
    weights = {name: torch.zeros_like(w) for name, w in capture_trained(model).items()}
    change(weights)
    with pytest.raises(ModelError, match=message):
        restore_trained(model, weights)
    assert tiny.largest_difference(before, tiny.weights_of(model)) == 0


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="is not a complete safetensors file"):
        read_weights(file)


def test_a_truncated_or_missing_file_is_refused(tmp_path):
    file = write_weights(tmp_path / "w.safetensors", {"a": torch.zeros(100)})
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ModelError, match="is not a complete safetensors file"):
        read_weights(file)
    with pytest.raises(ModelError, match="does not exist"):
        read_weights(tmp_path / "none.safetensors")


def test_early_stopping_ends_with_the_best_weights_and_the_loss_they_had():
    train_rows, dev_rows = tiny.make_rows(24, seed=1), tiny.make_rows(24, seed=2)
    model = tiny.distilbert()

    def dev_loss():
        model.eval()
        with torch.no_grad():
            part = tiny.labels_loss(model, tiny.collate_labels(dev_rows))
        return float(part.sum) / part.count

    best, losses = BestOnDev(patience=3), []
    for step in tiny.train(model, train_rows, epochs=200, learning_rate=1e-2):
        losses.append(dev_loss())
        if best.record(model, losses[-1], step.step).stop:
            break
    assert len(losses) < 200
    assert losses[-1] > min(losses)
    assert best.restore(model) == losses.index(min(losses)) + 1
    assert dev_loss() == min(losses)
