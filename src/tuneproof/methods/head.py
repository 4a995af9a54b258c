"""A linear head on the frozen base: features once, then a convex fit.

In: features and labels of train and dev. Out: the head's weight and bias, and what dev chose.
Knows nothing of: how features are computed.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from tuneproof.errors import RunError
from tuneproof.methods.linear_head import HeadData, LinearHead, chosen_by, linear_head
from tuneproof.methods.method import Method
from tuneproof.methods.options import PoolingOption, StrengthsOption
from tuneproof.methods.span_head import fit_span_head

MAX_ITERATIONS = 3000  # of L-BFGS


class HeadOptions(StrengthsOption, PoolingOption):
    """Settings of the head."""


def fit_logistic_head(options: StrengthsOption, data: HeadData) -> LinearHead:
    """Multinomial logistic regression for every pooling and strength; the lowest dev loss wins.

    Features are divided by their root mean square (after centring, where the head has a bias) for
    the fit; the scale is folded into the weight, so that the head takes features as they are.

    Raises: RunError where train has no item of a label.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    missing = sorted(set(range(data.classes)) - set(data.train_labels_N.tolist()))
    if missing:
        raise RunError("head", f"train has no item of label number {missing[0]}.")
    heads: list[LinearHead] = []
    for pooling, features_ND in data.train.items():
        mean_D = features_ND.mean(axis=0, dtype=np.float64) if data.has_bias else np.float64(0)
        scale_D = np.sqrt(np.square(features_ND - mean_D).mean(axis=0, dtype=np.float64)) + 1e-6
        scaled_ND = ((features_ND - mean_D) / scale_D).astype(np.float32)
        for strength in options.strengths:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # recorded as converged
                fit = LogisticRegression(
                    C=strength / len(scaled_ND) * 1000,
                    fit_intercept=data.has_bias,
                    max_iter=MAX_ITERATIONS,
                    tol=1e-4,
                ).fit(scaled_ND, data.train_labels_N, data.weights_of(data.train_labels_N))
            head = linear_head(pooling, fit.coef_, fit.intercept_, mean_D, scale_D)
            heads.append(replace(head, chosen=_chosen(head, data, strength, fit)))
    return min(heads, key=lambda head: head.chosen["dev_loss"])


def _chosen(head: LinearHead, data: HeadData, strength: float, fit: Any) -> dict[str, Any]:
    """What dev chooses by, and how well the head does there."""
    loss, accuracy = head.dev_loss_and_accuracy(data)
    converged = bool(fit.n_iter_.max() < MAX_ITERATIONS)
    scores = {"strength": strength, "dev_loss": loss, "dev_accuracy": accuracy}
    return {**scores, "converged": converged, "by": chosen_by(data.weights_C is not None)}


HEAD = Method(
    name="head",
    kind="tuned",
    title="a linear head on the frozen base",
    options=HeadOptions,
    chance=False,
    paper="Alain and Bengio 2016, arXiv:1610.01644",
    differs="Features are computed once without dropout and the head is fitted to convergence; "
    "pooling and L2 strength are chosen on dev.",
    fit_head=fit_logistic_head,
    fit_span_head=fit_span_head,
)
