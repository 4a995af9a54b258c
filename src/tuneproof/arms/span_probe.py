"""The convex fit of a head over spans: as an arm of its own, or as the start of LP-FT.

In: what all arms share, a ready model. Out: events, an Outcome, or a model whose head is fitted.
Knows nothing of: training loops.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running, StageBegun
from tuneproof.context.progress import advancing
from tuneproof.context.prompt_samples import encoding_of
from tuneproof.context.study_data import Outcome, Shared, decided
from tuneproof.methods.span_head import Marked, SpanProbe, fit_span_probe
from tuneproof.models.load import load_model, pretrained_on_meta, quiet
from tuneproof.models.oom import AtOnce
from tuneproof.models.span_features import TokenStates, gold_places, read_states
from tuneproof.objectives.span import SpanObjective
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.process_group import present
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example


def run_span_probe(shared: Shared, arm: Arm, ready: Ready, compute: Compute) -> Running[Outcome]:
    """Load, fit the head on the frozen base's states, answer dev and test. Returns the Outcome."""
    seconds: dict[str, float] = {}
    begun = time.perf_counter()
    yield StageBegun("load", None)
    loaded = load_model(ready.source, ready.config, ready.tokenizer, ready.family, head="span", seed=0)
    model = loaded.model.to(compute.device)
    seconds["load"] = time.perf_counter() - begun
    begun = time.perf_counter()
    objective = SpanObjective(shared, ready, compute)
    chosen = yield from fit_span_head(model, objective, arm.options)
    seconds["train"] = time.perf_counter() - begun
    begun = time.perf_counter()
    splits = shared.splits
    yield StageBegun("predict", len(splits.dev) + len(splits.test))
    dev = yield from objective.ask(model, splits.dev, "dev")
    known = decided(dev, (yield from objective.ask(model, splits.test, "test")))
    seconds["predict"] = time.perf_counter() - begun
    skeleton = pretrained_on_meta(ready.source, ready.config)
    size = sum(parameter.numel() for parameter in model.qa_outputs.parameters())

    def save(folder: Path) -> None:
        with quiet():
            model.save_pretrained(folder)
            ready.tokenizer.save_pretrained(folder)

    return Outcome(
        test=known.test,
        dev=known.dev,
        ledger=parameter_ledger(model, skeleton, ready.family, trainable=size).as_json(),
        chosen={**chosen, "answers": known.chosen},
        time_s=seconds,
        encoding=encoding_of(known.test, ready.max_length),
        prompts=objective.shown(),
        notes=[*ready.notes, *loaded.notes],
        save=save,
    )


def fit_span_head(model: Any, objective: SpanObjective, options: Any) -> Running[dict[str, Any]]:
    """Fit the model's own head over spans to its base's states. Returns what dev chose."""
    shared = objective.shared
    train = yield from _marked(model, objective, shared.train_name, shared.splits.train)
    dev = yield from _marked(model, objective, "dev", shared.splits.dev)
    yield StageBegun("fit", None)
    layer, team = model.qa_outputs, present()
    chosen: dict[str, Any] = {}
    if team.leads:
        probe: SpanProbe = fit_span_probe(train, dev, options.strengths)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(probe.weight_2D))
            if layer.bias is not None:
                layer.bias.zero_()
        chosen = probe.chosen
    team.copy_from_leader(layer.parameters())
    return chosen


def _marked(model: Any, objective: SpanObjective, name: str, examples: Sequence[Example]) -> Running[Marked]:
    """States and golds of a part's windows. Returns them."""
    windows = objective.encode(name, examples).windows
    ready, compute = objective.ready, objective.compute
    into = TokenStates.of(windows, model.qa_outputs.in_features)
    yield StageBegun(f"states of {name}", len(windows), "windows")
    at_once = AtOnce(objective.shared.recipe.predict.batch_size)
    steps = read_states(
        model, ready.family, windows, ready.pad.id, at_once, compute.device, compute.autocast, into
    )
    yield from advancing(steps, at_once)
    gold_W2 = np.array([gold_places(window) for window in windows], dtype=np.int64)
    return Marked(into.states_PD, into.start_W, gold_W2)
