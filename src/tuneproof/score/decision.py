"""How probabilities become labels: the most probable, above a threshold, or that of the least expected cost.

In: predictions of dev, which chooses; predictions to decide. Out: a Decision, predictions with its labels.
Knows nothing of: models, files, which part the predictions belong to.

A threshold t on the positive class is the cost matrix in which a false alarm costs t and a miss 1 - t, so
that there is one rule. Shapes: N items, C labels, K cuts; costs_CC[gold, predicted].
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RunError
from tuneproof.inference.prediction import AnyPredictions, Predictions
from tuneproof.metrics import METRICS, UNPARSED, Items, Metric, evaluate
from tuneproof.recipe.decision import DecisionSettings, cost_matrix
from tuneproof.score.calibration import apply_temperature, fit_temperature

Floats = NDArray[np.float64]

SAME = 1e-12
NO_CUT = 1e-9  # probabilities nearer to each other are not told apart
HALF = 0.5
WITHOUT_PROBABILITIES = "The arm has no probabilities to decide by: its labels are its own."


@dataclass(frozen=True)
class Decision:
    """The label with the least expected cost, of equal ones the more probable.

    temperature: at which the probabilities are read.

    Source: Elkan 2001, The Foundations of Cost-Sensitive Learning, equation 1 and theorem 1.
    """

    costs_CC: Floats
    temperature: float = 1.0

    @classmethod
    def at_threshold(cls, threshold: float) -> "Decision":
        """The second of two labels above this probability."""
        return cls(np.array([[0.0, threshold], [1 - threshold, 0.0]]))

    def expected_costs(self, probabilities_NC: Floats) -> Floats:
        """What each label costs on average, by the probabilities of the golds."""
        if self.temperature != 1.0:
            probabilities_NC = apply_temperature(probabilities_NC, self.temperature)
        return probabilities_NC @ self.costs_CC

    def labels(self, probabilities_NC: Floats) -> NDArray[np.int64]:
        """The label of each item."""
        expected_NC = self.expected_costs(probabilities_NC)
        slack = SAME * float(self.costs_CC.max())
        is_least_NC = expected_NC <= expected_NC.min(axis=1, keepdims=True) + slack
        return np.where(is_least_NC, probabilities_NC, -1.0).argmax(axis=1).astype(np.int64)


def choose_decision(settings: DecisionSettings, metric: str, dev: AnyPredictions) -> dict[str, Any]:
    """What dev chooses, as `chosen.decision` of an arm's record; empty where nothing is to be decided.

    metric: that a threshold maximises.
    """
    if not settings.is_set or not isinstance(dev, Predictions):
        return {}
    if settings.costs is None:
        if dev.probabilities_NC is None:
            return {"applies": False}
        return _choose_threshold(METRICS[metric], dev)
    costs_CC = cost_matrix(settings.costs, dev.labels)
    entry: dict[str, Any] = {"costs": costs_CC.tolist()}
    if dev.probabilities_NC is None:
        return {"applies": False, **entry}
    temperature = fit_temperature(dev.probabilities_NC, dev.gold_N) if settings.temperature else 1.0
    entry |= {"temperature": temperature, "by": "least expected cost"}
    before = replace(dev, costs_CC=costs_CC)
    after = decided(dev, {"decision": entry})
    return {**entry, "metric": "mean_cost", **_dev_values(METRICS["mean_cost"], before.items, after.items)}


def decided(predictions: AnyPredictions, chosen: Mapping[str, Any]) -> AnyPredictions:
    """The predictions with the labels that the choice of an arm's record gives them.

    What names no label stays so: a reply is not replaced.

    Raises: RunError where the record fits other labels.
    """
    entry = chosen.get("decision")
    if not entry or not isinstance(predictions, Predictions):
        return predictions
    if "costs" in entry:
        predictions = replace(predictions, costs_CC=_read_costs(entry["costs"], len(predictions.labels)))
    decision = read_decision(entry, len(predictions.labels))
    if decision is None or predictions.probabilities_NC is None:
        return predictions
    labels_N = decision.labels(predictions.probabilities_NC)
    is_label_N = predictions.predicted_N != UNPARSED
    return replace(predictions, predicted_N=np.where(is_label_N, labels_N, UNPARSED))


def read_decision(entry: Mapping[str, Any], labels: int) -> Decision | None:
    """The decision of a record's entry; None where the arm has none.

    Raises: RunError where it is not one for so many labels.
    """
    if not entry or entry.get("applies") is False:
        return None
    if "threshold" in entry:
        if labels != 2:
            raise _other_labels(f"a threshold is for two labels, and there are {labels}.")
        return Decision.at_threshold(float(entry["threshold"]))
    return Decision(_read_costs(entry["costs"], labels), float(entry.get("temperature", 1.0)))


def decision_sentence(entry: Mapping[str, Any]) -> str:
    """How an arm's labels are decided; empty where it predicts the most probable one."""
    if not entry or entry.get("applies") is False:
        return ""
    if "threshold" in entry:
        return (
            f"{entry['positive']} is predicted where its probability is above {entry['threshold']:.4g}, "
            f"which dev chose by {entry['metric']}, not above 0.5."
        )
    at = (
        f", read at the temperature {entry['temperature']:.3g}"
        if entry.get("temperature", 1.0) != 1.0
        else ""
    )
    return f"The label with the least expected cost is predicted{at}, not the most probable one."


def _read_costs(values: Any, labels: int) -> Floats:
    costs_CC = np.array(values, dtype=np.float64)
    if costs_CC.shape != (labels, labels) or not np.isfinite(costs_CC).all():
        raise _other_labels(f"its costs have the shape {list(costs_CC.shape)}, for {labels} labels.")
    return costs_CC


def _other_labels(problem: str) -> RunError:
    return RunError("arm.json: decision", problem, do="Restore the file, or run the arm again.")


def _choose_threshold(metric: Metric, dev: Predictions) -> dict[str, Any]:
    threshold = best_label_threshold(metric, dev)
    entry = {"threshold": threshold, "positive": dev.labels[1], "metric": metric.name}
    most = "lowest" if metric.direction == "down" else "highest"
    after = decided(dev, {"decision": entry})
    values = _dev_values(metric, dev.items, after.items)
    return {**entry, **values, "by": f"{most} {metric.name} on dev"}


def _dev_values(metric: Metric, before: Items, after: Items) -> dict[str, float]:
    return {"dev_value": evaluate(metric, after), "dev_value_before": evaluate(metric, before)}


def best_label_threshold(metric: Metric, dev: Predictions) -> float:
    """The probability of the second of two labels above which it is predicted: the metric is best on dev.

    Of equally good thresholds the one nearest to 0.5. Candidates lie between neighbouring probabilities of
    dev, at 0.5 where it is between them, else in the middle; and one below and one above all of them.
    """
    assert dev.probabilities_NC is not None
    share_N = dev.probabilities_NC[:, 1] / dev.probabilities_NC.sum(axis=1)
    order = np.argsort(share_N, kind="stable")
    share_N = share_N[order]
    is_label_N = dev.predicted_N != UNPARSED

    def statistics(label: int) -> Floats:
        predicted_N = np.where(is_label_N, label, UNPARSED)
        return metric.per_item(replace(dev.items, predicted_N=predicted_N))[order]

    below_NS, above_NS = statistics(0), statistics(1)
    first_S = np.zeros((1, below_NS.shape[1]))
    below_KS = np.concatenate([first_S, np.cumsum(below_NS, axis=0)])
    above_KS = above_NS.sum(axis=0) - np.concatenate([first_S, np.cumsum(above_NS, axis=0)])
    value_K = metric.from_totals(below_KS + above_KS, len(dev.labels))
    value_K = -value_K if metric.direction == "down" else value_K
    low_K, high_K = np.concatenate([[0.0], share_N]), np.concatenate([share_N, [1.0]])
    cut_K = np.where((low_K < HALF) & (high_K > HALF), HALF, (low_K + high_K) / 2)
    is_cut_K = high_K - low_K > NO_CUT
    best_K = is_cut_K & (value_K >= value_K[is_cut_K].max() - SAME)
    candidates = cut_K[best_K]
    return float(candidates[np.argmin(np.abs(candidates - HALF))])
