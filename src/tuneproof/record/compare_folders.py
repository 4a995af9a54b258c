"""Comparisons of arms of the same or of two studies, by their folders.

In: folders of arms or of studies. Out: comparisons as values. Knows nothing of: claims, models, how arms run.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.errors import RunError
from tuneproof.inference.prediction import read_predictions
from tuneproof.record import study_folder
from tuneproof.record.diagnoses import describe_under_trained, diagnose_study
from tuneproof.record.finished_arms import FinishedArm, finished_arms, read_study_recipe
from tuneproof.score.compare import compare
from tuneproof.score.verdict import UnderTrained, withhold


def _refuse_different_texts(first: study_folder.StudyRecord, second: study_folder.StudyRecord) -> None:
    """Refuse studies whose test items differ: ids such as "row-2" and golds may agree by chance.

    Raises: RunError if the test items' fingerprints differ.
    """
    prints = [(study.splits.get("fingerprints") or {}).get("test") for study in (first, second)]
    if None not in prints and prints[0] != prints[1]:
        problem = "the test items have the same ids but different texts."
        allowed = "Only scores on the same items are comparable."
        do = "Run both arms in one study, so that they share the same items."
        raise RunError(f"{first.folder} and {second.folder}", problem, allowed, do)


def compare_arms(a: Path, b: Path, metric: str | None) -> dict[str, Any]:
    """Compare two arms by their folders, in the same or in two studies.

    Raises: RunError if an arm is not finished or the items differ.
    """
    first, second = study_folder.read_arm(a), study_folder.read_arm(b)
    study, second_study = (study_folder.read_study(folder.parent.parent) for folder in (a, b))
    recipe = read_study_recipe(study.folder)
    name, second_name = first.label, second.label
    if name == second_name:
        name, second_name = (f"{arm.label} of {arm.folder.parent.parent.name}" for arm in (first, second))
    runs, second_runs = ([read_predictions(folder / study_folder.PREDICTIONS)] for folder in (a, b))
    metric, grouped = metric or recipe.task.metrics[0], study.is_clustered
    comparison = compare(runs, second_runs, metric, name, second_name, recipe.score, grouped)
    _refuse_different_texts(study, second_study)
    under_trained = _under_trained_in(study, [first], name)
    under_trained |= _under_trained_in(second_study, [second], second_name)
    return withhold(comparison, under_trained).as_json()


def _under_trained_in(
    study: study_folder.StudyRecord, runs: Sequence[study_folder.ArmRecord], name: str
) -> dict[str, UnderTrained]:
    """The arm with these runs under this name, if it is under-trained."""
    diagnoses = diagnose_study(replace(study, arms=list(runs), sampled=[]), read_study_recipe(study.folder))
    reason = describe_under_trained(name, diagnoses, len(runs))
    return {name: reason} if reason else {}


def _runs_of(study: study_folder.StudyRecord, arm: FinishedArm) -> list[study_folder.ArmRecord]:
    return [record for record in study.arms if record.label == arm.name(True)]


def compare_studies(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Compare every arm that both studies finished, over all its seeds.

    Raises: RunError if the studies share no finished arm or their items differ.
    """
    first, second = study_folder.read_study(a), study_folder.read_study(b)
    recipe = read_study_recipe(a)
    metric = metric or recipe.task.metrics[0]
    grouped = first.is_clustered
    arms, second_arms = finished_arms(first.arms), finished_arms(second.arms)
    comparisons = []
    for arm in arms:
        for second_arm in second_arms:
            if (arm.arm, arm.model) == (second_arm.arm, second_arm.model):
                name, second_name = (f"{arm.name(True)} of {folder.name}" for folder in (a, b))
                runs = arm.runs, second_arm.runs
                names = name, second_name
                chance = arm.has_chance, second_arm.has_chance
                comparison = compare(*runs, metric, *names, recipe.score, grouped, chance)
                under_trained = _under_trained_in(first, _runs_of(first, arm), name)
                under_trained |= _under_trained_in(second, _runs_of(second, arm), second_name)
                comparisons.append(withhold(comparison, under_trained).as_json())
    if not comparisons:
        problem = "have no finished arm in common."
        allowed = (
            f"Arms: {', '.join(arm.arm for arm in arms)}; and {', '.join(arm.arm for arm in second_arms)}."
        )
        raise RunError(f"{a} and {b}", problem, allowed, "Name the folders of two arms.")
    _refuse_different_texts(first, second)
    return comparisons


def compare_folders(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Compare two arms, or every arm that two studies share, on the same items.

    Raises: RunError where there is nothing to compare or the items differ.
    """
    if (a / study_folder.ARM).is_file() and (b / study_folder.ARM).is_file():
        return [compare_arms(a, b, metric)]
    return compare_studies(a, b, metric)
