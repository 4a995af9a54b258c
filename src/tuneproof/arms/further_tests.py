"""An arm's predictions of further test sets: at its end, or later by its saved weights.

In: an arm's result, or its context and folder; further test sets. Out: predictions by the set's name.
Knows nothing of: scores, files other than the arm's weights.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.system import run_system
from tuneproof.context.arm_context import ArmContext
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
    """A baseline's predictions, fitted again as it was, or the replies of a system made elsewhere."""
    there = with_test(study, further.items)
    if arm.method.kind == "system":
        return run_system(there, arm, Monitor(), folder, seed).test
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
    method, name, items = context.arm.method, part_name(further), further.items
    context.monitor.stage(f"predict {further.name}", len(items))
    predictions: AnyPredictions
    with context.attention(name, items):
        if method.kind == "prompt":
            from tuneproof.arms.prompted import load_prompt_model, make_predictor

            train = {example.id: example for example in context.splits.train}
            shots = [train[id] for id in chosen.get("shots", [])]
            predictions = make_predictor(context, shots).predict(load_prompt_model(context), items, name)
        elif method.kind == "finished":
            from tuneproof.arms.finished_model import finished_predictor, load_finished, own_prompt

            own = own_prompt(context)
            predictions = finished_predictor(own).predict(load_finished(own), items, name)
        elif method.apply is None and context.study.kind == "labels":
            from tuneproof.arms.probe import predict_with_head

            predictions = predict_with_head(context, weights, items, name)
        else:
            from tuneproof.arms.tuned import reload_arm
            from tuneproof.objectives.make import make_objective

            predictions = make_objective(context).predict(reload_arm(context, weights), items, name)
    if isinstance(predictions, AnswerPredictions):
        return predictions.with_threshold(chosen["answers"]["no_answer_threshold"])
    return predictions
