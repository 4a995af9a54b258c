"""An arm's files, written when it is finished; arm.json last, so that it means complete.

In: an ArmResult and what arm.json says. Out: the arm's folder. Knows nothing of: how it was computed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.atomic import atomic_folder, write_json, write_with
from tuneproof.context.study_data import ArmResult
from tuneproof.data.further_tests import FurtherSet
from tuneproof.data.splits import PARTS, Splits
from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import AnyPredictions, read_predictions, write_predictions
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record.file_shapes import read_object
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
    further_part,
)
from tuneproof.score.scores import as_json, score
from tuneproof.tasks.question_rows import question_to_json
from tuneproof.tasks.task import Example

ROWS_AT_ONCE = 50_000  # of items.parquet


def applicable_metrics(names: Sequence[str], predictions: AnyPredictions) -> list[str]:
    """The metrics that these predictions allow."""
    from tuneproof.metrics import METRICS, why_not_computable

    return [name for name in names if not why_not_computable(METRICS[name], predictions.items)]


def write_arm(folder: Path, result: ArmResult, about: dict[str, Any], recipe: Recipe, grouped: bool) -> None:
    """Predictions, scores, ledger, weights; then arm.json."""
    facts = {key: about[key] for key in ("arm", "model", "method", "seed")}
    write_predictions(folder / PREDICTIONS, result.test, {**facts, "part": "test"})
    write_predictions(folder / DEV_PREDICTIONS, result.dev, {**facts, "part": "dev"})
    _write_scores(folder, result.test, recipe, grouped)
    write_json(folder / LEDGER, result.ledger)
    if result.save is not None:
        with atomic_folder(folder / WEIGHTS) as inside:
            result.save(inside)
    write_json(
        folder / ARM,
        {
            **about,
            "reason": None,
            "items_per_s": result.items_per_s,
            "chosen": result.chosen,
            "encoding": result.encoding,
            "prompts": result.prompts,
            "notes": result.notes,
        },
    )


def _write_scores(folder: Path, test: AnyPredictions, recipe: Recipe, grouped: bool) -> None:
    metrics = applicable_metrics(recipe.metric_names, test)
    write_json(folder / SCORES, as_json(score([test], metrics, recipe.score, grouped)))


def score_again(folder: Path, recipe: Recipe, grouped: bool) -> None:
    """Score finished arms again where the study was scored with other settings; predictions stay."""
    try:
        old = read_recipe(folder / RECIPE)
        if (old.score, old.metric_names) == (recipe.score, recipe.metric_names):
            return
    except RecipeError:  # written by another version, or not written yet
        pass
    for about in sorted((folder / ARMS).glob(f"*/{ARM}")):
        if read_object(about)["status"] == "done":
            test = read_predictions(about.parent / PREDICTIONS)
            _write_scores(about.parent, test, recipe, grouped)


def write_items(folder: Path, splits: Splits, tests: Sequence[FurtherSet] = ()) -> None:
    """items.parquet: id, part, text, gold, group and the task's own columns of every item.

    The own columns of further test items are null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = [(part, splits.part(part)) for part in PARTS]
    parts += [(further_part(further.name), further.items) for further in tests]
    own = [f"{OWN}{name}" for name in splits.columns]
    question = [] if splits.test[0].question is None else ["question"]
    schema = pa.schema(dict.fromkeys(["id", "part", "text", "gold", "group", *own, *question], pa.string()))

    def row(part: str, item: Example) -> tuple[str | None, ...]:
        values = item.values or [None] * len(own)
        answers = [question_to_json(item.required_question)] if question else []
        return item.id, part, item.text, splits.labels[item.label], item.group, *values, *answers

    def write(file: Path) -> None:
        with pq.ParquetWriter(file, schema) as writer:
            for part, items in parts:
                for start in range(0, len(items), ROWS_AT_ONCE):
                    rows = (row(part, item) for item in items[start : start + ROWS_AT_ONCE])
                    writer.write_table(pa.table([*map(list, zip(*rows, strict=True))], schema=schema))

    write_with(folder / ITEMS, write)
