"""An arm's predictions of further test sets: at its end, or later by its saved weights.

In: an arm's result, or its context and folder; further test sets. Out: predictions by the set's name.
Knows nothing of: scores, files other than the arm's weights.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.reload import at_dev_threshold, reload_model
from tuneproof.arms.system import run_system
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.few_shot import shots_of
from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import ArmResult, StudyData
from tuneproof.data.further_tests import FurtherSet
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics.metric import UNPARSED
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example


def part_name(further: FurtherSet) -> str:
    """What the set's part is called where train, dev and test have names."""
    return f"tests-{further.name}"


def predict_further(result: ArmResult, study: StudyData, monitor: Monitor) -> dict[str, AnyPredictions]:
    """The arm's predictions of every further set, by the model that predicted test, at dev's threshold."""
    predictions: dict[str, AnyPredictions] = {}
    for further in study.tests if result.predict is not None else ():
        assert result.predict is not None
        monitor.stage(f"predict {further.name}", len(further.items))
        rows = result.predict(further.items, part_name(further))
        if isinstance(rows, AnswerPredictions) and isinstance(result.test, AnswerPredictions):
            rows = rows.with_threshold(result.test.threshold)
        predictions[further.name] = rows
    return predictions


def predict_without_model(
    study: StudyData, arm: Arm, further: FurtherSet, folder: Path, seed: int
) -> AnyPredictions:
    """A baseline's predictions, fitted again as it was, or the replies of a system made elsewhere.

    The prompt's examples are those of the study's own dev and test: a further set changes none.
    """
    there = with_test(study, further.items)
    if arm.method.kind == "system":
        return run_system(there, arm, Monitor(), shots_of(study, arm, seed), folder).test
    return run_baseline(there, arm, Monitor()).test


def with_test(study: StudyData, items: list[Example]) -> StudyData:
    """The study data with these items in place of test."""
    return replace(study, splits=replace(study.splits, test=items), tests=())


def has_replies(predictions: AnyPredictions) -> bool:
    """Whether any item was answered: a file of predictions may hold none of a set's items."""
    return isinstance(predictions, AnswerPredictions) or bool((predictions.predicted_N != UNPARSED).any())


def predict_finished(
    context: ArmContext, weights: Path, chosen: Mapping[str, Any], further: FurtherSet
) -> AnyPredictions:
    """The predictions of a finished arm with a model, reloaded from its weights; nothing trains.

    Raises: ModelError where the weights do not fit.
    """
    name, items = part_name(further), further.items
    context.monitor.stage(f"predict {further.name}", len(items))
    with context.attention(name, items):
        predictions = reload_model(context, weights, chosen)(context, items, name)
    return at_dev_threshold(predictions, chosen)
