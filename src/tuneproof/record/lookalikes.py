"""The scores of the arms on the test items without a lookalike in train.

In: a study read back, the predictions of its arms. Out: values for comparisons.json, and a sentence.
Knows nothing of: how lookalikes are found, verdicts, reports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneproof.data.audit_lookalikes import MAX_LOOKALIKE_SHARE
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe
from tuneproof.record.study_folder import StudyRecord
from tuneproof.score.scores import as_json, score, unavailable_reason
from tuneproof.score.verdict import metric_name


def score_without_lookalikes(
    record: StudyRecord, recipe: Recipe, runs_by_arm: Mapping[str, Sequence[AnyPredictions]]
) -> dict[str, Any] | None:
    """Each arm's main score on all items and on those without a lookalike; None up to 5 % lookalikes.

    Keys: share, items (without a lookalike), metric, arms [{arm, all, without}], sentence. `without` is None
    if the metric cannot be computed on the other items.
    """
    lookalikes = record.splits.get("lookalikes") or {}
    share = float(lookalikes.get("share") or 0.0)
    if share <= MAX_LOOKALIKE_SHARE:
        return None
    alike, metric = set(lookalikes["ids"]), recipe.task.metrics[0]
    grouped = record.is_clustered
    test_size = int(record.splits["sizes"]["test"])

    def measure(runs: Sequence[AnyPredictions]) -> dict[str, Any] | None:
        if not len(runs[0]) or unavailable_reason(METRICS[metric], [run.items for run in runs]):
            return None
        return as_json(score(runs, [metric], recipe.score, grouped))[metric]

    arms = []
    for name, runs in runs_by_arm.items():
        others = [_without(run, alike) for run in runs]
        arms.append({"arm": name, "all": measure(runs), "without": measure(others)})
    value = {"share": share, "items": test_size - len(alike), "metric": metric, "arms": arms}
    return {**value, "sentence": _sentence(value)}


def _without(run: AnyPredictions, ids: set[str]) -> AnyPredictions:
    """The predictions of all other items."""
    return run.take([index for index, name in enumerate(run.ids) if name not in ids])


def _sentence(value: Mapping[str, Any]) -> str:
    lead = f"{100 * value['share']:.1f} % of the test items have a lookalike in train"
    if not value["items"]:
        return f"{lead}: no score here shows performance on new text."
    metric = METRICS[value["metric"]]
    unit = (100, " %") if metric.high == 1 else (1, "")
    scores = [
        f"{arm['arm']} {unit[0] * arm['without']['value']:.1f}{unit[1]}"
        for arm in value["arms"]
        if arm["without"]
    ]
    if not scores:
        return f"{lead}."
    items = "item" if value["items"] == 1 else "items"
    return f"{lead}; {metric_name(metric.name)} on the other {value['items']:,} {items}: {', '.join(scores)}."
