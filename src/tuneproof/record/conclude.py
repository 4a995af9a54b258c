"""Comparisons and the verdict, from a study's files alone.

In: a study's directory. Out: comparisons.json. Knows nothing of: models, how arms were run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.atomic import write_json
from tuneproof.errors import DataError, RecipeError, RunError
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe
from tuneproof.record import study_folder
from tuneproof.record.as_good import as_good_as_best, study_on_dev
from tuneproof.record.finished_arms import FinishedArm
from tuneproof.record.finished_study import FinishedStudy, read_finished_study
from tuneproof.record.further_tests import further_sentences, further_tests
from tuneproof.record.registration import UNRECORDED, recorded_entries, registration_of
from tuneproof.record.train_sizes import by_train_size
from tuneproof.score.scores import unavailable_reason
from tuneproof.score.verdict import Comparison, make_verdict

DIGITS = 9  # to which a score computed again is the same


def conclude(folder: Path) -> dict[str, Any]:
    """Score every arm over its seeds, compare the arms, write comparisons.json. Returns the verdict."""
    record = study_folder.read_study(folder)
    value = _conclusions(read_finished_study(record), record)
    write_json(folder / study_folder.COMPARISONS, value)
    verdict: dict[str, Any] = value["verdict"]
    return verdict


def _conclusions(study: FinishedStudy, record: study_folder.StudyRecord) -> dict[str, Any]:
    """The value of comparisons.json."""
    claims, further = study.claims_and_further()
    without = study.without_lookalikes(record)
    tests = further_tests(study, record)
    verdict = _verdict(study, claims, further, [without["sentence"]] if without else [])
    verdict["sentences"] += further_sentences(tests)
    verdict["sentence"] = " ".join(verdict["sentences"])
    on_dev = study_on_dev(study, record)
    return {
        "comparisons": [
            *({**c.as_json(), "claim": True} for c in claims),
            *({**c.as_json(), "claim": False} for c in further),
        ],
        "arms": _scored_arms(study, on_dev),
        "by_train_size": by_train_size(study, record),
        "diagnoses": [diagnosis.as_json() for diagnosis in study.diagnoses if diagnosis.findings],
        "registration": study.registration if "digest" in study.registration else None,
        "without_lookalikes": without,
        "as_good": as_good_as_best(study, on_dev),
        "tests": tests,
        "verdict": verdict,
        "not_compared": study.skipped,
        "not_computed": _missing_requirements(study.recipe),
    }


def _verdict(
    study: FinishedStudy, claims: Sequence[Comparison], further: Sequence[Comparison], last: Sequence[str]
) -> dict[str, Any]:
    """The verdict with what qualifies it: changed claims behind the first; `last`: on lookalikes."""
    verdict = make_verdict(claims, study.over_baselines([*claims, *further]))
    sentences = verdict["sentences"]
    if study.recipe.claims and not claims:
        first = study.recipe.claims[0]
        unfinished = f"{first.arm} or {first.over} did not finish with any model."
        sentences[0] = f"No verdict: {study.skipped[0] if study.skipped else unfinished}"
    if changes := study.registration["claim_changes"]:
        pairs = f"all {len(claims) + len(further)} comparisons, any of which could have become the claim"
        correction = [f"Holm's correction is for {pairs}."] if claims else []
        sentences.insert(1, " ".join([*changes, *correction]))
    sentences += last
    return {**verdict, "sentence": " ".join(sentences)}


def conclude_again(folder: Path) -> bool:
    """Conclude a study again whose conclusions lack what this version adds: diagnoses, scores on dev.

    They stay where the study no longer holds what they are about (an arm was restarted, a claim edited) or
    where it cannot be concluded (predictions are missing). The registration stays as it is. Returns whether
    the study was concluded again.

    Raises: RunError if the folder holds no study.
    """
    record = study_folder.read_study(folder)
    concluded = record.comparisons
    if study_folder.study_format(folder) != study_folder.FORMAT or not _is_older(concluded):
        return False
    try:
        study = read_finished_study(record, _stored_registration(record))
        value = _conclusions(study, record)
    except (RunError, RecipeError, DataError):
        return False
    if _subject(value, study.metric) != _subject(concluded, study.metric):
        return False
    write_json(folder / study_folder.COMPARISONS, value)
    return True


def _stored_registration(record: study_folder.StudyRecord) -> dict[str, Any]:
    """What was registered, without what the recipe would add now."""
    if entries := recorded_entries(record.folder):
        return registration_of(entries)
    return {**UNRECORDED, **(record.comparisons.get("registration") or {})}


def _subject(concluded: dict[str, Any], metric: str) -> tuple[dict[Any, Any], set[Any]]:
    """What conclusions are about: each arm's number of seeds with its score on test, and the claims.

    An arm that ran again has the seeds that it had, and another score.
    """
    finished = {}
    for arm in [*(concluded.get("arms") or []), *(concluded.get("by_train_size") or [])]:
        score = arm.get("score") or (arm.get("scores") or {}).get(metric) or {}
        identity = (arm["arm"], arm.get("model"), arm.get("train_size"))
        finished[identity] = (arm.get("seeds"), round(score.get("value") or 0.0, DIGITS))
    return finished, _claimed_pairs(concluded)


def _claimed_pairs(concluded: dict[str, Any]) -> set[tuple[Any, ...]]:
    keys, pairs = ("arm", "over", "metric", "margin"), concluded.get("comparisons") or []
    return {tuple(pair.get(key) for key in keys) for pair in pairs if pair.get("claim")}


def _is_older(concluded: dict[str, Any]) -> bool:
    """Whether the conclusions lack a key that this version adds."""
    arms = concluded.get("arms") or []
    return bool(arms) and ("diagnoses" not in concluded or any("dev_scores" not in arm for arm in arms))


def _scored_arms(study: FinishedStudy, on_dev: FinishedStudy) -> list[dict[str, Any]]:
    """Every arm with its scores on test and on dev, over all its seeds; none on dev without predictions."""
    dev_scores = {
        (arm.arm, arm.model): on_dev.scores(arm, _available_metrics(study.recipe, arm)) for arm in on_dev.arms
    }
    return [
        {
            **arm.about(),
            "scores": study.scores(arm, _available_metrics(study.recipe, arm)),
            "dev_scores": dev_scores.get((arm.arm, arm.model), {}),
        }
        for arm in study.arms
    ]


def _available_metrics(recipe: Recipe, arm: FinishedArm) -> list[str]:
    """The recipe's metrics that can be computed from an arm's predictions."""
    items_S = [run.items for run in arm.runs]
    return [name for name in recipe.metric_names if not unavailable_reason(METRICS[name], items_S)]


def _missing_requirements(recipe: Recipe) -> list[str]:
    """What this machine is missing for the recipe's metrics, each reason once."""
    checks = [METRICS[name].missing_requirement for name in recipe.metric_names]
    return list(dict.fromkeys(reason for check in checks if check and (reason := check())))
