"""Temperature scaling: one number, fitted on dev, that calibrates an arm's probabilities.

In: probabilities and gold labels. Out: a temperature, and the probabilities at that temperature.
Knows nothing of: files, reports, how predictions were made.
"""

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError

LOWEST, HIGHEST = 0.05, 20.0
TINY = 1e-12


def apply_temperature(probabilities_NC: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """softmax(log p / T) of each row: T above 1 lowers confidence, T below 1 raises it; the argmax stays."""
    logits_NC = np.log(np.maximum(probabilities_NC, TINY)) / temperature
    powers_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return powers_NC / powers_NC.sum(axis=1, keepdims=True)


def fit_temperature(probabilities_NC: NDArray[np.float64], gold_N: NDArray[np.int64]) -> float:
    """The temperature in 0.05..20 with the lowest mean negative log-likelihood of the gold labels.

    Raises: RunError if there are no items.
    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    if len(gold_N) == 0:
        raise RunError("temperature", "dev has no items.", do="Give dev some items.")
    rows_N = np.arange(len(gold_N))

    def loss(log_temperature: float) -> float:
        gold_probability_N = apply_temperature(probabilities_NC, float(np.exp(log_temperature)))[
            rows_N, gold_N
        ]
        return float(-np.log(np.maximum(gold_probability_N, TINY)).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
