"""The arm's own way to predict, loaded once: a fitted baseline, a prompted model, or a trained one.

In: the record of a finished arm. Out: a function from new items to predictions, as the test items got them.
Knows nothing of: gold labels, scores, where the items come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneproof.apply.finished_arm import arm_context, read_examples, study_recipe
from tuneproof.arms.baseline import answer_predictions, label_predictions
from tuneproof.arms.reload import at_dev_threshold, reload_model
from tuneproof.atomic import check_folder
from tuneproof.context.study_data import labelled_texts
from tuneproof.data.findings import MAX_EXAMPLES
from tuneproof.errors import DataError, RunError
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.methods.text_classifier import BASELINE, load_classifier
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.record.study_folder import WEIGHTS, ArmRecord
from tuneproof.tasks.task import Example

if TYPE_CHECKING:
    from tuneproof.context.model_spec import ModelSpec

Predict = Callable[[list[Example]], AnyPredictions]
NEW = "new"  # the part that new items are


def reload_predictor(arm_folder: Path | str, record: ArmRecord) -> Predict:
    """What predicts new items; their gold labels mean nothing. Call it in one thread at a time.

    Raises: RunError where the arm's files were changed, it left the recipe, or it is not ours to run;
    ModelError where the base model is missing or has changed.
    """
    recipe = study_recipe(record)
    name = record.about["arm"]
    if name not in [arm.name for arm in recipe.arms]:
        problem = f"the study's recipe no longer has the arm {name}."
        raise RunError(str(arm_folder), problem, do="Put it back into the recipe, or use another arm.")
    arm, weights = recipe.arm(name), record.folder / WEIGHTS
    if arm.method.kind == "system":
        problem = f"{name} is a system made elsewhere; its study keeps what it replied, not the system."
        raise RunError(str(arm_folder), problem, do="Ask that system, or use another arm.")
    if weights.is_dir():
        check_folder(weights)
    if arm.method.kind == "baseline":
        return _with_threshold(record, _reload_baseline(record, arm))
    return _with_threshold(record, _reload_model(record))


def _with_threshold(record: ArmRecord, predict: Predict) -> Predict:
    """The same; answers at the threshold that dev chose."""
    return lambda examples: at_dev_threshold(predict(examples), record.about["chosen"])


def _reload_baseline(record: ArmRecord, arm: Arm) -> Predict:
    """The fitted baseline; one of an older version kept no files, and is fitted again."""
    folder, labels = record.folder / WEIGHTS, tuple(record.about["labels"])
    if arm.method.answer is not None and study_recipe(record).task.kind == "questions":
        answer = arm.method.answer(read_examples(record, "train"))
        return lambda examples: answer_predictions(examples, answer(examples))
    if (folder / BASELINE).is_file():
        classify: Callable[[Sequence[str]], Any] = load_classifier(folder).probabilities
    else:
        train, dev = (labelled_texts(read_examples(record, part)) for part in ("train", "dev"))
        assert arm.method.fit is not None
        fitted = arm.method.fit(arm.options, train, dev, dev.texts, len(labels)).predict
        assert fitted is not None
        classify = fitted
    return lambda examples: label_predictions(labels, examples, classify([item.text for item in examples]))


def _reload_model(record: ArmRecord) -> Predict:
    needs_train = bool(record.about["chosen"].get("shots")) or study_recipe(record).task.written
    context = arm_context(record, read_examples(record, "train") if needs_train else [])
    predict_part = reload_model(context, record.folder / WEIGHTS, record.about["chosen"])

    def predict(examples: list[Example]) -> AnyPredictions:
        own = replace(context, spec=replace(context.spec, _encoded={}))  # a part's name keeps its tokens
        if own.study.kind == "labels":
            _check_tokens(own.spec, own.recipe, examples)
        with own.attention(NEW, examples):
            return predict_part(own, examples, NEW)

    return predict


def _check_tokens(spec: "ModelSpec", recipe: Recipe, examples: list[Example]) -> None:
    """Raises: DataError where a text gives no token, unless the study allowed that."""
    tokens_N: Any = spec.encode(NEW, examples, recipe.encode).text_tokens_N
    empty = [str(row + 1) for row, count in enumerate(tokens_N) if count == 0]
    if empty and "no_tokens" not in recipe.audit.allow:
        rows = ", ".join(empty[:MAX_EXAMPLES]) + (", …" if len(empty) > MAX_EXAMPLES else "")
        problem = f"the text gives no token to {spec.name}, which would read nothing of it."
        raise DataError(f"row {rows}", problem, do="Change it, or remove the row.")
