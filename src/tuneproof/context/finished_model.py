"""A finished model before its weights load: a whole model, or an adapter with its base.

In: the options of an arm and the settings of encoding. Out: a ModelSpec, the kind of its head, and why it
cannot do the task. Knows nothing of: weights, predictions.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneproof.context.model_spec import ModelSpec, make_model_spec
from tuneproof.errors import ModelError
from tuneproof.families.models import ModelSource, holds_adapter, resolve_model, safe_name
from tuneproof.hub.download import download_model
from tuneproof.models.adapter_config import ADAPTER_CONFIG
from tuneproof.models.checkpoint_files import TOKENIZER_FILES, read_json_object, read_tokenizer_with_notes
from tuneproof.recipe.recipe import ModelChoice
from tuneproof.record.study_folder import ARM, WEIGHTS
from tuneproof.settings import EncodeSettings
from tuneproof.tasks.task import Task

if TYPE_CHECKING:
    from tuneproof.models.load import Head

HEAD_OF_TASK: dict[str, "Head"] = {"SEQ_CLS": "labels", "CAUSAL_LM": "words", "QUESTION_ANS": "span"}
HEAD_OF_CLASS: tuple[tuple[str, "Head"], ...] = (
    ("ForSequenceClassification", "labels"),
    ("ForQuestionAnswering", "span"),
    ("ForMaskedLM", "cloze"),
    ("ForCausalLM", "words"),
    ("LMHeadModel", "words"),
    ("ForConditionalGeneration", "words"),
)


def make_finished_spec(options: Any, settings: EncodeSettings) -> ModelSpec:
    """The model of an arm's options; an adapter's has the base's weights and the adapter's tokenizer.

    Raises: ModelError where there is no such model, or an adapter does not say what its base is.
    """
    source = _source_of(options)
    adapter = _adapter_folder(source)
    if adapter is None:
        choice = ModelChoice(id=source.path_or_id, revision=source.revision, name=source.name)
        return make_model_spec(choice, settings)
    values = read_json_object(adapter / ADAPTER_CONFIG, str(adapter))
    base = options.base or values.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        problem = "is an adapter whose configuration names no base model."
        raise ModelError(str(adapter), problem, do="Name it with tuned-model.base.")
    try:
        spec = make_model_spec(ModelChoice(id=base, revision=_revision(options, values), name=None), settings)
    except ModelError as error:
        where = f"the base of {source.name}, {error.where}"
        do = error.do or "Check the name."
        raise type(error)(where, error.problem, error.allowed, f"{do} Another: tuned-model.base.") from None
    tokenizer, notes = spec.tokenizer, spec.notes
    if any((adapter / name).is_file() for name in TOKENIZER_FILES):
        own = ModelSource(source.name, str(adapter), None, True)
        tokenizer, more = read_tokenizer_with_notes(own, spec.config, spec.family)
        notes = (*notes, *more, f"The tokenizer is that of the adapter {source.name}.")
    pad = spec.family.pad_rule(tokenizer, spec.config)
    return replace(
        spec,
        name=source.name,
        tokenizer=tokenizer,
        pad=pad,
        notes=(*notes, f"{source.name} is an adapter on {spec.source.name}."),
        details=(pad.sentence,),
        adapter=adapter,
    )


def _source_of(options: Any) -> ModelSource:
    """Where the model or adapter is; of a finished arm's folder its weights."""
    folder = Path(options.model).expanduser()
    if (folder / ARM).is_file() and (folder / WEIGHTS).is_dir():
        name = safe_name(folder.resolve().name)
        folder = folder / WEIGHTS
        is_adapter = (folder / ADAPTER_CONFIG).is_file()
        source = ModelSource(name, str(folder), None, True) if is_adapter else resolve_model(folder)
        return replace(source, name=name)
    if holds_adapter(folder):
        return ModelSource(safe_name(folder.resolve().name), str(folder), None, True)
    return resolve_model(f"{options.model}@{options.revision}" if options.revision else options.model)


def _adapter_folder(source: ModelSource) -> Path | None:
    """The folder of an adapter, downloaded with its weights; None for a whole model."""
    if not (download_model(source, weights=False) / ADAPTER_CONFIG).is_file():
        return None
    return download_model(source, weights=True)


def _revision(options: Any, values: dict[str, Any]) -> str | None:
    """The base's revision, where the adapter's configuration names the base and its revision."""
    revision = values.get("revision")
    return revision if options.base is None and isinstance(revision, str) and revision else None


def finished_head(spec: ModelSpec) -> "Head | None":
    """What answers: the head that the adapter or the model was saved with; None for a bare base."""
    if spec.adapter is not None:
        values = read_json_object(spec.adapter / ADAPTER_CONFIG, str(spec.adapter))
        return HEAD_OF_TASK.get(str(values.get("task_type")))
    names = [str(name) for name in getattr(spec.config, "architectures", None) or ()]
    return next((head for ending, head in HEAD_OF_CLASS for name in names if name.endswith(ending)), None)


def why_not_finished(spec: ModelSpec, task: Task) -> str | None:
    """Why the finished model cannot do this task; None: it can."""
    head = finished_head(spec)
    if head is None:
        return (
            f"{spec.name} has no head that answers: it is a base, or does not say what it was tuned for. Put "
            "it under models, with zero-shot or a method that trains a head."
        )
    if task.written and head != "words":
        return f"{spec.name} gives labels or marks spans, and this task asks for written answers."
    if task.kind == "questions" and head not in ("span", "words"):
        return f"{spec.name} gives labels, and this task asks for answers."
    if task.kind == "labels" and head == "span":
        return f"{spec.name} marks spans, and this task asks for labels."
    return None
