"""Whether a claim is shown by a finished study: the answer that a script acts on.

In: a study's folder, a claim. Out: yes or no, with the sentence. Knows nothing of: exit codes, terminals.

Without a margin a claim is shown where its arm is better; with one where its arm is not worse by more than
the margin. A claim that the recipe does not make could have been chosen after the results, and is corrected
for all comparisons of the study.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, RunError, did_you_mean
from tuneproof.metrics import METRICS
from tuneproof.record.finished_study import FinishedStudy, margin_of, read_finished_study
from tuneproof.record.further_tests import study_on
from tuneproof.record.study_folder import read_study
from tuneproof.score.verdict import Comparison, join_names
from tuneproof.settings import Claim

CLAIM = re.compile(r"\s*(.+?)\s+over\s+(.+?)(?:\s+by\s+(\w+))?\s*")
AS_GOOD = ("better by more", "as good either way", "as good or better")


@dataclass(frozen=True)
class GateAnswer:
    """The answer on every claim that was asked about, one comparison for each model."""

    is_shown: bool
    sentence: str
    is_registered: bool
    comparisons: list[Comparison]

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {**vars(self), "comparisons": [comparison.as_json() for comparison in self.comparisons]}


def read_claim(text: str, metric: str | None, margin: float | None) -> Claim:
    """The claim in "lora over lexical" or "lora over lexical by f1_macro".

    Raises: RecipeError where it is none.
    """
    match = CLAIM.fullmatch(text)
    if match is None:
        raise RecipeError("--claim", f"{text!r} is not a claim.", do='Write --claim "ARM over ARM".')
    arm, over, named = match.groups()
    if metric is not None and named not in (None, metric):
        raise RecipeError("--metric", f"is {metric}, but the claim names {named}.", do="Name one of them.")
    return Claim(arm=arm, over=over, metric=metric or named, margin=margin)


def judge_study(folder: Path, claim: Claim | None, margin: float | None, on: str | None) -> GateAnswer:
    """Whether the claim is shown; without one, whether all claims of the recipe are.

    margin: of the recipe's claims, in place of their own. on: a further test set in place of test.

    Raises: RecipeError where the folder holds no study, or the claim names what the study does not have.
    """
    try:
        record = read_study(folder)
    except RunError as error:
        raise RecipeError(error.where, error.problem, error.allowed, error.do) from error
    main = read_finished_study(record)
    study = main if on is None else study_on(main, record, on)
    update = {} if margin is None else {"margin": margin}
    questions = [claim] if claim else [each.model_copy(update=update) for each in main.recipe.claims]
    if not questions:
        problem = "is missing, and the recipe makes no claim."
        raise RecipeError("--claim", problem, do='Write --claim "ARM over ARM".')
    is_registered = all(_is_registered(each, main) for each in questions)
    of_claims = [_compare(each, main, study) for each in questions]
    if not all(of_claims):
        return GateAnswer(False, f"Not shown: {_why_not_compared(questions, study)}", is_registered, [])
    pairs = [pair for of_claim in of_claims for pair in of_claim]
    hypotheses = _count_hypotheses(main, pairs, is_registered) * (len(main.recipe.tests) if on else 1)
    return _answer(study.corrected(pairs, hypotheses), is_registered, study)


def _why_not_compared(claims: Sequence[Claim], study: FinishedStudy) -> str:
    names = join_names(list(dict.fromkeys(name for claim in claims for name in (claim.arm, claim.over))))
    return study.skipped[0] if study.skipped else f"{names} did not all finish."


def _count_hypotheses(study: FinishedStudy, pairs: Sequence[Comparison], registered: bool) -> int:
    """The claims; where they were not made before the results, all comparisons that could have become one."""
    claims, further = study.claims_and_further()
    if registered and not study.registration["claim_changes"]:
        return len(claims)
    return len(claims) + len(further) + len(pairs)


def _is_registered(claim: Claim, study: FinishedStudy) -> bool:
    """Whether the recipe makes this claim; one without a margin is part of one with a margin."""

    def key(each: Claim) -> tuple[str, str, str]:
        return each.arm, each.over, each.metric or study.metric

    same = [each for each in study.recipe.claims if key(each) == key(claim)]
    return any(claim.margin in (None, each.margin) for each in same)


def _compare(claim: Claim, main: FinishedStudy, study: FinishedStudy) -> list[Comparison]:
    """The claim's comparison for each model that has both arms.

    Raises: RecipeError where it names an arm or a metric that the study does not have.
    """
    metric = claim.metric or main.metric
    _check(claim, metric, [arm.name for arm in main.recipe.arms])
    arms = [(study.find(claim.arm, model), study.find(claim.over, model)) for model in study.models or [None]]
    both = {(arm.model, over.model): (arm, over) for arm, over in arms if arm and over}
    pairs = [pair for arm, over in both.values() for pair in study.compare(arm, over, metric)]
    return [replace(pair, margin=margin_of(claim, pair)) for pair in pairs]


def _check(claim: Claim, metric: str, arms: Sequence[str]) -> None:
    for name in (claim.arm, claim.over):
        if name not in arms:
            raise RecipeError("--claim", f"{name!r} is not an arm of the study.", did_you_mean(name, arms))
    if claim.arm == claim.over:
        raise RecipeError("--claim", f"compares {claim.arm} with itself.", do="Name two arms.")
    if metric not in METRICS:
        raise RecipeError("--metric", f"{metric!r} is not a metric.", did_you_mean(metric, METRICS))


def _answer(pairs: Sequence[Comparison], registered: bool, study: FinishedStudy) -> GateAnswer:
    under_trained = study.under_trained(study.arms)
    failed = [pair for pair in pairs if not passes(pair, pair.over in under_trained)]
    sentences = [pair.sentence for pair in failed or pairs]
    note = "" if registered else " The recipe does not make this claim: it is corrected for all comparisons."
    lead = "Not shown" if failed else "Shown"
    return GateAnswer(not failed, f"{lead}: {' '.join(sentences)}{note}", registered, list(pairs))


def passes(pair: Comparison, is_over_under_trained: bool) -> bool:
    """Better, or with a margin not worse by more; neither where `over` had no fair chance."""
    is_as_good = pair.outcome == "better" or pair.margin_outcome in AS_GOOD
    return is_as_good and not pair.withheld and not is_over_under_trained
