"""A linear head over spans on the frozen base: states once, then a convex fit.

In: token states and golds of train and dev. Out: the head's weight and bias, and what dev chose.
Knows nothing of: how states come about, windows, files.

Shapes: W windows, P places over all windows, D width; 2 rows of the head: begins, ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_FIT = 100  # iterations of L-BFGS
PLACES_AT_ONCE = 200_000


@dataclass(frozen=True)
class Marked:
    """States [P, D] of W windows from `start_W[w]` to `start_W[w + 1]`, and their golds' places [W, 2]."""

    states_PD: NDArray[np.float16]
    start_W: NDArray[np.int64]
    gold_W2: NDArray[np.int64]


@dataclass(frozen=True)
class SpanProbe:
    """logits_P2 = states_PD @ weight_2D.T + bias_2, whose differences alone count within a window."""

    weight_2D: NDArray[np.float32]
    strength: float
    dev_loss: float
    converged: bool

    @property
    def chosen(self) -> dict[str, Any]:
        """What dev chose, and how well it does there."""
        return {
            "strength": self.strength,
            "dev_loss": self.dev_loss,
            "converged": self.converged,
            "by": "lowest loss on dev",
        }


def _scales(marked: Marked) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation [D] of the states."""
    size, total, squares = len(marked.states_PD), 0.0, 0.0
    for start in range(0, size, PLACES_AT_ONCE):
        part_PD = marked.states_PD[start : start + PLACES_AT_ONCE].astype(np.float64)
        total, squares = total + part_PD.sum(axis=0), squares + (part_PD**2).sum(axis=0)
    mean_D = np.asarray(total) / size
    spread_D = np.sqrt(np.maximum(np.asarray(squares) / size - mean_D**2, 0))
    return mean_D, np.where(spread_D > 1e-6, spread_D, 1.0)


def _chunks(marked: Marked) -> list[tuple[int, int]]:
    """Runs of whole windows with at most PLACES_AT_ONCE places, where one window has no more."""
    edges, first = [], 0
    for window in range(1, len(marked.start_W)):
        if marked.start_W[window] - marked.start_W[first] > PLACES_AT_ONCE and window - 1 > first:
            edges.append((first, window - 1))
            first = window - 1
    return [*edges, (first, len(marked.start_W) - 1)]


def span_loss(
    marked: Marked,
    weight_2D: NDArray[np.float64],
    mean_D: NDArray[np.float64],
    gradient_2D: NDArray[np.float64] | None = None,
) -> float:
    """Mean over windows of the cross-entropy (nats) of begin and end; adds to the gradient if given."""
    total, windows = 0.0, len(marked.start_W) - 1
    weight = weight_2D.astype(np.float32)
    for first, last in _chunks(marked):
        start, end = marked.start_W[first], marked.start_W[last]
        states_PD = marked.states_PD[start:end].astype(np.float32) - mean_D.astype(np.float32)
        logits_P2 = states_PD @ weight.T
        begin_W = (marked.start_W[first:last] - start).astype(np.int64)
        sizes_W = np.diff(marked.start_W[first : last + 1])
        top_W2 = np.maximum.reduceat(logits_P2, begin_W, axis=0)
        share_P2 = np.exp(logits_P2 - np.repeat(top_W2, sizes_W, axis=0))
        sum_W2 = np.add.reduceat(share_P2, begin_W, axis=0)
        gold_W2 = begin_W[:, None] + marked.gold_W2[first:last]
        at_gold_W2 = np.stack([logits_P2[gold_W2[:, side], side] for side in (0, 1)], axis=1)
        total += float((np.log(sum_W2) + top_W2 - at_gold_W2).sum()) / 2
        if gradient_2D is not None:
            share_P2 /= np.repeat(sum_W2, sizes_W, axis=0)
            for side in (0, 1):
                share_P2[gold_W2[:, side], side] -= 1
            gradient_2D += (share_P2.T @ states_PD).astype(np.float64) / (2 * windows)
    return total / windows


def fit_span_probe(train: Marked, dev: Marked, strengths: Sequence[float]) -> SpanProbe:
    """Fit once a strength by L-BFGS on standardised states, keep the one with the lowest dev loss.

    `strengths` weigh the loss beside L2, for 1,000 windows, as for the head over labels.
    """
    from scipy.optimize import minimize

    mean_D, spread_D = _scales(train)
    shape = (2, train.states_PD.shape[1])
    best: SpanProbe | None = None
    start = np.zeros(shape)
    for strength in sorted(strengths):
        penalty = 1 / (strength * 1000)

        def value(flat: NDArray[np.float64], penalty: float = penalty) -> tuple[float, Any]:
            scaled_2D = flat.reshape(shape)
            gradient_2D = np.zeros(shape)
            loss = span_loss(train, scaled_2D / spread_D, mean_D, gradient_2D)
            slope_2D = gradient_2D / spread_D + penalty * scaled_2D
            return loss + penalty / 2 * float((scaled_2D**2).sum()), slope_2D.ravel()

        found = minimize(value, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": LONGEST_FIT})
        start = found.x.reshape(shape)  # the next, weaker penalty begins here
        weight_2D = start / spread_D
        loss = span_loss(dev, weight_2D, mean_D)
        if best is None or loss < best.dev_loss:
            best = SpanProbe(weight_2D.astype(np.float32), strength, loss, bool(found.nit < LONGEST_FIT))
    assert best is not None
    return best
