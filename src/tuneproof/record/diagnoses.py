"""The diagnoses of a study's tuned arms, from its files alone, and what to do about each.

In: a study read back, its recipe. Out: entries of comparisons.json; under-trained arms for the verdict.
Knows nothing of: how a finding is made, predictions of test.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.data.class_weights import ClassWeights, weighted_counts
from tuneproof.inference.prediction import read_predictions
from tuneproof.recipe.recipe import Recipe
from tuneproof.record import study_folder
from tuneproof.record.diagnose import UNDER_TRAINED, Finding, diagnose_run
from tuneproof.score.intervals import exact_interval
from tuneproof.score.verdict import UnderTrained

FAILED = ("diverged", "not_learning")
LEVEL = 0.95
SEARCH = "try learning rates on dev: --set search.learning_rate=auto"


@dataclass(frozen=True)
class Diagnosis:
    """The findings of one finished run of a tuned arm, the command that goes on, and the advice."""

    about: dict[str, Any]
    findings: list[Finding]
    command: str

    @property
    def first(self) -> Finding | None:
        """The finding for which the arm counts as under-trained; None where it does not."""
        return next((finding for finding in self.findings if finding.name in UNDER_TRAINED), None)

    @property
    def advice(self) -> str:
        """What to do, as a sentence."""
        if self.first is not None and self.first.name == "diverged":
            return f"Lower the learning rate, or {SEARCH} (learning_rate: auto)."
        going_on = f"go on with `{self.command}`" if self.command else "raise epochs"
        improving = any(finding.name == "still_improving" for finding in self.findings)
        either = (going_on, SEARCH) if improving else (f"{SEARCH} (learning_rate: auto)", going_on)
        advice = f"{', or '.join(either)}."
        return f"{advice[0].upper()}{advice[1:]}"

    def as_json(self) -> dict[str, Any]:
        """The entry of comparisons.json."""
        identity = {key: self.about.get(key) for key in ("arm", "model", "seed", "train_size")}
        findings = [{"name": finding.name, "sentence": finding.sentence} for finding in self.findings]
        return {
            **identity,
            "under_trained": self.first is not None,
            "findings": findings,
            "command": self.command if self.first and self.first.name != "diverged" else "",
        }


def diagnose_study(study: study_folder.StudyRecord, recipe: Recipe) -> list[Diagnosis]:
    """A diagnosis for every finished run of a tuned arm, those on samples of train among them."""
    return [
        Diagnosis(
            arm.about,
            diagnose_arm(arm, study.needed_splits(), recipe.train.class_weights),
            extend_command(recipe, arm.about),
        )
        for arm in [*study.arms, *study.sampled]
        if arm.about["status"] == "done" and arm.steps
    ]


def diagnose_arm(
    arm: study_folder.ArmRecord, splits: dict[str, Any], weights: ClassWeights = None
) -> list[Finding]:
    """The findings of one finished arm. weights: of classes in its loss."""
    dev = read_predictions(arm.folder / study_folder.DEV_PREDICTIONS)
    counts = splits["labels"]["train"] if dev.kind == "labels" else {}
    if size := arm.about.get("train_size"):  # a sample with the same shares
        counts = {label: count * size / splits["sizes"]["train"] for label, count in counts.items()}
    counts = weighted_counts(weights, counts)
    evaluations = (arm.about.get("chosen") or {}).get("evaluations") or []
    return diagnose_run(arm.steps, evaluations, arm.about.get("options") or {}, counts, dev)


def extend_command(recipe: Recipe, about: dict[str, Any]) -> str:
    """The command that trains an arm further; empty where none does."""
    if (about.get("options") or {}).get("engine") == "trainer":
        return ""
    own_recipe = str(Path(recipe.out) / study_folder.RECIPE)
    return shlex.join(["tuneproof", "run", own_recipe, "--extend", about["arm"]])


def describe_under_trained(name: str, diagnoses: Sequence[Diagnosis], runs: int) -> UnderTrained | None:
    """What the verdict says of an arm with so many finished runs, where any of them is under-trained."""
    failing = [diagnosis for diagnosis in diagnoses if diagnosis.first is not None]
    if not failing:
        return None
    seeds = f" ({len(failing)} of {runs} seeds)" if runs > 1 else ""
    first = failing[0].first
    assert first is not None
    return UnderTrained(f"{name}{seeds} {first.reason}{_failed_share(failing, runs)}", failing[0].advice)


def _failed_share(failing: Sequence[Diagnosis], runs: int) -> str:
    """The share of an arm's runs that failed to train, which no interval over its seeds covers."""
    failed = sum(diagnosis.first is not None and diagnosis.first.name in FAILED for diagnosis in failing)
    if not failed or failed == runs:
        return ""
    ends = exact_interval(failed / runs, runs, LEVEL)
    share = f"{100 * ends.low:.0f} to {100 * ends.high:.0f} %"
    return (
        f" ({failed} of {runs} runs failed, {100 * LEVEL:.0f} % CI {share}, which no interval here includes)"
    )


def of_arm(
    diagnoses: Iterable[Diagnosis], arm: str, model: str | None, train_size: int | None = None
) -> list[Diagnosis]:
    """The diagnoses of all seeds of an arm."""
    key = (arm, model, train_size)
    return [d for d in diagnoses if tuple(d.about.get(k) for k in ("arm", "model", "train_size")) == key]
