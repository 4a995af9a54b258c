"""A linear head over spans on the frozen base: states once, then a convex fit.

In: token states and golds of train and dev. Out: the head's weight, and what dev chose.
Knows nothing of: how states are computed, windows, files.

Shapes: W windows, P tokens of all windows, D width; 2 rows of the head: start, end.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.methods.linear_head import LinearSpanHead, SpanStates
from tuneproof.methods.options import StrengthsOption

MAX_ITERATIONS = 100  # of L-BFGS
TOKENS_AT_ONCE = 200_000


def _mean_and_deviation(data: SpanStates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation [D] of the states."""
    size, total, squares = len(data.states_PD), 0.0, 0.0
    for start in range(0, size, TOKENS_AT_ONCE):
        part_PD = data.states_PD[start : start + TOKENS_AT_ONCE].astype(np.float64)
        total, squares = total + part_PD.sum(axis=0), squares + (part_PD**2).sum(axis=0)
    mean_D = np.asarray(total) / size
    deviation_D = np.sqrt(np.maximum(np.asarray(squares) / size - mean_D**2, 0))
    return mean_D, np.where(deviation_D > 1e-6, deviation_D, 1.0)


def _chunks(data: SpanStates) -> list[tuple[int, int]]:
    """Runs of whole windows with at most TOKENS_AT_ONCE tokens, except where one window has more."""
    chunks, first = [], 0
    for window in range(1, len(data.start_W)):
        if data.start_W[window] - data.start_W[first] > TOKENS_AT_ONCE and window - 1 > first:
            chunks.append((first, window - 1))
            first = window - 1
    return [*chunks, (first, len(data.start_W) - 1)]


class CentredStates:
    """States less their mean [D], as float32; what fits into one run of windows is converted once."""

    def __init__(self, data: SpanStates, mean_D: NDArray[np.float64]) -> None:
        self.data, self.mean_D, self.chunks = data, mean_D.astype(np.float32), _chunks(data)
        self.only_PD = self._read(*self.chunks[0]) if len(self.chunks) == 1 else None

    def _read(self, first: int, last: int) -> NDArray[np.float32]:
        states_PD = self.data.states_PD[self.data.start_W[first] : self.data.start_W[last]]
        centred_PD = states_PD.astype(np.float32)
        centred_PD -= self.mean_D
        return centred_PD

    def __iter__(self) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
        """Runs of windows, from which to which, with their states."""
        for first, last in self.chunks:
            yield first, last, self._read(first, last) if self.only_PD is None else self.only_PD


def span_loss(
    states: CentredStates, weight_2D: NDArray[np.float64], gradient_2D: NDArray[np.float64] | None = None
) -> float:
    """Mean over windows of the cross-entropy (nats) of start and end; adds to `gradient_2D` in place."""
    data, weight = states.data, weight_2D.astype(np.float32)
    total, windows = 0.0, len(data.start_W) - 1
    for first, last, states_PD in states:
        logits_P2 = states_PD @ weight.T
        start_W = (data.start_W[first:last] - data.start_W[first]).astype(np.int64)
        sizes_W = np.diff(data.start_W[first : last + 1])
        top_W2 = np.maximum.reduceat(logits_P2, start_W, axis=0)
        share_P2 = np.exp(logits_P2 - np.repeat(top_W2, sizes_W, axis=0))
        sum_W2 = np.add.reduceat(share_P2, start_W, axis=0)
        gold_W2 = start_W[:, None] + data.gold_W2[first:last]
        at_gold_W2 = np.stack([logits_P2[gold_W2[:, side], side] for side in (0, 1)], axis=1)
        total += float((np.log(sum_W2) + top_W2 - at_gold_W2).sum()) / 2
        if gradient_2D is not None:
            share_P2 /= np.repeat(sum_W2, sizes_W, axis=0)
            for side in (0, 1):
                share_P2[gold_W2[:, side], side] -= 1
            gradient_2D += (share_P2.T @ states_PD).astype(np.float64) / (2 * windows)
    return total / windows


def fit_span_head(options: StrengthsOption, train: SpanStates, dev: SpanStates) -> LinearSpanHead:
    """Fit by L-BFGS on standardised states for every strength; the lowest dev loss wins.

    The strengths weigh the loss beside L2, for 1,000 windows, as for the head over labels.
    """
    from scipy.optimize import minimize

    mean_D, deviation_D = _mean_and_deviation(train)
    shape = (2, train.states_PD.shape[1])
    heads: list[LinearSpanHead] = []
    start = np.zeros(shape)
    train_states, dev_states = CentredStates(train, mean_D), CentredStates(dev, mean_D)
    for strength in sorted(options.strengths):
        penalty = 1 / (strength * 1000)

        def value(flat: NDArray[np.float64], penalty: float = penalty) -> tuple[float, Any]:
            scaled_2D = flat.reshape(shape)
            gradient_2D = np.zeros(shape)
            loss = span_loss(train_states, scaled_2D / deviation_D, gradient_2D)
            slope_2D = gradient_2D / deviation_D + penalty * scaled_2D
            return loss + penalty / 2 * float((scaled_2D**2).sum()), slope_2D.ravel()

        fit = minimize(value, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS})
        start = fit.x.reshape(shape)  # the next, weaker penalty starts here
        weight_2D = start / deviation_D
        chosen = {
            "strength": strength,
            "dev_loss": span_loss(dev_states, weight_2D),
            "converged": bool(fit.nit < MAX_ITERATIONS),
            "by": "lowest loss on dev",
        }
        heads.append(LinearSpanHead(weight_2D.astype(np.float32), chosen))
    return min(heads, key=lambda head: head.chosen["dev_loss"])
