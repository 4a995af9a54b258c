"""The convex fit of a head over spans: its loss and slope, what dev chooses, chunks."""

import numpy as np
import pytest
import torch

from tuneproof.methods import span_head
from tuneproof.methods.linear_head import SpanStates
from tuneproof.methods.options import StrengthsOption
from tuneproof.methods.span_head import CentredStates, fit_span_head, span_loss


def made(windows: int, seed: int, width: int = 6, noise: float = 0.3) -> SpanStates:
    """Windows of 3 to 9 tokens; direction 0 marks where the gold begins, direction 1 where it ends."""
    rng = np.random.default_rng(seed)
    states, starts, golds = [], [0], []
    for _ in range(windows):
        size = int(rng.integers(3, 10))
        begin = int(rng.integers(0, size))
        end = int(rng.integers(begin, size)) if begin else 0
        part = rng.normal(0, noise, (size, width))
        part[begin, 0] += 2
        part[end, 1] += 2
        states.append(part)
        starts.append(starts[-1] + size)
        golds.append((begin, end))
    return SpanStates(
        np.concatenate(states).astype(np.float16), np.array(starts), np.array(golds, dtype=np.int64)
    )


def loss_by_torch(data: SpanStates, weight: torch.Tensor) -> torch.Tensor:
    losses = []
    for window, (begin, end) in enumerate(data.gold_W2.tolist()):
        rows = slice(int(data.start_W[window]), int(data.start_W[window + 1]))
        logits = torch.from_numpy(data.states_PD[rows].astype(np.float32)) @ weight.T
        shares = torch.log_softmax(logits, dim=0)
        losses.append(-(shares[begin, 0] + shares[end, 1]) / 2)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("tokens", [200_000, 17])
def test_loss_and_slope_are_torchs_however_it_is_cut(monkeypatch, tokens):
    monkeypatch.setattr(span_head, "TOKENS_AT_ONCE", tokens)
    data = made(40, 0)
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = loss_by_torch(data, weight)
    expected.backward()
    gradient = np.zeros((2, 6))
    loss = span_loss(CentredStates(data, np.zeros(6)), weight.detach().numpy().astype(float), gradient)
    assert loss == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose(gradient, weight.grad.numpy(), atol=1e-5)


def test_the_mean_of_the_states_changes_no_loss():
    data = made(20, 1)
    weight = np.random.default_rng(0).normal(size=(2, 6))
    moved = span_loss(CentredStates(data, np.full(6, 0.7)), weight)
    assert moved == pytest.approx(span_loss(CentredStates(data, np.zeros(6)), weight), abs=1e-5)


def test_the_marks_are_found_and_dev_chooses_the_strength():
    train, dev = made(300, 2), made(100, 3)
    head = fit_span_head(StrengthsOption(strengths=(0.01, 1.0)), train, dev)
    even = span_loss(CentredStates(dev, np.zeros(6)), np.zeros((2, 6)))
    assert head.chosen["dev_loss"] < even / 3
    assert head.chosen["strength"] == 1.0
    noise = fit_span_head(
        StrengthsOption(strengths=(0.0001, 100.0)), made(30, 4, 40, 3.0), made(100, 5, 40, 3.0)
    )
    assert noise.chosen["strength"] == 0.0001


@pytest.mark.parametrize(("tokens", "are_kept"), [(200_000, True), (17, False)])
def test_states_that_fit_at_once_are_converted_once(monkeypatch, tokens, are_kept):
    monkeypatch.setattr(span_head, "TOKENS_AT_ONCE", tokens)
    read, runs = CentredStates._read, []
    monkeypatch.setattr(
        CentredStates, "_read", lambda self, *run: runs.append((id(self), *run)) or read(self, *run)
    )
    train, dev = made(40, 0), made(10, 1)
    head = fit_span_head(StrengthsOption(strengths=(0.01, 1.0)), train, dev)
    assert (len(runs) == len(set(runs)) == 2) is are_kept
    monkeypatch.undo()
    whole = fit_span_head(StrengthsOption(strengths=(0.01, 1.0)), train, dev)
    np.testing.assert_allclose(head.weight_2D, whole.weight_2D, atol=1e-4)
