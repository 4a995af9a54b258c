"""The convex fit of a head over spans: its loss and slope, what dev chooses, chunks."""

import numpy as np
import pytest
import torch

from tuneproof.methods import span_head
from tuneproof.methods.span_head import Marked, fit_span_probe, span_loss


def made(windows: int, seed: int, width: int = 6, noise: float = 0.3) -> Marked:
    """Windows of 3 to 9 places; direction 0 marks where the gold begins, direction 1 where it ends."""
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
    return Marked(
        np.concatenate(states).astype(np.float16), np.array(starts), np.array(golds, dtype=np.int64)
    )


def by_torch(marked: Marked, weight: torch.Tensor) -> torch.Tensor:
    losses = []
    for window, (begin, end) in enumerate(marked.gold_W2.tolist()):
        rows = slice(int(marked.start_W[window]), int(marked.start_W[window + 1]))
        logits = torch.from_numpy(marked.states_PD[rows].astype(np.float32)) @ weight.T
        shares = torch.log_softmax(logits, dim=0)
        losses.append(-(shares[begin, 0] + shares[end, 1]) / 2)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("places", [200_000, 17])
def test_loss_and_slope_are_torchs_however_it_is_cut(monkeypatch, places):
    monkeypatch.setattr(span_head, "PLACES_AT_ONCE", places)
    marked = made(40, 0)
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    wanted = by_torch(marked, weight)
    wanted.backward()
    gradient = np.zeros((2, 6))
    found = span_loss(marked, weight.detach().numpy().astype(float), np.zeros(6), gradient)
    assert found == pytest.approx(float(wanted), abs=1e-5)
    np.testing.assert_allclose(gradient, weight.grad.numpy(), atol=1e-5)


def test_the_mean_of_the_states_changes_no_loss():
    marked = made(20, 1)
    weight = np.random.default_rng(0).normal(size=(2, 6))
    moved = span_loss(marked, weight, np.full(6, 0.7))
    assert moved == pytest.approx(span_loss(marked, weight, np.zeros(6)), abs=1e-5)


def test_the_marks_are_found_and_dev_chooses_the_strength():
    train, dev = made(300, 2), made(100, 3)
    probe = fit_span_probe(train, dev, (0.01, 1.0))
    even = span_loss(dev, np.zeros((2, 6)), np.zeros(6))
    assert probe.dev_loss < even / 3
    assert probe.strength == 1.0
    noise = fit_span_probe(made(30, 4, 40, 3.0), made(100, 5, 40, 3.0), (0.0001, 100.0))
    assert noise.strength == 0.0001
