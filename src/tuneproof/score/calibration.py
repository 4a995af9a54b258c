"""Calibration: its error with an interval, and the temperature that improves it, fitted on dev.

In: probabilities and gold labels. Out: an error; a temperature, and the probabilities at that temperature.
Knows nothing of: files, reports, how predictions were made.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError
from tuneproof.metrics import Items, evaluate
from tuneproof.metrics.labels import CALIBRATION, squared_calibration_error
from tuneproof.score.intervals import Interval, Side, estimate, student_interval
from tuneproof.score.jackknife import item_spread

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


def calibration_error(
    items_S: Sequence[Items], groups: Sequence[str] | None, level: float
) -> tuple[float, Interval]:
    """The debiased calibration error over the seeds, with its interval: roots of those of its square.

    The square is estimated without bias, and is normal where the arm is miscalibrated. Where it is calibrated
    the jackknife's variance is twice the true one, as of any degenerate U-statistic, and the interval is
    wider than necessary.

    Source: Sun et al. 2024, arXiv:2408.08998, section 3; Efron and Stein 1981, Annals of Statistics 9(3).
    """
    squared = replace(CALIBRATION, from_totals=squared_calibration_error)
    values_S = np.array([evaluate(squared, items) for items in items_S])
    spread = item_spread(squared, items_S, groups)
    estimated = estimate(values_S, spread, [Side(0, len(items_S), 1.0)], level)
    interval = student_interval(estimated, level)
    low, high = (sqrt(min(max(end, 0.0), 1.0)) for end in (interval.low, interval.high))
    return sqrt(max(estimated.value, 0.0)), Interval(low, high)
