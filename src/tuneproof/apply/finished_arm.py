"""A finished arm: its record, recipe, items and base model, as its study left them.

In: an arm's folder. Out: its record, and the context that it ran in.
Knows nothing of: new items, predictions, scores.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tuneproof.context.study_data import StudyData
from tuneproof.data.splits import Splits
from tuneproof.errors import ModelError, RunError
from tuneproof.recipe.recipe import ModelChoice, Recipe, read_recipe
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import CACHE, FACTS, RECIPE, ArmRecord, read_arm, read_items
from tuneproof.tasks.question_rows import question_from_json
from tuneproof.tasks.task import Example, Task

if TYPE_CHECKING:
    from tuneproof.context.arm_context import ArmContext
    from tuneproof.context.model_spec import ModelSpec

PredictionKind = Literal["labels", "questions", "answers"]
PRECISIONS = ("fp32", "bf16", "fp16")


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


def prediction_kind(task: Task) -> PredictionKind:
    """What arms of this task predict: labels of texts, answers to questions about contexts, or answers to
    texts."""
    return "answers" if task.written else task.kind


def read_examples(record: ArmRecord, part: str) -> list[Example]:
    """The items of a part of the arm's study."""
    items, labels = read_items(record.folder.parent.parent, part), list(record.about["labels"])
    rows = zip(items.ids, items.texts, items.golds, items.groups, strict=True)
    stored = zip(items.texts, items.questions, strict=False)
    questions = [question_from_json(text, question) for text, question in stored]
    return [
        Example(id, text, labels.index(gold), group, (), questions[row] if questions else None)
        for row, (id, text, gold, group) in enumerate(rows)
    ]


def train_context(record: ArmRecord) -> "ArmContext":
    """The context in which the arm trained. Raises: ModelError where its base is missing or has changed."""
    return arm_context(record, read_examples(record, "train"))


def arm_context(record: ArmRecord, train: list[Example]) -> "ArmContext":
    """The arm's context without dev and test. Raises: ModelError where its base is missing or has changed."""
    from tuneproof.context.arm_context import ArmContext
    from tuneproof.context.compute import reload_compute

    recipe = study_recipe(record)
    arm = recipe.arm(record.about["arm"])
    if arm.method.check is not None:
        arm.method.check()
    spec = base_model_spec(record, recipe)
    longest = spec.max_length
    if recipe.task.kind == "labels":  # attention as for the test items; longer ones get theirs
        longest = (record.about.get("encoding") or {}).get("longest_tokens") or longest
    labels = tuple(record.about["labels"])
    splits = Splits(train, [], [], labels, grouped=False, report={})
    prompt = recipe.task.prompt(recipe.task_options, labels)
    study = StudyData(recipe, splits, prompt, record.folder.parent.parent / CACHE)
    recorded = _recorded_precision(record.folder / FACTS)
    models = [] if recorded else [spec, *_models_here(recipe)]
    context = ArmContext(study, arm, spec, reload_compute(recipe.compute, longest, recorded, models))
    if context.compute.precision_note:
        context.monitor.message(context.compute.precision_note)
    return context


def _recorded_precision(facts: Path) -> str | None:
    """The precision in which the study computed, if recorded. Raises: RunError where none is called so."""
    precision = (read_object(facts).get("facts") or {}).get("compute.precision") if facts.is_file() else None
    if precision not in (None, *PRECISIONS):
        problem, allowed = f"compute.precision is {precision!r}.", f"Allowed: {', '.join(PRECISIONS)}."
        raise RunError(str(facts), problem, allowed, "Restore the file, or run the arm again.")
    return precision


def _models_here(recipe: Recipe) -> list["ModelSpec"]:
    """The study's models, which together decide a precision; without those that are gone."""
    from tuneproof.context.model_spec import make_model_spec

    models = []
    for choice in recipe.models:
        with suppress(ModelError):
            models.append(make_model_spec(choice, recipe.encode))
    return models


def base_model_spec(record: ArmRecord, recipe: Recipe) -> "ModelSpec":
    """The model that the arm was made with, at the same place, unchanged.

    Raises: ModelError where it is missing or has changed.
    """
    from tuneproof.context.finished_model import make_finished_spec
    from tuneproof.context.model_spec import make_model_spec

    about = record.about
    source = str(about["source"])
    arm = recipe.arm(about["arm"])
    if arm.method.kind == "finished":
        spec = make_finished_spec(arm.options, recipe.encode)
        _check_files(spec, about)
        return spec
    if about.get("commit") is None and not Path(source).is_dir():
        raise ModelError(source, f"the model of {about['arm']} no longer exists.", do="Restore the folder.")
    choice = ModelChoice(id=source, revision=about.get("commit"), name=about["model"])
    spec = make_model_spec(choice, recipe.encode)
    _check_files(spec, about)
    return spec


def _check_files(spec: "ModelSpec", about: Mapping[str, Any]) -> None:
    """Raises ModelError where the model's files are not those that the arm was made with."""
    if about.get("model_files") not in (None, spec.files):
        raise ModelError(
            spec.origin,
            f"is not the model that {about['arm']} was made with: its files have changed.",
            do="Restore the old files, or run the arm again.",
        )
