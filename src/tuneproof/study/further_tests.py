"""Further test sets in a study: each arm's predictions of them, at its end or added to a finished arm.

In: arms, their results. Out: predictions.NAME.parquet beside predictions.parquet.
Knows nothing of: how an arm predicts, scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.arms.further_tests import has_replies, predict_finished, predict_further, predict_without_model
from tuneproof.atomic import check_folder
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import ArmResult, StudyData
from tuneproof.data.further_tests import FurtherSet
from tuneproof.errors import RunError
from tuneproof.inference.prediction import AnyPredictions, read_predictions_about, write_predictions
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARM, WEIGHTS, further_predictions
from tuneproof.score.decision import decided
from tuneproof.study.arm_runs import ArmRun


def predict_tests(
    run: ArmRun, result: ArmResult, study: StudyData, monitor: Monitor
) -> dict[str, AnyPredictions]:
    """The predictions of every further set by an arm that has just ended."""
    if run.spec is not None:
        return predict_further(result, study, monitor)
    return _predict_without_model(run, study, study.tests, result.chosen)


def _predict_without_model(
    run: ArmRun, study: StudyData, tests: Sequence[FurtherSet], chosen: Mapping[str, Any]
) -> dict[str, AnyPredictions]:
    """The predictions of these sets, their labels by the decision that dev chose."""
    return {
        further.name: decided(
            predict_without_model(study, run.arm, further, run.folder, run.random_seed), chosen
        )
        for further in tests
    }


def write_tests(run: ArmRun, study: StudyData, predictions: Mapping[str, AnyPredictions]) -> None:
    """Write a file for each set; a system's file that answers none of its items gives none."""
    for further in study.tests:
        rows = predictions.get(further.name)
        if rows is not None and has_replies(rows):
            about = {"arm": run.arm.name, "model": run.spec.name if run.spec else None, "seed": run.seed}
            about |= {"part": further.name, "items": further.report["fingerprint"]}
            write_predictions(run.folder / further_predictions(further.name), rows, about)


def missing_tests(run: ArmRun, study: StudyData) -> list[FurtherSet]:
    """The sets of which a finished arm has no predictions, or those of other items."""
    if run.train_size is not None or run.impossible:
        return []
    return [
        further
        for further in study.tests
        if read_predictions_about(run.folder / further_predictions(further.name)).get("items")
        != further.report["fingerprint"]
    ]


def predict_later(
    run: ArmRun, study: StudyData, context: ArmContext | None, missing: Sequence[FurtherSet]
) -> dict[str, AnyPredictions]:
    """The predictions of these sets by a finished arm; nothing trains.

    Raises: RunError where it has no weights, or they were changed.
    """
    chosen = read_object(run.folder / ARM).get("chosen") or {}
    if context is None:
        return _predict_without_model(run, study, missing, chosen)
    weights = run.folder / WEIGHTS
    if run.arm.method.kind == "tuned" and not weights.is_dir():
        problem = "has no weights any more."
        raise RunError(str(run.folder), problem, do=f"Train it again with --restart {run.arm.name}.")
    if weights.is_dir():
        check_folder(weights)
    return {further.name: predict_finished(context, weights, chosen, further) for further in missing}
