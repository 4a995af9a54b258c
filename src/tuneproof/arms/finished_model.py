"""A finished model's arm: loaded as it is, with its own head or prompted; nothing trains.

In: the arm's context. Out: an ArmResult. Knows nothing of: how the model was trained.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tuneproof.arms.entailment import EntailmentPredictor, entailment_outputs
from tuneproof.arms.frozen_result import frozen_result
from tuneproof.arms.prompted import make_predictor
from tuneproof.arms.serving_speed import serve_with
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.finished_model import finished_head
from tuneproof.context.study_data import ArmResult
from tuneproof.errors import ModelError, RecipeError
from tuneproof.methods.nli import NliOptions
from tuneproof.models.adapter import load_foreign_adapter
from tuneproof.models.load import Head, load_model, model_on_meta
from tuneproof.models.old_head import order_rows
from tuneproof.objectives.head import HeadObjective
from tuneproof.objectives.span import SpanObjective
from tuneproof.tasks.task import Prompt


def run_finished_model(context: ArmContext) -> ArmResult:
    """Load, predict dev and test."""
    context = own_prompt(context)
    started = time.perf_counter()
    context.monitor.stage("load")
    model = load_finished(context)
    load_s = time.perf_counter() - started
    chosen = {"head": finished_head(context.spec)}
    result = frozen_result(context, model, finished_predictor(context), chosen, load_s)
    serve = serve_with(context, lambda timed: partial(finished_predictor(timed).predict, model))
    return replace(result, serve=serve)


def own_prompt(context: ArmContext) -> ArmContext:
    """The context with the prompt that the model was tuned with, where the options name one.

    Raises: RecipeError where the options do not fit the task.
    """
    options, words = context.options, context.study.words
    own: dict[str, Any] = {
        name: getattr(options, name, None) for name in ("instruction", "template", "words")
    }
    own = {name: value for name, value in own.items() if value not in (None, ())}
    if not own:
        return context
    if not isinstance(words, Prompt):
        problem = f"{', '.join(own)} are for tasks with labels."
        raise RecipeError("arms.tuned-model", problem, do="Leave them out.")
    if str(own.get("template", "{text}")).count("{text}") != 1:
        raise RecipeError("arms.tuned-model.template", "does not hold {text} once.", do="Write it once.")
    if len(own.get("words", words.words)) != len(words.words):
        problem = f"names {len(own['words'])} words for {len(words.words)} labels."
        raise RecipeError("arms.tuned-model.words", problem, do="Name one for each label.")
    return replace(context, study=replace(context.study, words=replace(words, **own)))


def finished_predictor(context: ArmContext) -> Any:
    """What predicts: the model's own head, or its words."""
    if isinstance(context.options, NliOptions):
        return EntailmentPredictor(context)
    head = finished_head(context.spec)
    if head == "labels":
        return HeadObjective(context)
    return SpanObjective(context) if head == "span" else make_predictor(context, ())


def load_finished(context: ArmContext) -> Any:
    """The model on the device, its rows in the order of the study's labels.

    Raises: ModelError where the weights do not fit, or no row belongs to a label.
    """
    head = finished_head(context.spec)
    assert head is not None
    if isinstance(context.options, NliOptions):
        model = _load_as_stored(context)
    elif head == "labels":
        model = _load_classifier(context, _output_labels(context))
    else:
        model = _load_with_adapter(context, head, ())
    return model.to(context.compute.device)


def _output_labels(context: ArmContext) -> tuple[str, ...]:
    """The study's labels in the order of the model's outputs, where the options name them."""
    labels, of_study = tuple(context.options.labels), context.study.labels
    if labels and sorted(labels) != sorted(of_study):
        problem = f"are {', '.join(labels)}; the study's labels are {', '.join(of_study)}."
        do = "Name the study's labels in the model's order."
        raise RecipeError("arms.tuned-model.labels", problem, do=do)
    return labels


def _load_classifier(context: ArmContext, outputs: tuple[str, ...]) -> Any:
    """Raises: ModelError where nothing says which output is which label."""
    spec, labels = context.spec, context.study.labels
    if spec.adapter is not None and not outputs:
        problem = "is an adapter with a classification head, and nothing names its outputs."
        listed = f"The study's labels are {', '.join(labels)}."
        do = "Name them in the order of the outputs: tuned-model.labels: [...]."
        raise ModelError(spec.name, problem, listed, do)
    model = _load_with_adapter(context, "labels", outputs or labels)
    if outputs:
        order_rows(model, spec.family, outputs, labels)
    return model


def _load_with_adapter(context: ArmContext, head: Head, labels: tuple[str, ...]) -> Any:
    """The model with its head and its adapter. Raises: ModelError where its own head fits no label."""
    spec = context.spec
    loaded = load_model(
        spec.source,
        spec.config,
        spec.tokenizer,
        spec.family,
        head=head,
        labels=labels,
        stored_labels=context.options.labels,
        dtype=context.compute.frozen_dtype,
    )
    if spec.adapter is not None:
        on_meta = model_on_meta(spec.source, spec.config, head=head, labels=labels)
        return load_foreign_adapter(loaded.model, spec.adapter, on_meta, merge=head == "labels")
    if loaded.fresh and head in ("labels", "span"):
        raise _other_labels(context, loaded.notes)
    return loaded.model


def _load_as_stored(context: ArmContext) -> Any:
    """A classifier with the outputs of its checkpoint. Raises: ModelError where they are not stored."""
    outputs = entailment_outputs(context.spec.config, context.spec.name)
    return _load_with_adapter(context, "labels", outputs)


def _other_labels(context: ArmContext, notes: Sequence[str]) -> ModelError:
    problem = "its classification head has no outputs that are named as the study's labels."
    listed = f"{' '.join(notes)} The study's labels are {', '.join(context.study.labels)}."
    do = "Name the study's labels in the order of its outputs: tuned-model.labels: [...]."
    return ModelError(context.spec.name, problem, listed, do)
