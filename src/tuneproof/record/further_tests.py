"""The scores on further test sets: each arm's drop from the main test set, and whether the claims hold there.

In: a finished study, read back. Out: values for comparisons.json, and sentences for the verdict.
Knows nothing of: how items were predicted, reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.inference.prediction import read_predictions_about
from tuneproof.metrics import METRICS
from tuneproof.record.finished_arms import FinishedArm, finished_arms
from tuneproof.record.finished_study import FinishedStudy
from tuneproof.record.study_folder import StudyRecord, further_predictions
from tuneproof.score.drop import Drop, OnTest, adjust_drops, measure_drop
from tuneproof.score.scores import unavailable_reason
from tuneproof.score.verdict import Comparison, join_names, metric_name

MAX_LEAK_SHARE = 0.01
MAX_NAMED = 4


@dataclass(frozen=True)
class _There:
    """A further test set: its report in splits.json, the study with the predictions of its items."""

    name: str
    report: Mapping[str, Any]
    study: FinishedStudy
    drops: dict[str, Drop]
    claims: list[Comparison]


def further_tests(study: FinishedStudy, record: StudyRecord) -> list[dict[str, Any]]:
    """An entry for each further test set; docs/report-json.md explains its keys."""
    reports = record.splits.get("tests") or {}
    sets = [_measure(study, record, name, reports[name]) for name in study.recipe.tests if name in reports]
    drops = iter(adjust_drops([drop for there in sets for drop in there.drops.values()]))
    total = sum(len(there.claims) for there in sets)
    adjusted = [
        replace(
            there,
            drops={arm: next(drops) for arm in there.drops},
            claims=there.study.corrected(there.claims, total),
        )
        for there in sets
    ]
    return [_values(study, there) for there in adjusted]


def study_on(study: FinishedStudy, record: StudyRecord, name: str) -> FinishedStudy:
    """The study with the predictions of a further test set in place of those of test.

    Raises: RecipeError where the study has no such set.
    """
    reports = record.splits.get("tests") or {}
    if name not in reports:
        problem = f"{name!r} is not a further test set of the study."
        raise RecipeError(str(record.folder), problem, did_you_mean(name, reports) or "It has none.")
    file, report = further_predictions(name), reports[name]
    records = [
        arm
        for arm in record.arms
        if read_predictions_about(arm.folder / file).get("items") == report["fingerprint"]
    ]
    arms, grouped = finished_arms(records, file), bool(report.get("clustered"))
    return replace(study, arms=arms, grouped=grouped, skipped=[])


def _measure(study: FinishedStudy, record: StudyRecord, name: str, report: Mapping[str, Any]) -> _There:
    there = study_on(study, record, name)
    drops = {}
    for arm in there.arms:
        main = next(each for each in study.arms if (each.arm, each.model) == (arm.arm, arm.model))
        runs = [main.runs[main.seeds.index(seed)] for seed in arm.seeds]
        items_S = [run.items for run in [*runs, *arm.runs]]
        if not unavailable_reason(METRICS[study.metric], items_S):
            sides = OnTest(runs, study.grouped), OnTest(arm.runs, there.grouped)
            drops[study.name(arm)] = measure_drop(*sides, study.metric, study.recipe.score)
    return _There(name, report, there, drops, there.claims())


def _values(study: FinishedStudy, there: _There) -> dict[str, Any]:
    report = there.report
    names = {study.name(arm) for arm in there.study.arms}
    return {
        "name": there.name,
        "items": report["size"],
        "clusters": report["clusters"] if there.study.grouped else None,
        "overlap_share": report["overlap"]["share"],
        "lookalike_share": report["lookalikes"]["share"],
        "metric": study.metric,
        "arms": [_arm_values(study, there, arm) for arm in there.study.arms],
        "not_scored": [study.name(arm) for arm in study.arms if study.name(arm) not in names],
        "claims": [claim.as_json() for claim in there.claims],
        "sentences": _sentences(study, there),
    }


def _arm_values(study: FinishedStudy, there: _There, arm: FinishedArm) -> dict[str, Any]:
    items_S = [run.items for run in arm.runs]
    metrics = [name for name in study.recipe.metric_names if not unavailable_reason(METRICS[name], items_S)]
    name = there.study.name(arm)
    drop = there.drops.get(study.name(arm))
    scores = there.study.scores(arm, metrics)
    return {**arm.about(), "arm": arm.arm, "name": name, "scores": scores, "drop": drop and drop.as_json()}


def _sentences(study: FinishedStudy, there: _There) -> list[str]:
    """Where arms break, then whether the first claim holds there."""
    size = "1 item" if there.report["size"] == 1 else f"{there.report['size']:,} items"
    lead = f"On {there.name} ({size})"
    named = _named_arms(study, there)
    if not named:
        return [f"{lead} no arm is scored."]
    sentences = [f"{lead} {_drops_text(study, {name: there.drops[name] for name in named})}."]
    if there.report["overlap"]["share"] > MAX_LEAK_SHARE:
        sentences[0] += f" {100 * there.report['overlap']['share']:.1f} % of its items are in train."
    if there.claims:
        claim = there.claims[0]
        states = {"better": "The claim holds there", "worse": "The claim does not hold there"}
        state = states.get(claim.outcome, "Whether the claim holds there is not shown")
        sentences.append(f"{state}: {claim.sentence}")
    return sentences


def _named_arms(study: FinishedStudy, there: _There) -> list[str]:
    """The arms of the claims, then those with the largest drops that are shown."""
    claimed = [name for claim in there.claims for name in (claim.arm, claim.over)]
    clear = [name for name, drop in there.drops.items() if drop.is_shown]
    clear.sort(key=lambda name: -abs(there.drops[name].value))
    named = dict.fromkeys(name for name in [*claimed, *clear, *there.drops] if name in there.drops)
    return list(named)[: MAX_NAMED if claimed or clear else 1]


def _drops_text(study: FinishedStudy, drops: Mapping[str, Drop]) -> str:
    metric = METRICS[study.metric]
    scale, unit = (100, " points") if metric.high - metric.low == 1.0 else (1, "")
    digits = 1 if scale == 100 else 3

    def number(value: float) -> str:
        return f"{'−' if round(scale * value, digits) < 0 else ''}{abs(scale * value):.{digits}f}"

    parts: list[str] = []
    unshown: list[str] = []
    for name, drop in drops.items():
        of_metric = f" of {metric_name(metric.name)}" if not parts else ""
        if drop.is_shown:
            verb, sign = ("loses", 1) if drop.value > 0 else ("gains", -1)
            low, high = sorted((sign * drop.low, sign * drop.high))
            span = f"{100 * drop.level:g} % CI {number(low)} to {number(high)}"
            parts.append(f"{name} {verb} {number(abs(drop.value))}{unit}{of_metric} ({span})")
        else:
            unshown.append(f"{name} ({number(drop.value)}{unit}, {number(drop.low)} to {number(drop.high)})")
    if unshown:
        excludes_0 = any(not drop.is_shown and (drop.low > 0 or drop.high < 0) for drop in drops.values())
        corrected = " after Holm's correction" if excludes_0 else ""
        parts.append(f"no drop is shown{corrected} for {join_names(unshown)}")
    return "; ".join(parts)


def further_sentences(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """All sentences, set by set."""
    return [sentence for entry in entries for sentence in entry["sentences"]]
