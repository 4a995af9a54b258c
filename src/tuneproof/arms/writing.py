"""An arm's files, written when it is done; arm.json last, so that it means complete.

In: an Outcome and what arm.json says. Out: the arm's folder. Knows nothing of: how it was computed.
"""

from pathlib import Path
from typing import Any

from tuneproof.arms.shared import Outcome
from tuneproof.data.splits import PARTS, Splits
from tuneproof.files import whole_folder, write_json, write_with
from tuneproof.predict.prediction import Predictions, write_predictions
from tuneproof.recipe import Recipe
from tuneproof.record.rundir import (
    ARM,
    DEV_PREDICTIONS,
    ITEMS,
    LEDGER,
    PREDICTIONS,
    SCORES,
    WEIGHTS,
)
from tuneproof.score.scores import as_json, score


def applicable_metrics(names: tuple[str, ...], predictions: Predictions) -> list[str]:
    """Those of the task's metrics that these predictions allow."""
    from tuneproof.metrics import METRICS, why_not

    has = predictions.probabilities_NC is not None
    return [name for name in names if not why_not(METRICS[name], len(predictions.labels), has)]


def write_outcome(
    folder: Path, outcome: Outcome, about: dict[str, Any], recipe: Recipe, grouped: bool
) -> None:
    """Predictions, scores, ledger, weights; then arm.json."""
    facts = {key: about[key] for key in ("arm", "model", "method", "seed")}
    write_predictions(folder / PREDICTIONS, outcome.test, {**facts, "part": "test"})
    write_predictions(folder / DEV_PREDICTIONS, outcome.dev, {**facts, "part": "dev"})
    metrics = applicable_metrics(recipe.task.metrics, outcome.test)
    write_json(folder / SCORES, as_json(score([outcome.test], metrics, recipe.score, grouped)))
    write_json(folder / LEDGER, outcome.ledger)
    if outcome.save is not None:
        with whole_folder(folder / WEIGHTS) as inside:
            outcome.save(inside)
    items = len(outcome.test) + len(outcome.dev)
    predict_s = outcome.time_s.get("predict")
    write_json(
        folder / ARM,
        {
            **about,
            "reason": None,
            "items_per_s": items / predict_s if predict_s else None,
            "chosen": outcome.chosen,
            "encoding": outcome.encoding,
            "prompts": outcome.prompts,
            "notes": outcome.notes,
            "audit": outcome.audit,
        },
    )


def write_items(study: Path, splits: Splits) -> None:
    """items.parquet: id, part, text, gold and group of every item of the study."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(part, example) for part in PARTS for example in splits.part(part)]
    table = pa.table(
        {
            "id": pa.array([example.id for _, example in rows], pa.string()),
            "part": pa.array([part for part, _ in rows], pa.string()),
            "text": pa.array([example.text for _, example in rows], pa.string()),
            "gold": pa.array([splits.labels[example.label] for _, example in rows], pa.string()),
            "group": pa.array([example.group for _, example in rows], pa.string()),
        }
    )
    write_with(study / ITEMS, lambda file: pq.write_table(table, file))
