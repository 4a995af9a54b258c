"""Comparisons and the verdict, from a study's files alone.

In: a study's directory. Out: comparisons.json. Knows nothing of: models, how arms came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.atomic import write_json
from tuneproof.errors import RunError
from tuneproof.inference.prediction import Predicted, read_predictions
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record.study_folder import (
    COMPARISONS,
    PREDICTIONS,
    RECIPE,
    ArmRecord,
    StudyRecord,
    read_arm,
    read_study,
)
from tuneproof.score.compare import Comparison, adjust, compare, verdict
from tuneproof.score.scores import as_json, score, why_not_any


@dataclass(frozen=True)
class ArmRuns:
    """All finished seeds of one arm of one model, on the same items; seeds [None]: no chance in it."""

    arm: str
    model: str | None
    kind: str
    runs: list[Predicted]
    seeds: list[int | None]

    def name(self, several_models: bool) -> str:
        """The arm's name, with its model where the study has several."""
        return f"{self.model} {self.arm}" if several_models and self.model else self.arm


def arm_runs(records: Sequence[ArmRecord]) -> list[ArmRuns]:
    """The finished arms, their seeds together, in the order of the recipe."""
    found: dict[tuple[str, str | None], ArmRuns] = {}
    for record in records:
        if record.about["status"] != "done":
            continue
        key = (record.about["arm"], record.about.get("model"))
        entry = found.setdefault(key, ArmRuns(*key, record.about["kind"], [], []))
        entry.seeds.append(record.about.get("seed"))
        entry.runs.append(read_predictions(record.folder / PREDICTIONS))
    return list(found.values())


def conclude(folder: Path) -> dict[str, Any]:
    """Score every arm over its seeds, compare, write comparisons.json. Returns the verdict."""
    study = read_study(folder)
    recipe = read_recipe(folder / RECIPE)
    grouped = bool(study.splits.get("grouped"))
    arms = arm_runs(study.arms)
    several = len({arm.model for arm in arms if arm.model}) > 1
    pooled = [
        {
            "arm": arm.arm,
            "model": arm.model,
            "kind": arm.kind,
            "seeds": len(arm.runs),
            "scores": as_json(score(arm.runs, _metrics(recipe, arm), recipe.score, grouped)),
        }
        for arm in arms
    ]
    untold: list[str] = []
    claims = adjust(_claims(recipe, arms, grouped, several, untold))
    others = _others(recipe, arms, grouped, several, claims, untold)
    must_win = ("tuned",) if recipe.task.kind == "labels" else ("tuned", "prompt")
    tuned = {arm.name(several) for arm in arms if arm.kind in must_win}
    baselines = {arm.name(several) for arm in arms if arm.kind == "baseline"}
    beside = [c for c in [*claims, *others] if c.arm in tuned and c.over in baselines]
    made = verdict(claims, beside)
    made["sentence"] += _one_seed(arms, claims, several)
    if recipe.claims and not claims:
        first = recipe.claims[0]
        made["sentence"] = "No verdict: " + (
            untold[0] if untold else f"{first.arm} or {first.over} did not finish in any model."
        )
    value = {
        "comparisons": [
            *({**c.as_json(), "claim": True} for c in claims),
            *({**c.as_json(), "claim": False} for c in others),
        ],
        "arms": pooled,
        "by_train_size": _by_train_size(study, arms, recipe, grouped, untold),
        "verdict": made,
        "not_compared": untold,
        "not_computed": _lacking(recipe),
    }
    write_json(folder / COMPARISONS, value)
    return made


def _one_seed(arms: Sequence[ArmRuns], claims: Sequence[Comparison], several: bool) -> str:
    """What the verdict cannot know where chance was drawn once."""
    claimed = {name for each in claims for name in (each.arm, each.over)}
    once = [
        a.name(several)
        for a in arms
        if a.name(several) in claimed and len(a.runs) == 1 and a.seeds[0] is not None
    ]
    if not once:
        return ""
    return f" One seed alone for {', '.join(once)}: how far another would move this is not measured."


def _by_train_size(
    study: StudyRecord, whole: Sequence[ArmRuns], recipe: Recipe, grouped: bool, untold: list[str]
) -> list[dict[str, Any]]:
    """Every arm that has samples of train: its score at each size, and what the whole of train adds.

    The interval is over items and seeds; a seed draws the sample too, so it holds the luck of the draw.
    """
    metric = recipe.task.metrics[0]
    sizes = sorted({record.about["train_size"] for record in study.sampled})
    full = int(study.splits["sizes"]["train"])
    several = len({arm.model for arm in whole if arm.model}) > 1
    found = []
    for size in sizes:
        records = [record for record in study.sampled if record.about["train_size"] == size]
        for arm in arm_runs(records):
            other = _of(whole, arm.arm, arm.model)
            named = replace(arm, arm=f"{arm.arm} on {size:,} items")
            gain = _compared(other, named, metric, recipe, grouped, several, untold) if other else []
            found.append(_at_size(arm, size, metric, recipe, grouped, gain))
    known = {(entry["arm"], entry["model"]) for entry in found}
    found += [
        _at_size(arm, full, metric, recipe, grouped, []) for arm in whole if (arm.arm, arm.model) in known
    ]
    return found


def _at_size(
    arm: ArmRuns, size: int, metric: str, recipe: Recipe, grouped: bool, gain: Sequence[Comparison]
) -> dict[str, Any]:
    return {
        "arm": arm.arm,
        "model": arm.model,
        "kind": arm.kind,
        "train_size": size,
        "seeds": len(arm.runs),
        "metric": metric,
        "score": as_json(score(arm.runs, [metric], recipe.score, grouped))[metric],
        "whole_adds": gain[0].as_json() if gain else None,
    }


def _metrics(recipe: Recipe, arm: ArmRuns) -> list[str]:
    items_S = [run.items for run in arm.runs]
    return [name for name in recipe.task.metrics if not why_not_any(METRICS[name], items_S)]


def _lacking(recipe: Recipe) -> list[str]:
    """What this machine lacks for a metric of the task, each reason once."""
    lacks = [METRICS[name].lacks for name in recipe.task.metrics]
    return list(dict.fromkeys(reason for ask in lacks if ask and (reason := ask())))


def _of(arms: Sequence[ArmRuns], name: str, model: str | None) -> ArmRuns | None:
    """The arm of that name for a model; a baseline serves every model."""
    return next((a for a in arms if a.arm == name and a.model in (None, model)), None)


def _models(arms: Sequence[ArmRuns]) -> list[str | None]:
    return list(dict.fromkeys(arm.model for arm in arms if arm.model)) or [None]


def _compared(
    arm: ArmRuns, over: ArmRuns, metric: str, recipe: Recipe, grouped: bool, several: bool, untold: list[str]
) -> list[Comparison]:
    """The comparison over the seeds that both arms finished; none, with the reason in `untold`."""
    names = (arm.name(several), over.name(several))
    runs, other = arm.runs, over.runs
    if None not in arm.seeds and None not in over.seeds:
        both = [seed for seed in arm.seeds if seed in over.seeds]
        runs = [arm.runs[arm.seeds.index(seed)] for seed in both]
        other = [over.runs[over.seeds.index(seed)] for seed in both]
        if not both:
            untold.append(f"{names[0]} and {names[1]} finished no seed in common.")
            return []
    try:
        return [compare(runs, other, metric, *names, recipe.score, grouped)]
    except RunError as error:
        untold.append(str(error))
        return []


def _claims(
    recipe: Recipe, arms: Sequence[ArmRuns], grouped: bool, several: bool, untold: list[str]
) -> list[Comparison]:
    """Every claim for every model that has both arms."""
    made, seen = [], set()
    for claim in recipe.claims:
        for model in _models(arms):
            arm, over = _of(arms, claim.arm, model), _of(arms, claim.over, model)
            key = (claim, arm and arm.model, over and over.model)
            if arm and over and key not in seen:
                seen.add(key)
                metric = claim.metric or recipe.task.metrics[0]
                made += _compared(arm, over, metric, recipe, grouped, several, untold)
    return made


def _others(
    recipe: Recipe,
    arms: Sequence[ArmRuns],
    grouped: bool,
    several: bool,
    claims: Sequence[Comparison],
    untold: list[str],
) -> list[Comparison]:
    """Every arm with the baselines and the first claim's base, and the first claim's arm with every
    other one, where not a claim already.
    """
    metric = recipe.task.metrics[0]
    bases = [arm for arm in arms if arm.kind == "baseline"]
    if recipe.claims:
        bases += [arm for arm in arms if arm.arm == recipe.claims[0].over and arm not in bases]
    done = {(c.arm, c.over, c.metric) for c in claims}
    asked = [arm for arm in arms if recipe.claims and arm.arm == recipe.claims[0].arm]
    pairs = [(arm, over) for over in bases for arm in arms]
    pairs += [(arm, over) for arm in asked for over in arms]
    made = []
    for arm, over in pairs:
        same_model = over.model in (None, arm.model)
        key = (arm.name(several), over.name(several), metric)
        backwards = (key[1], key[0], metric)
        if arm is over or not same_model or key in done or backwards in done:
            continue
        done.add(key)
        made += _compared(arm, over, metric, recipe, grouped, several, untold)
    return made


def _refuse_other_texts(first: StudyRecord, second: StudyRecord) -> None:
    """Items of two files may have the same ids ("row-2") and golds: their texts decide.

    Raises: RunError where the test items' fingerprints differ.
    """
    prints = [(study.splits.get("fingerprints") or {}).get("test") for study in (first, second)]
    if None not in prints and prints[0] != prints[1]:
        raise RunError(
            f"{first.folder} and {second.folder}",
            "the test items have the same ids but other texts.",
            "Only scores on the same items compare.",
            "Run both arms in one study, so that they share its frozen items.",
        )


def compare_arms(a: Path, b: Path, metric: str | None) -> dict[str, Any]:
    """Two arms' folders, whichever studies they belong to.

    Raises: RunError where an arm is not finished or the items differ.
    """
    first, second = read_arm(a), read_arm(b)
    study, other = (read_study(folder.parent.parent) for folder in (a, b))
    recipe = read_recipe(study.folder / RECIPE)
    grouped = bool(study.splits.get("grouped"))
    names = [first.label, second.label]
    if names[0] == names[1]:
        names = [f"{record.label} of {record.folder.parent.parent.name}" for record in (first, second)]
    found = compare(
        [read_predictions(a / PREDICTIONS)],
        [read_predictions(b / PREDICTIONS)],
        metric or recipe.task.metrics[0],
        names[0],
        names[1],
        recipe.score,
        grouped,
    )
    _refuse_other_texts(study, other)
    return found.as_json()


def compare_studies(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Every arm that both studies finished, all seeds together.

    Raises: RunError where they share none or their items differ.
    """
    first, second = read_study(a), read_study(b)
    recipe = read_recipe(a / RECIPE)
    ours, theirs = arm_runs(first.arms), arm_runs(second.arms)
    made = []
    for arm in ours:
        for other in theirs:
            if (arm.arm, arm.model) == (other.arm, other.model):
                names = [f"{arm.name(True)} of {folder.name}" for folder in (a, b)]
                grouped = bool(first.splits.get("grouped"))
                by = metric or recipe.task.metrics[0]
                found = compare(arm.runs, other.runs, by, names[0], names[1], recipe.score, grouped)
                made.append(found.as_json())
    if made:
        _refuse_other_texts(first, second)
    else:
        raise RunError(
            f"{a} and {b}",
            "share no finished arm.",
            f"Arms: {', '.join(x.arm for x in ours)}; and {', '.join(x.arm for x in theirs)}.",
            "Name two arms' folders.",
        )
    return made
