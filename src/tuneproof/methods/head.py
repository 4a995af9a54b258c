"""A linear head on the frozen base: features once, then a convex fit.

In: features and labels of train and dev. Out: the head's weight and bias, and what dev chose.
Knows nothing of: how features come about.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tuneproof.errors import RunError
from tuneproof.methods.method import Method, MethodOptions

LONGEST_FIT = 3000  # iterations of L-BFGS


class HeadOptions(MethodOptions):
    """Settings of the head."""

    pooling: Literal["auto", "first", "mean", "last"] = Field(
        "auto",
        description="Which hidden states become the features; auto: the best on dev of first and mean "
        "(encoder) or last and mean (decoder).",
    )
    strengths: tuple[float, ...] = Field(
        (0.01, 0.1, 1.0, 10.0),
        min_length=1,
        description="Weights of the loss beside L2 (scikit-learn's C, for 1,000 items) in the fit on "
        "standardised features; dev chooses.",
    )


@dataclass(frozen=True)
class Probe:
    """logits_NC = features_ND @ weight_CD.T + bias_C. `bias_C` is zero where the head has none."""

    pooling: str
    weight_CD: NDArray[np.float32]
    bias_C: NDArray[np.float32]
    strength: float = 0.0
    dev_loss: float = 0.0
    dev_accuracy: float = 0.0
    converged: bool = True

    @property
    def chosen(self) -> dict[str, Any]:
        """What dev chose, and how well it does there."""
        return {
            "strength": self.strength,
            "dev_loss": self.dev_loss,
            "dev_accuracy": self.dev_accuracy,
            "converged": self.converged,
            "by": "lowest loss on dev",
        }

    def probabilities(self, features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """Softmax of the logits, in float64."""
        logits_NC = features_ND.astype(np.float64) @ self.weight_CD.T + self.bias_C
        logits_NC -= logits_NC.max(axis=1, keepdims=True)
        exp_NC = np.exp(logits_NC)
        return exp_NC / exp_NC.sum(axis=1, keepdims=True)


def fit_probe(
    train: Mapping[str, NDArray[np.float32]],
    train_labels_N: NDArray[np.int64],
    dev: Mapping[str, NDArray[np.float32]],
    dev_labels_N: NDArray[np.int64],
    strengths: tuple[float, ...],
    bias: bool,
    classes: int,
) -> Probe:
    """Multinomial logistic regression for every pooling and strength; the lowest dev loss wins.

    Features are divided by their root mean square (after centring, where the head has a bias) for
    the fit; the scale is folded into the weight, so that the head takes features as they are.

    Raises: RunError where train lacks a label.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    missing = sorted(set(range(classes)) - set(train_labels_N.tolist()))
    if missing:
        raise RunError("head", f"train holds no item of label number {missing[0]}.")
    best: Probe | None = None
    for pooling, features_ND in train.items():
        mean_D = features_ND.mean(axis=0, dtype=np.float64) if bias else np.float64(0)
        scale_D = np.sqrt(np.square(features_ND - mean_D).mean(axis=0, dtype=np.float64)) + 1e-6
        scaled_ND = ((features_ND - mean_D) / scale_D).astype(np.float32)
        for strength in strengths:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # recorded as converged
                fit = LogisticRegression(
                    C=strength / len(scaled_ND) * 1000, fit_intercept=bias, max_iter=LONGEST_FIT, tol=1e-4
                ).fit(scaled_ND, train_labels_N)
            candidate = _probe(fit, pooling, strength, mean_D, scale_D, dev[pooling], dev_labels_N)
            if best is None or candidate.dev_loss < best.dev_loss:
                best = candidate
    assert best is not None
    return best


def _probe(
    fit: Any,
    pooling: str,
    strength: float,
    mean_D: Any,
    scale_D: NDArray[np.float64],
    dev_ND: NDArray[np.float32],
    dev_labels_N: NDArray[np.int64],
) -> Probe:
    """The fit as a head on features as they are, with its loss on dev."""
    coefficients_CD, intercept_C = fit.coef_, np.resize(fit.intercept_, len(fit.coef_))
    if len(coefficients_CD) == 1:  # two classes: one row, the logit of the second label
        coefficients_CD = np.vstack([-coefficients_CD / 2, coefficients_CD / 2])
        intercept_C = np.concatenate([-intercept_C / 2, intercept_C / 2])
    weight_CD = coefficients_CD / scale_D
    bias_C = intercept_C - weight_CD @ np.broadcast_to(mean_D, weight_CD.shape[1:])
    probe = Probe(pooling, weight_CD.astype(np.float32), bias_C.astype(np.float32), strength)
    probabilities_NC = probe.probabilities(dev_ND)
    gold_N = probabilities_NC[np.arange(len(dev_labels_N)), dev_labels_N]
    return replace(
        probe,
        dev_loss=float(-np.log(gold_N + 1e-12).mean()),
        dev_accuracy=float((probabilities_NC.argmax(axis=1) == dev_labels_N).mean()),
        converged=bool(fit.n_iter_.max() < LONGEST_FIT),
    )


HEAD = Method(
    name="head",
    kind="tuned",
    title="a linear head on the frozen base",
    options=HeadOptions,
    chance=False,
    paper="Alain and Bengio 2016, arXiv:1610.01644",
    differs="Features are computed once without dropout and the head is fitted to convergence; "
    "pooling and L2 strength are chosen on dev.",
    probe=True,
)
