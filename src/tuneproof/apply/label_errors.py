"""Rank the items of a finished study whose label may be wrong, and write them to correct.

In: a study's folder. Out: label_errors.csv and label_errors.json in it.
Knows nothing of: how labels are judged.
"""

from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import read_finished_arm, study_recipe, train_context
from tuneproof.apply.labels import write_rows
from tuneproof.atomic import write_json
from tuneproof.errors import TuneproofError
from tuneproof.record.label_errors import find_label_errors
from tuneproof.record.study_folder import LABEL_ERRORS_CSV, LABEL_ERRORS_JSON, ArmRecord, read_study

COLUMNS = ("id", "part", "text", "label", "suggested", "score", "why")


def write_label_errors(folder: Path) -> dict[str, Any]:
    """Find the suspected label errors of a study and write both files; returns the value of the second.

    Raises: RunError if the study is not one of labels, or no model can judge its items.
    """
    features, missing = _features_of_train(folder)
    value = find_label_errors(folder, features)
    value["skipped"] += missing
    rows = [{name: row[name] for name in COLUMNS} for row in value["rows"]]
    write_rows(rows or [dict.fromkeys(COLUMNS, "")], str(folder / LABEL_ERRORS_CSV))
    write_json(folder / LABEL_ERRORS_JSON, value)
    return value


def _features_of_train(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """For every model with a head on its frozen base, features of the train items; and why there are none."""
    features: dict[str, Any] = {}
    missing: list[str] = []
    for arm in read_study(folder).arms:
        model = str(arm.about.get("model"))
        if arm.about["status"] != "done" or model in features or not _has_features(arm):
            continue
        from tuneproof.arms.probe import base_features

        try:
            context = train_context(read_finished_arm(arm.folder))
            features[model] = base_features(context, ("train",))["train"][arm.about["chosen"]["pooling"]]
        except TuneproofError as error:
            missing.append(f"Train, without features of {model}: {error}")
    return features, missing


def _has_features(arm: ArmRecord) -> bool:
    """Whether the arm is a head on pooled features of the frozen base."""
    recipe = study_recipe(arm)
    names = [listed.name for listed in recipe.arms]
    if recipe.task.kind != "labels" or arm.about["arm"] not in names:
        return False
    method = recipe.arm(arm.about["arm"]).method
    return (
        method.fit_head is not None and method.apply is None and "pooling" in (arm.about.get("chosen") or {})
    )
