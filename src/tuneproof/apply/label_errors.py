"""Rank the items of a finished study whose label may be wrong, and write them to correct.

In: a study's folder. Out: label_errors.csv and label_errors.json in it.
Knows nothing of: how labels are judged.
"""

from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import read_finished_arm, study_recipe, train_context
from tuneproof.apply.labels import write_rows
from tuneproof.atomic import write_json
from tuneproof.errors import DataError, TuneproofError
from tuneproof.record.label_errors import find_label_errors
from tuneproof.record.study_folder import LABEL_ERRORS_CSV, LABEL_ERRORS_JSON, ArmRecord, read_study
from tuneproof.tasks.corrections import CORRECTED, read_corrections_table, unguarded
from tuneproof.tasks.label_columns import as_name

COLUMNS = ("id", "part", "text", "label", CORRECTED, "suggested", "score", "why")


def write_label_errors(folder: Path) -> dict[str, Any]:
    """Find the suspected label errors of a study and write both files; returns the value of the second.

    What was written into the column `corrected` before stays.

    Raises: RunError if the study is not one of labels, or no model can judge its items; DataError if the
    earlier file cannot be read.
    """
    earlier = _corrected_rows(folder / LABEL_ERRORS_CSV)
    features, missing = _features_of_train(folder)
    value = find_label_errors(folder, features)
    value["skipped"] += missing
    by_hand = {id: {CORRECTED: row[CORRECTED]} for id, row in earlier.items()}
    suspected = [{**row, **by_hand.get(row["id"], {CORRECTED: ""})} for row in value["rows"]]
    others = sorted(earlier.keys() - {row["id"] for row in suspected})
    rows = [{name: row[name] for name in COLUMNS} for row in (*suspected, *(earlier[id] for id in others))]
    write_rows(rows or [dict.fromkeys(COLUMNS, "")], str(folder / LABEL_ERRORS_CSV))
    write_json(folder / LABEL_ERRORS_JSON, value)
    return value


def _corrected_rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier file in which a label was corrected, by id."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    try:
        table = read_corrections_table(str(path))
    except DataError as error:
        do = f"{error.do} Or move the file away: what was corrected in it is not overwritten."
        raise DataError(error.where, error.problem, error.allowed, do) from None
    if not {"id", CORRECTED} <= set(table.columns):
        return {}
    rows = (
        dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)
    )
    return {
        unguarded(str(row["id"])): {name: unguarded(str(row.get(name, ""))) for name in COLUMNS}
        for row in rows
        if as_name(row[CORRECTED]) is not None
    }


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
