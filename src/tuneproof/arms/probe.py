"""The convex fit of a head: as an arm of its own, or as the start of LP-FT.

In: what all arms share, a ready model. Out: events, an Outcome, or a model whose head is fitted.
Knows nothing of: training loops.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.atomic import write_json, write_with
from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running, StageBegun
from tuneproof.context.progress import advancing
from tuneproof.context.prompt_samples import encoding_of, shown_item
from tuneproof.context.study_data import Outcome, Shared, as_predictions
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.head import Probe, fit_probe
from tuneproof.models.device import on_device
from tuneproof.models.heads import class_logits, head_layer
from tuneproof.models.load import load_model, model_on_meta, pretrained_on_meta
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.pooled_features import (
    Features,
    cached_features,
    features_key,
    keep_features,
    pooled_features,
)
from tuneproof.parameters.ledger import probe_ledger
from tuneproof.process_group import DismissedError, present
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example

PARTS = ("train", "dev", "test")


def poolings_of(ready: Ready, asked: str) -> tuple[str, ...]:
    """Which poolings dev chooses from."""
    if asked != "auto":
        return (asked,)
    return ("first", "mean") if ready.family.kind == "encoder" else ("last", "mean")


def load_base(ready: Ready, compute: Compute) -> Any:
    """The pretrained model without any head, frozen."""
    return load_model(
        ready.source, ready.config, ready.tokenizer, ready.family, head="base", dtype=compute.frozen_dtype
    ).model


def _gold(examples: Sequence[Example]) -> NDArray[np.int64]:
    return np.array([example.label for example in examples], dtype=np.int64)


def run_probe(shared: Shared, arm: Arm, ready: Ready, compute: Compute) -> Running[Outcome]:
    """Features once, the convex fit, dev and test. Returns the Outcome."""
    options: Any = arm.options
    splits = shared.splits
    seconds: dict[str, float] = {}
    begun = time.perf_counter()
    poolings = poolings_of(ready, options.pooling)
    features: dict[str, Features] = {}
    # the features of the whole of train serve every sample of it
    whole = shared.sample.whole if shared.sample else splits.train
    weights = f"{ready.fingerprint}|{ready.sketch}"
    model, team = None, present()
    for part in PARTS:
        examples = whole if part == "train" else splits.part(part)
        encoded = ready.encode(part, examples, shared.recipe.encode)
        held = f"{compute.precision}, weights {compute.frozen_dtype}"
        key = features_key(weights, encoded.ids, poolings, held)
        found = cached_features(shared.cache / f"features-{key}")
        if not team.say(found is not None):
            if model is None:
                yield StageBegun("load", None)
                model = load_base(ready, compute).to(compute.device)
            yield StageBegun(f"features of {part}", len(examples))
            found, at_once = {}, AtOnce(shared.recipe.predict.batch_size)
            steps = pooled_features(
                model,
                ready.family,
                encoded.ids,
                ready.pad.id,
                poolings,
                at_once,
                compute.device,
                compute.autocast,
                found,
            )
            yield from advancing(steps, at_once)
            if team.leads:
                keep_features(shared.cache / f"features-{key}", found)
        features[part] = found or {}
    if not team.leads:
        team.meet()  # the fit is one process's work
        raise DismissedError
    if shared.sample:
        places = shared.sample.places
        features["train"] = {name: rows[places] for name, rows in features["train"].items()}
    seconds["features"] = time.perf_counter() - begun
    yield StageBegun("fit", None)
    begun = time.perf_counter()
    probe = fit_probe(
        features["train"],
        _gold(splits.train),
        features["dev"],
        _gold(splits.dev),
        options.strengths,
        ready.family.kind == "encoder",
        len(splits.labels),
    )
    seconds["train"] = time.perf_counter() - begun

    def rows(part: str):
        encoded = ready.encode(part, splits.part(part), shared.recipe.encode)
        return as_predictions(
            splits.labels,
            splits.part(part),
            probe.probabilities(features[part][probe.pooling]),
            encoded.tokens_N,
            encoded.truncated_N,
        )

    test = rows("test")
    size = probe.weight_CD.size + (probe.bias_C.size if ready.family.kind == "encoder" else 0)
    ledger = probe_ledger(
        model_on_meta(ready.source, ready.config, head="base"),
        pretrained_on_meta(ready.source, ready.config),
        ready.family,
        size,
    )
    encoded = ready.encode("test", splits.test, shared.recipe.encode)
    return Outcome(
        test=test,
        dev=rows("dev"),
        ledger=ledger.as_json(),
        chosen={"pooling": probe.pooling, **probe.chosen},
        time_s=seconds,
        encoding=encoding_of(test, ready.max_length),
        prompts=[shown_item(ready, e, encoded.ids[i], None) for i, e in enumerate(splits.test[:3])],
        notes=list(ready.notes),
        save=lambda folder: save_probe(folder, probe),
    )


def save_probe(folder: Path, probe: Probe) -> None:
    """head.safetensors (weight [C, D], bias [C]) and head.json (the pooling)."""
    from safetensors.numpy import save_file

    tensors = {"weight": np.ascontiguousarray(probe.weight_CD), "bias": probe.bias_C}
    write_with(folder / "head.safetensors", lambda file: save_file(tensors, str(file)))
    write_json(folder / "head.json", {"pooling": probe.pooling})


def load_probe(folder: Path) -> Probe:
    """What `save_probe` wrote."""
    from safetensors.numpy import load_file

    from tuneproof.atomic import read_json

    tensors = load_file(str(folder / "head.safetensors"))
    pooling = read_json(folder / "head.json")["pooling"]
    return Probe(pooling, tensors["weight"], tensors["bias"])


def ask_probe(
    shared: Shared, ready: Ready, compute: Compute, folder: Path, examples: Sequence[Example]
) -> Running[Predictions]:
    """Predictions of new examples by a saved head."""
    probe = load_probe(folder)
    encoded = ready.encode("new", examples, shared.recipe.encode)
    features: Features = {}
    yield StageBegun("features", len(examples))
    at_once = AtOnce(shared.recipe.predict.batch_size)
    steps = pooled_features(
        load_base(ready, compute).to(compute.device),
        ready.family,
        encoded.ids,
        ready.pad.id,
        (probe.pooling,),
        at_once,
        compute.device,
        compute.autocast,
        features,
    )
    yield from advancing(steps, at_once)
    return as_predictions(
        shared.labels,
        examples,
        probe.probabilities(features[probe.pooling]),
        encoded.tokens_N,
        encoded.truncated_N,
    )


def fit_model_head(
    model: Any, shared: Shared, ready: Ready, compute: Compute, options: Any
) -> Running[dict[str, Any]]:
    """Fit the last linear layer of the model's own head to the states that enter it.

    Returns what dev chose.
    """
    splits = shared.splits
    states: dict[str, Features] = {}
    for part, name in (("train", shared.train_name), ("dev", "dev")):
        examples = splits.part(part)
        encoded = ready.encode(name, examples, shared.recipe.encode)
        yield StageBegun(f"head's features of {part}", len(examples))
        into: Features = {}
        at_once = AtOnce(shared.recipe.predict.batch_size)
        yield from advancing(_entering(model, ready, encoded.ids, at_once, compute, into), at_once)
        states[part] = into
    layer, team = last_linear(head_layer(model, ready.family)), present()
    chosen: dict[str, Any] = {}
    if team.leads:
        probe = fit_probe(
            states["train"],
            _gold(splits.train),
            states["dev"],
            _gold(splits.dev),
            options.strengths,
            layer.bias is not None,
            len(splits.labels),
        )
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(probe.weight_CD))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(probe.bias_C))
        chosen = probe.chosen
    team.copy_from_leader(layer.parameters())
    return chosen


def last_linear(head: Any) -> torch.nn.Linear:
    """The head itself, or the last linear layer inside it (RoBERTa's and ELECTRA's have several)."""
    return [layer for layer in head.modules() if isinstance(layer, torch.nn.Linear)][-1]


def _entering(
    model: Any, ready: Ready, ids: Sequence[Any], at_once: AtOnce, compute: Compute, into: Features
) -> Iterator[int]:
    """Fill `into` with what enters the head's last layer, in eval mode."""
    caught: list[torch.Tensor] = []
    hook = last_linear(head_layer(model, ready.family)).register_forward_pre_hook(
        lambda module, inputs: caught.append(inputs[0])
    )
    model.eval()

    def work(chosen: Any) -> NDArray[np.float32]:
        caught.clear()
        padded = pad_batch([ids[i] for i in chosen], ready.pad.id, "right")
        with torch.inference_mode(), compute.autocast():
            class_logits(model, ready.family, on_device(padded, compute.device))
        return caught.pop().float().cpu().numpy()

    try:
        for chosen, values in in_batches([len(row) for row in ids], at_once, work):
            if "head" not in into:
                into["head"] = np.empty((len(ids), values.shape[1]), dtype=np.float32)
            into["head"][chosen] = values
            yield len(chosen)
    finally:
        hook.remove()
