"""The best arm by dev, and which other arms test shows to be as good within a margin.

In: a study's finished arms. Out: an entry of comparisons.json. Knows nothing of: costs, models.

Dev chooses the best, and leaves out the arms that it shows to be worse by more than the margin. All others
are compared with the best on test, corrected for their number, whatever they cost: test decides only which
arms are as good. These and the best, one of which is recommended, are also compared on test with every arm,
those that dev left out among them: to explore, except the comparison with the best, which decided that an arm
is as good. So test decides too which arms have these comparisons, and for how many they are corrected.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tuneproof.errors import RunError
from tuneproof.inference.answers import MISSING_ANSWER, AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import METRICS
from tuneproof.metrics.metric import UNPARSED
from tuneproof.record.finished_arms import FinishedArm, finished_arms
from tuneproof.record.finished_study import FinishedStudy, margin_of
from tuneproof.record.study_folder import DEV_PREDICTIONS, StudyRecord
from tuneproof.score.compare import adjust
from tuneproof.score.scores import score
from tuneproof.score.verdict import Comparison, judge_claim
from tuneproof.settings import Claim

DEFAULT_MARGIN = 1.0  # point, or hundredths of the metric's range
AS_GOOD = ("better by more", "as good either way", "as good or better")
BEST, LEFT_OUT = "best on dev", "worse on dev"


def study_on_dev(study: FinishedStudy, record: StudyRecord) -> FinishedStudy:
    """The study with the predictions of dev, of the arms that have any: a file may hold test alone."""
    arms = finished_arms(record.arms, DEV_PREDICTIONS)
    arms = [arm for arm in arms if not all(_is_missing(run) for run in arm.runs)]
    return replace(study, arms=arms, skipped=[])


def as_good_as_best(study: FinishedStudy, on_dev: FinishedStudy) -> dict[str, Any] | None:
    """The best arm by dev, and each other arm's comparison with it; None with fewer than two arms on dev.

    on_dev: of `study_on_dev`. Keys: metric, margin (in the metric's unit), is_default (whether no claim names
    the margin), best (the arm's name), dev_score, arms: a list of name, arm, model, outcome (of
    `judge_margin`, or BEST or LEFT_OUT), under_trained (why, or empty) and, unless dev left it out,
    difference, low, high, level; pairs: comparisons on test of the best and of each arm as good with every
    arm, corrected for all of them.
    """
    study = replace(study, skipped=[])
    claim = next((claim for claim in study.recipe.claims if claim.margin is not None), None)
    metric = (claim.metric if claim else None) or study.metric
    scores = {
        study.name(arm): value for arm in on_dev.arms if (value := _dev_score(study, arm, metric)) is not None
    }
    if len(study.arms) < 2 or not scores:
        return None
    sign = 1 if METRICS[metric].direction == "up" else -1
    best = max(scores, key=lambda name: sign * scores[name])
    claim = claim or Claim(arm=best, over=best, metric=metric, margin=DEFAULT_MARGIN)
    dev_pairs = {pair.arm: pair for pair in _pairs(on_dev, best, metric, claim)}
    pairs = _pairs(study, best, metric, claim)
    left_out = {name for name, pair in dev_pairs.items() if _outcome(pair) == "worse by more"}
    tested = adjust([p for p in pairs if p.arm not in left_out], None, study.registration["seed_additions"])
    by_name = {pair.arm: pair for pair in tested}
    under_trained = study.under_trained(study.arms)
    as_good = [name for name, pair in by_name.items() if _outcome(pair) in AS_GOOD]
    return {
        "metric": metric,
        "margin": next((pair.margin for pair in pairs), claim.margin),
        "is_default": claim.over == claim.arm,
        "best": best,
        "dev_score": scores[best],
        "compared": len(tested),
        "arms": [
            {
                "name": name,
                "arm": arm.arm,
                "model": arm.model,
                "under_trained": under_trained[name].reason if name in under_trained else "",
                **(
                    _entry(by_name[name])
                    if name in by_name
                    else {"outcome": BEST if name == best else LEFT_OUT}
                ),
            }
            for arm in study.arms
            if (name := study.name(arm)) == best or name in by_name or name in left_out
        ],
        "pairs": [pair.as_json() for pair in _with_every_arm(study, [best, *as_good], metric)],
    }


def _with_every_arm(study: FinishedStudy, names: Sequence[str], metric: str) -> list[Comparison]:
    """These arms compared with every other arm on test, corrected for all pairs."""
    by_name = {study.name(arm): arm for arm in study.arms}
    arms = [by_name[name] for name in names if name in by_name]
    pairs = [(arm, over) for arm in arms for over in study.arms if over is not arm]
    return study.corrected([pair for arm, over in pairs for pair in study.compare(arm, over, metric)])


def _entry(pair: Comparison) -> dict[str, Any]:
    verdict = judge_claim(pair)
    assert verdict is not None
    sign = 1 if pair.direction == "up" else -1
    interval = verdict.interval
    return {
        "outcome": verdict.outcome,
        "difference": sign * pair.difference,
        "low": interval.low,
        "high": interval.high,
        "level": verdict.level,
    }


def _outcome(pair: Comparison) -> str:
    verdict = judge_claim(pair)
    return verdict.outcome if verdict else ""


def _pairs(study: FinishedStudy, best: str, metric: str, claim: Claim) -> list[Comparison]:
    """Every other arm compared with the best, with the claim's margin."""
    over = next((arm for arm in study.arms if study.name(arm) == best), None)
    pairs = [
        pair
        for arm in study.arms
        if over is not None and arm is not over
        for pair in study.compare(arm, over, metric)
    ]
    return [replace(pair, margin=margin_of(claim, pair)) for pair in pairs]


def _dev_score(study: FinishedStudy, arm: FinishedArm, metric: str) -> float | None:
    try:
        return score(arm.runs, [metric], study.recipe.score, study.grouped)[metric].value
    except RunError:  # it gives no probabilities, which the metric needs
        return None


def _is_missing(run: AnyPredictions) -> bool:
    if isinstance(run, AnswerPredictions):
        return set(run.answers) <= {MISSING_ANSWER}
    return bool((run.predicted_N == UNPARSED).all())
