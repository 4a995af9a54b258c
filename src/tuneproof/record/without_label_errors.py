"""The claims and scores without the test items whose label is suspected to be wrong.

In: a finished study, ids. Out: both side by side. Knows nothing of: how items are suspected, files.
"""

from collections.abc import Set
from dataclasses import replace
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.finished_arms import FinishedArm
from tuneproof.record.finished_study import FinishedStudy
from tuneproof.score.scores import unavailable_reason

CAUTION = (
    "This does not replace the verdict. The items are those on which the arms together contradict the label, "
    "so every score rises without them, and most for arms that err like the others. Correct the labels and "
    "run the study again to know."
)


def compare_without(study: FinishedStudy, ids: Set[str]) -> dict[str, Any] | None:
    """Every claim and every arm's main score on all test items and without these; None without such items.

    Keys: left_out, items (that remain), metric, claims [{arm, over, all, without}] (sentences), arms [{arm,
    all, without}] (scores as in scores.json; None where it cannot be computed), caution.
    """
    if not ids or not study.arms:
        return None
    arms = [replace(arm, runs=[_without(run, ids) for run in arm.runs]) for arm in study.arms]
    others = replace(study, arms=arms, skipped=[])
    items = len(arms[0].runs[0])
    if not items:
        return None
    sentences = {(c.arm, c.over, c.metric): c.sentence for c in others.claims()}
    claims = [
        {"arm": c.arm, "over": c.over, "all": c.sentence, "without": sentences.get((c.arm, c.over, c.metric))}
        for c in replace(study, skipped=[]).claims()
    ]
    scores = [
        {"arm": study.name(arm), "all": _main_score(study, arm), "without": _main_score(study, other)}
        for arm, other in zip(study.arms, arms, strict=True)
    ]
    return {
        "left_out": len(study.arms[0].runs[0]) - items,
        "items": items,
        "metric": study.metric,
        "claims": claims,
        "arms": scores,
        "caution": CAUTION,
    }


def _main_score(study: FinishedStudy, arm: FinishedArm) -> dict[str, Any] | None:
    if unavailable_reason(METRICS[study.metric], [run.items for run in arm.runs]):
        return None
    return study.scores(arm, [study.metric])[study.metric]


def _without(run: Any, ids: Set[str]) -> Any:
    """The predictions of all other items."""
    return run.take([row for row, id in enumerate(run.ids) if id not in ids])
