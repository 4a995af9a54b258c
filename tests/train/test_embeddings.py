"""Gradients of large embeddings, row by row."""

import pytest
import torch
from torch import nn

from tuneproof.train.embeddings import MIN_WEIGHTS, RowGradients

ROWS, WIDTH = 2**14, 64


def a_model(padding: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(ROWS, WIDTH, padding_idx=padding), nn.Linear(WIDTH, 2))


def backward(model: nn.Module, ids: torch.Tensor) -> None:
    model(ids).square().sum().backward()


@pytest.mark.parametrize("padding", [None, 0])
def test_micro_batches_add_up_to_the_dense_gradient(padding) -> None:
    assert ROWS * WIDTH >= MIN_WEIGHTS
    parts = [torch.tensor([[0, 5, 5, 9]]), torch.tensor([[5, 100, 0, ROWS - 1]])]
    dense, ours = a_model(padding), a_model(padding)
    rows = RowGradients(ours)
    with rows.active():
        for part in parts:
            backward(dense, part)
            backward(ours, part)
        found = ours[0].weight.grad
        assert not found.is_sparse
        torch.testing.assert_close(found, dense[0].weight.grad)
        rows.clear()
        assert not ours[0].weight.grad.any()
        backward(ours, parts[0])
        dense.zero_grad()
        backward(dense, parts[0])
        torch.testing.assert_close(ours[0].weight.grad, dense[0].weight.grad)
    assert ours[0].weight.grad is None
    assert not ours[0].sparse
    backward(ours, parts[0])
    assert not ours[0].weight.grad.is_sparse


def test_what_is_not_finite_is_wiped_everywhere() -> None:
    model = a_model()
    rows = RowGradients(model)
    with rows.active():
        backward(model, torch.tensor([[1, 2]]))
        model[0].weight.grad.mul_(float("nan"))
        rows.clear(all_rows=True)
        assert not model[0].weight.grad.any()


def test_a_gradient_that_was_dropped_is_not_lost_for_the_next_step() -> None:
    model = a_model()
    rows = RowGradients(model)
    with rows.active():
        backward(model, torch.tensor([[1, 2]]))
        model.zero_grad(set_to_none=True)
        rows.clear()
        backward(model, torch.tensor([[7]]))
        assert model[0].weight.grad.any(1).nonzero().flatten().tolist() == [7]


def frozen(model: nn.Module) -> None:
    model[0].weight.requires_grad_(False)


def tied(model: nn.Module) -> None:
    model.append(nn.Linear(WIDTH, ROWS, bias=False))
    model[2].weight = model[0].weight


def half_a_million(model: nn.Module) -> None:
    model[0] = nn.Embedding(ROWS // 2, WIDTH)


@pytest.mark.parametrize("other", [frozen, tied, half_a_million])
def test_other_embeddings_are_left_as_they_are(other) -> None:
    model = a_model()
    other(model)
    with RowGradients(model).active():
        assert not model[0].sparse
        assert model[0].weight.grad is None
