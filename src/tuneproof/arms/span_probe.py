"""The convex fit of a head over spans: as an arm of its own, or as the start of LP-FT.

In: the arm's context. Out: an ArmResult, or a model whose head is fitted.
Knows nothing of: training loops.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tuneproof.arms.self_test import self_test_spans
from tuneproof.arms.serving_speed import serve_with
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.prompt_samples import encoding_summary
from tuneproof.context.study_data import ArmResult, apply_dev_threshold
from tuneproof.methods.linear_head import SpanStates
from tuneproof.models.load import load_model, pretrained_on_meta
from tuneproof.models.span_features import compute_span_states, gold_indices
from tuneproof.objectives.span import SpanObjective
from tuneproof.parameters.architecture import pretrained_entry
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.process_group import current_group
from tuneproof.tasks.task import Example


def run_span_probe(context: ArmContext) -> ArmResult:
    """Load, fit the head on the frozen base's states, answer dev and test."""
    spec, splits = context.spec, context.splits
    started = time.perf_counter()
    context.monitor.stage("load")
    loaded = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="span", seed=0)
    model = loaded.model.to(context.compute.device)
    seconds = {"load": time.perf_counter() - started}
    started = time.perf_counter()
    objective = SpanObjective(context)
    chosen = fit_model_span_head(objective, model)
    seconds["train"] = time.perf_counter() - started
    started = time.perf_counter()
    context.monitor.stage("predict", len(splits.dev) + len(splits.test))
    dev = objective.predict(model, splits.dev, "dev")
    answers = apply_dev_threshold(
        dev, objective.predict(model, splits.test, "test"), context.study.answers_all
    )
    seconds["predict"] = time.perf_counter() - started
    pretrained = pretrained_on_meta(spec.source, spec.config)
    size = sum(parameter.numel() for parameter in model.qa_outputs.parameters())
    return ArmResult(
        test=answers.test,
        dev=answers.dev,
        ledger={
            **parameter_ledger(model, pretrained, spec.family, trainable=size).as_json(),
            **pretrained_entry(spec.source, spec.config, spec.family, pretrained),
        },
        chosen={**chosen, "answers": answers.chosen},
        time_s=seconds,
        encoding=encoding_summary(answers.test, spec.max_length),
        prompts=objective.samples(),
        notes=[*spec.notes, *spec.details, *loaded.notes],
        save=lambda folder: spec.save_model(model, folder),
        serve=serve_with(context, lambda timed: partial(SpanObjective(timed).predict, model)),
        predict=lambda examples, part: objective.predict(model, examples, part),
    )


def fit_model_span_head(objective: SpanObjective, model: Any) -> dict[str, Any]:
    """Fit the model's own head over spans to its base's states. Returns what dev chose."""
    context = objective.context
    self_test_spans(context, model, objective)
    train = _span_states(objective, model, context.study.train_name, context.splits.train)
    dev = _span_states(objective, model, "dev", context.splits.dev)
    context.monitor.stage("fit")
    layer, group, fit = model.qa_outputs, current_group(), context.arm.method.fit_span_head
    chosen: dict[str, Any] = {}
    if group.is_main:
        assert fit is not None
        head = fit(context.options, train, dev)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(head.weight_2D))
            if layer.bias is not None:
                layer.bias.zero_()
        chosen = dict(head.chosen)
    group.broadcast_tensors(layer.parameters())
    return chosen


def _span_states(objective: SpanObjective, model: Any, name: str, examples: Sequence[Example]) -> SpanStates:
    """States and gold spans of a part's windows."""
    context, windows = objective.context, objective.encode(name, examples).windows
    context.monitor.stage(f"states of {name}", len(windows), "windows")
    states = compute_span_states(
        model,
        context.spec.family,
        windows,
        context.spec.pad.id,
        context.batch_size(),
        context.compute.device,
        context.compute.autocast,
        model.qa_outputs.in_features,
    )
    gold_W2 = np.array([gold_indices(window) for window in windows], dtype=np.int64)
    return SpanStates(states.states_PD, states.start_W, gold_W2)
