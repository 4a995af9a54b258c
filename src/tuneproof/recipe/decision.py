"""The section `decision` of a recipe: how probabilities become labels.

In: plain values. Out: the typed section. Knows nothing of: labels of data, probabilities.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.metrics import METRICS
from tuneproof.metrics.labels import MAX_COST
from tuneproof.recipe.yaml import Document
from tuneproof.settings import Settings, as_label_names, is_number
from tuneproof.tasks.task import Task

CostsByLabel = dict[str, dict[str, float]]


class DecisionSettings(Settings):
    """How the probabilities of a label task become labels, for every arm that has probabilities. Default: the
    most probable label."""

    threshold: Literal["dev"] | None = None
    """dev: of two labels, predict the positive class (the last label) above the probability at which the
    metric is best on dev, each arm for itself; of equal ones the nearest to 0.5."""
    metric: str | None = None
    """Metric that the threshold is chosen by (default: the first claim's, else the task's first)."""
    costs: CostsByLabel | None = None
    """Costs of mistakes, {GOLD: {PREDICTED: COST}}: predict the label with the least expected cost (Elkan
    2001). Mistakes that are not named cost 1, right labels 0. The metric mean_cost is then scored, and a
    claim may name it."""
    temperature: Literal["dev"] | None = None
    """dev: with costs, read the probabilities at the temperature with the lowest loss on dev (Guo et al.
    2017), since an overconfident arm misjudges what a mistake costs."""

    @property
    def is_set(self) -> bool:
        """Whether anything but the most probable label is predicted."""
        return self.threshold is not None or self.costs is not None

    @field_validator("costs", mode="before")
    @classmethod
    def _check_costs(cls, value: Any) -> Any:
        if value is None:
            return None
        rows = list(value.values()) if isinstance(value, Mapping) else []
        if not rows or not all(isinstance(row, Mapping) for row in rows):
            raise ValueError("it should be costs by gold and predicted label, such as {spam: {ham: 5}}")
        costs = {gold: as_label_names(row) for gold, row in as_label_names(value).items()}
        for gold, row in costs.items():
            for predicted, cost in row.items():
                if not is_number(cost) or not 0 <= cost <= MAX_COST:
                    problem = f"{predicted} for {gold} costs {cost!r}"
                    raise ValueError(f"{problem}; it should be a number from 0 to {MAX_COST:,.0f}")
        return costs

    @model_validator(mode="after")
    def _check_one_rule(self) -> "DecisionSettings":
        if self.threshold is not None and self.costs is not None:
            raise ValueError("it has a threshold and costs: write one of them")
        if self.temperature is not None and self.costs is None:
            raise ValueError("it has a temperature without costs, which alone depend on it")
        if self.metric is not None and self.threshold is None:
            raise ValueError("it has a metric without a threshold, which alone is chosen by it")
        return self


def check_label_settings(decision: DecisionSettings, weighs: bool, task: Task, document: Document) -> None:
    """Raises RecipeError for settings of labels in a task without labels. weighs: classes have weights."""
    names = {"decision": decision.is_set, "train.class_weights": weighs}
    for name, is_set in names.items():
        if is_set and task.kind != "labels":
            problem = f"{name} is for tasks with labels, and {task.name} is one of {task.kind}."
            raise document.error(tuple(name.split(".")), problem, "Leave it out.")


def check_decision_metric(decision: DecisionSettings, metrics: Mapping[str, str], document: Document) -> None:
    """Raises RecipeError for a metric that the decision cannot be made by, or that needs its costs.

    metrics: where each metric of the recipe is named.
    """
    if decision.metric is not None and decision.metric not in METRICS:
        problem = f"decision.metric: {decision.metric} is not a metric."
        raise document.error(("decision", "metric"), problem, did_you_mean(decision.metric, METRICS))
    for name, where in metrics.items():
        if METRICS[name].needs == "costs" and decision.costs is None:
            problem = f"{where}: {name} needs the costs of mistakes."
            raise document.error((where,), problem, "Write decision: {costs: {GOLD: {PREDICTED: COST}}}.")


def check_costs(costs: CostsByLabel, labels: Sequence[str]) -> None:
    """Raises RecipeError where a mistake costs less than the right label, or nothing differs in its cost."""
    costs_CC = cost_matrix(costs, labels)
    for gold, right in enumerate(np.diag(costs_CC)):
        predicted = int(costs_CC[gold].argmin())
        if costs_CC[gold, predicted] < right:
            cost = f"{labels[predicted]} costs {costs_CC[gold, predicted]:g}"
            problem = f"where {labels[gold]} is right, {cost}, and the right label {right:g}."
            raise RecipeError(
                "decision.costs", problem, "A mistake costs as much as the right label, or more."
            )
    if np.all(costs_CC == np.diag(costs_CC)[:, None]):
        raise RecipeError("decision.costs", "no mistake costs anything.", do="Name what mistakes cost.")


def cost_matrix(costs: CostsByLabel, labels: Sequence[str]) -> NDArray[np.float64]:
    """The costs [gold, predicted]: right labels that are not named cost 0, mistakes that are not named 1."""
    costs_CC = 1.0 - np.eye(len(labels))
    for gold, row in costs.items():
        for predicted, cost in row.items():
            costs_CC[labels.index(gold), labels.index(predicted)] = cost
    return costs_CC


def check_named_labels(named: Mapping[str, Collection[str]], labels: Sequence[str]) -> None:
    """Raises RecipeError for a setting that names what is no label of the data. named: labels by setting."""
    for setting, names in named.items():
        for name in names:
            if name not in labels:
                problem = f"{name!r} is not a label of this study."
                raise RecipeError(setting, problem, do=did_you_mean(name, labels))
