"""An arm's files, written when it is done; arm.json last, so that it means complete.

In: an Outcome and what arm.json says. Out: the arm's folder. Knows nothing of: how it was computed.
"""

from pathlib import Path
from typing import Any

from tuneproof.atomic import read_json, whole_folder, write_json, write_with
from tuneproof.context.study_data import Outcome
from tuneproof.data.splits import PARTS, Splits
from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import Predicted, read_predictions, write_predictions
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record.study_folder import (
    ARM,
    ARMS,
    DEV_PREDICTIONS,
    ITEMS,
    LEDGER,
    OWN,
    PREDICTIONS,
    RECIPE,
    SCORES,
    WEIGHTS,
)
from tuneproof.score.scores import as_json, score
from tuneproof.tasks.question_rows import asked_json


def applicable_metrics(names: tuple[str, ...], predictions: Predicted) -> list[str]:
    """Those of the task's metrics that these predictions allow."""
    from tuneproof.metrics import METRICS, why_not

    return [name for name in names if not why_not(METRICS[name], predictions.items)]


def write_outcome(
    folder: Path, outcome: Outcome, about: dict[str, Any], recipe: Recipe, grouped: bool
) -> None:
    """Predictions, scores, ledger, weights; then arm.json."""
    facts = {key: about[key] for key in ("arm", "model", "method", "seed")}
    write_predictions(folder / PREDICTIONS, outcome.test, {**facts, "part": "test"})
    write_predictions(folder / DEV_PREDICTIONS, outcome.dev, {**facts, "part": "dev"})
    _write_scores(folder, outcome.test, recipe, grouped)
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
        },
    )


def _write_scores(folder: Path, test: Predicted, recipe: Recipe, grouped: bool) -> None:
    metrics = applicable_metrics(recipe.task.metrics, test)
    write_json(folder / SCORES, as_json(score([test], metrics, recipe.score, grouped)))


def score_again(study: Path, recipe: Recipe, grouped: bool) -> None:
    """Score finished arms anew where the study was scored by other settings; predictions stay."""
    try:
        if read_recipe(study / RECIPE).score == recipe.score:
            return
    except RecipeError:  # written by another version, or not there yet
        pass
    for about in sorted((study / ARMS).glob(f"*/{ARM}")):
        if read_json(about).get("status") == "done":
            test = read_predictions(about.parent / PREDICTIONS)
            _write_scores(about.parent, test, recipe, grouped)


def write_items(study: Path, splits: Splits) -> None:
    """items.parquet: id, part, text, gold, group and the task's own columns of every item."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(part, example) for part in PARTS for example in splits.part(part)]
    columns = {
        "id": [example.id for _, example in rows],
        "part": [part for part, _ in rows],
        "text": [example.text for _, example in rows],
        "gold": [splits.labels[example.label] for _, example in rows],
        "group": [example.group for _, example in rows],
    }
    for at, name in enumerate(splits.columns):
        columns[f"{OWN}{name}"] = [example.values[at] for _, example in rows]
    if splits.test[0].question is not None:
        columns["asked"] = [asked_json(example.asked) for _, example in rows]
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    write_with(study / ITEMS, lambda file: pq.write_table(table, file))
