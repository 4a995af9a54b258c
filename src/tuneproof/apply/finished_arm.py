"""A finished arm on new items: its recipe, model and weights, exactly as it predicted the test items.

In: an arm's folder and examples. Out: predictions.
Knows nothing of: gold labels, scores, where the examples come from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuneproof.arms.baseline import run_baseline
from tuneproof.atomic import check_folder
from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import StudyData
from tuneproof.data.findings import MAX_EXAMPLES
from tuneproof.data.splits import Splits
from tuneproof.errors import DataError, ModelError, RunError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.recipe.recipe import Arm, ModelChoice, Recipe, read_recipe
from tuneproof.record.study_folder import CACHE, RECIPE, WEIGHTS, ArmRecord, read_arm, read_items, read_study
from tuneproof.tasks.question_rows import question_from_json
from tuneproof.tasks.task import Example

if TYPE_CHECKING:
    from tuneproof.context.arm_context import ArmContext
    from tuneproof.context.model_spec import ModelSpec


def read_finished_arm(arm_folder: Path | str) -> ArmRecord:
    """The arm's record.

    Raises: RunError where the folder holds no finished arm, or one without weights.
    """
    read_arm(Path(arm_folder))  # an error names the folder as it was given
    record = read_arm(Path(arm_folder).resolve())
    if record.about["status"] != "done":
        raise RunError(str(arm_folder), f"is not finished ({record.about['status']}).")
    if record.about.get("train_size"):
        raise RunError(
            str(arm_folder),
            "learnt from a sample of train and kept no weights.",
            do="Name the folder of the same arm on all of train.",
        )
    return record


def study_recipe(record: ArmRecord) -> Recipe:
    """The recipe of the arm's study."""
    return read_recipe(record.folder.parent.parent / RECIPE)


def is_of_questions(record: ArmRecord) -> bool:
    """Whether the arm answers questions."""
    return study_recipe(record).task.kind == "questions"


def predict_examples(arm_folder: Path | str, record: ArmRecord, examples: list[Example]) -> AnyPredictions:
    """The arm's predictions of these items; their gold labels mean nothing.

    Raises: RunError where the arm's files were changed or it left the recipe; ModelError where the
    base model is missing or has changed.
    """
    recipe = study_recipe(record)
    if record.about["arm"] not in [arm.name for arm in recipe.arms]:
        raise RunError(
            str(arm_folder),
            f"the study's recipe no longer has the arm {record.about['arm']}.",
            do="Put it back into the recipe, or use another arm.",
        )
    study = _study_data(record, recipe, examples)
    weights = record.folder / WEIGHTS
    if weights.is_dir():
        check_folder(weights)
    arm = recipe.arm(record.about["arm"])
    if arm.method.kind == "baseline":
        return run_baseline(study, arm, Monitor()).test
    context = _context(study, arm, record, examples)
    predictions = _predict(context, record, weights, examples)
    if isinstance(predictions, AnswerPredictions):
        return predictions.with_threshold(record.about["chosen"]["answers"]["no_answer_threshold"])
    return predictions


def _study_data(record: ArmRecord, recipe: Recipe, examples: list[Example]) -> StudyData:
    """The study data of the arm, with the new items in place of test."""
    folder, labels = record.folder.parent.parent, tuple(record.about["labels"])
    grouped = bool(read_study(folder).splits.get("grouped"))
    train, dev = (_read_examples(folder, part, labels) for part in ("train", "dev"))
    splits = Splits(train, dev, examples, labels, grouped, {})
    prompt = recipe.task.prompt(recipe.task_options, labels)
    return StudyData(recipe, splits, prompt, folder / CACHE)


def _read_examples(folder: Path, part: str, labels: Sequence[str]) -> list[Example]:
    items = read_items(folder, part)
    rows = zip(items.ids, items.texts, items.golds, items.groups, strict=True)
    stored = zip(items.texts, items.questions, strict=False)
    questions = [question_from_json(text, question) for text, question in stored]
    return [
        Example(id, text, labels.index(gold), group, (), questions[row] if questions else None)
        for row, (id, text, gold, group) in enumerate(rows)
    ]


def _context(study: StudyData, arm: Arm, record: ArmRecord, examples: list[Example]) -> "ArmContext":
    from tuneproof.context.arm_context import ArmContext
    from tuneproof.context.compute import make_compute

    if arm.method.check is not None:
        arm.method.check()
    spec = base_model_spec(record, study.recipe)
    longest = spec.max_length
    if study.kind == "labels":
        longest = _longest(study, spec, examples)
    return ArmContext(study, arm, spec, make_compute(study.recipe.compute, longest))


def _longest(study: StudyData, spec: "ModelSpec", examples: list[Example]) -> int:
    """Tokens of the longest text. Raises: DataError where one gives none, unless the study allowed that."""
    encoded = spec.encode("new", examples, study.recipe.encode)
    empty = [str(row + 1) for row, count in enumerate(encoded.text_tokens_N) if count == 0]
    if empty and "no_tokens" not in study.recipe.audit.allow:
        rows = ", ".join(empty[:MAX_EXAMPLES]) + (", …" if len(empty) > MAX_EXAMPLES else "")
        problem = f"the text gives no token to {spec.name}, which would read nothing of it."
        raise DataError(f"row {rows}", problem, do="Change it, or remove the row.")
    return int(encoded.tokens_N.max())


def _predict(
    context: "ArmContext", record: ArmRecord, weights: Path, examples: list[Example]
) -> AnyPredictions:
    """The arm's own way to predict, by the kind of its method."""
    method = context.arm.method
    if method.kind == "prompt":
        from tuneproof.arms.prompted import load_prompt_model, make_predictor

        train = {example.id: example for example in context.splits.train}
        shots = [train[id] for id in record.about["chosen"].get("shots", [])]
        return make_predictor(context, shots).predict(load_prompt_model(context), examples, "new")
    if method.apply is None and context.study.kind == "labels":
        from tuneproof.arms.probe import predict_with_head

        return predict_with_head(context, weights, examples)
    from tuneproof.arms.tuned import reload_arm
    from tuneproof.objectives.make import make_objective

    return make_objective(context).predict(reload_arm(context, weights), examples, "new")


def base_model_spec(record: ArmRecord, recipe: Recipe) -> "ModelSpec":
    """The model that the arm was made with, at the same place, unchanged.

    Raises: ModelError where it is missing or has changed.
    """
    from tuneproof.context.model_spec import make_model_spec

    about = record.about
    source = str(about["source"])
    if about.get("commit") is None and not Path(source).is_dir():
        raise ModelError(source, f"the model of {about['arm']} no longer exists.", do="Restore the folder.")
    choice = ModelChoice(id=source, revision=about.get("commit"), name=about["model"])
    spec = make_model_spec(choice, recipe.encode)
    if about.get("model_files") not in (None, spec.files):
        raise ModelError(
            source,
            f"is not the model that {about['arm']} was made with: its files have changed.",
            do="Restore the old files, or run the arm again.",
        )
    return spec
