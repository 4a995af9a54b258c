"""Linear heads on the frozen base: what a fit reads, and what it returns.

In: features of train and dev, the fit's coefficients. Out: a head over labels or over spans.
Knows nothing of: how a head is fitted, how features are computed.

Shapes: N items, D width, C labels; W windows, P tokens of all windows; 2 rows of a span head: start, end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Features = Mapping[str, NDArray[np.float32]]  # pooling: [N, D]


def chosen_by(is_weighted: bool) -> str:
    """By what dev chooses: the loss that train minimises."""
    return "lowest loss on dev, with its class weights" if is_weighted else "lowest loss on dev"


@dataclass(frozen=True)
class HeadData:
    """Features of train and dev by pooling, their labels, and the head's shape.

    weights_C: of the labels in the loss; None: all the same.
    """

    train: Features
    train_labels_N: NDArray[np.int64]
    dev: Features
    dev_labels_N: NDArray[np.int64]
    has_bias: bool
    classes: int
    weights_C: NDArray[np.float64] | None = None

    def weights_of(self, labels_N: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The weights of items with these labels."""
        return None if self.weights_C is None else self.weights_C[labels_N]


@dataclass(frozen=True)
class LinearHead:
    """logits_NC = features_ND @ weight_CD.T + bias_C. `bias_C` is zero where the head has none.

    `chosen`: what dev chose, and how well the head does there.
    """

    pooling: str
    weight_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """Softmax of the logits, in float64."""
        logits_NC = features_ND.astype(np.float64) @ self.weight_CD.T + self.bias_C
        logits_NC -= logits_NC.max(axis=1, keepdims=True)
        exp_NC = np.exp(logits_NC)
        return exp_NC / exp_NC.sum(axis=1, keepdims=True)

    def dev_loss_and_accuracy(self, data: HeadData) -> tuple[float, float]:
        """Mean log loss (nats), weighted as in the fit, and accuracy on dev."""
        probabilities_NC = self.probabilities(data.dev[self.pooling])
        gold_N = probabilities_NC[np.arange(len(data.dev_labels_N)), data.dev_labels_N]
        weights_N = data.weights_of(data.dev_labels_N)
        loss = float(np.average(-np.log(gold_N + 1e-12), weights=weights_N))
        return loss, float((probabilities_NC.argmax(axis=1) == data.dev_labels_N).mean())


def linear_head(
    pooling: str, coefficients_CD: Any, intercept_C: Any, mean_D: Any = 0.0, scale_D: Any = 1.0
) -> LinearHead:
    """A scikit-learn classifier's coefficients as a head on features as they are.

    The classifier was fitted to (features - mean_D) / scale_D. For two labels scikit-learn has one row,
    the logit of the second.
    """
    intercept_C = np.resize(intercept_C, len(coefficients_CD))
    if len(coefficients_CD) == 1:
        coefficients_CD = np.vstack([-coefficients_CD / 2, coefficients_CD / 2])
        intercept_C = np.concatenate([-intercept_C / 2, intercept_C / 2])
    weight_CD = coefficients_CD / scale_D
    bias_C = intercept_C - weight_CD @ np.broadcast_to(mean_D, weight_CD.shape[1:])
    return LinearHead(pooling, weight_CD.astype(np.float32), bias_C.astype(np.float32))


@dataclass(frozen=True)
class SpanStates:
    """States of W windows, window w from token `start_W[w]` to `start_W[w + 1]`, and the golds' tokens."""

    states_PD: NDArray[np.float16]
    start_W: NDArray[np.int64]
    gold_W2: NDArray[np.int64]


@dataclass(frozen=True)
class LinearSpanHead:
    """logits_P2 = states_PD @ weight_2D.T; a window's tokens are compared with each other alone.

    `chosen`: what dev chose, and how well the head does there.
    """

    weight_2D: NDArray[np.float32]
    chosen: Mapping[str, Any] = field(default_factory=dict)
