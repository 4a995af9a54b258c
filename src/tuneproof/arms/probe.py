"""The convex fit of a head: as an arm of its own, or as the start of LP-FT.

In: the arm's context. Out: an ArmResult, or a model whose head is fitted.
Knows nothing of: training loops.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.arms.self_test import self_test_features
from tuneproof.arms.serving_speed import serve_with
from tuneproof.atomic import read_json, write_json, write_with
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import Compute
from tuneproof.context.model_spec import ModelSpec
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, encoding_summary, prompt_sample
from tuneproof.context.study_data import ArmResult, as_predictions
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import ModelError
from tuneproof.inference.finite import refuse_nonfinite
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.linear_head import HeadData, LinearHead
from tuneproof.methods.options import PoolingOption
from tuneproof.models.activation_cache import (
    DAMAGED,
    Features,
    TokenRow,
    features_folder,
    read_features,
    write_features,
)
from tuneproof.models.adapter_config import RESTORE
from tuneproof.models.device import to_device
from tuneproof.models.heads import class_logits, head_layer, last_linear
from tuneproof.models.load import load_model, model_on_meta, pretrained_on_meta
from tuneproof.models.oom import run_in_batches
from tuneproof.models.pooled_features import pooled_features
from tuneproof.parameters.architecture import pretrained_entry
from tuneproof.parameters.ledger import probe_ledger
from tuneproof.process_group import ArmDismissedError, current_group
from tuneproof.tasks.task import Example

PARTS = ("train", "dev", "test")


def candidate_poolings(spec: ModelSpec, pooling: str) -> tuple[str, ...]:
    """The poolings that dev chooses from."""
    if pooling != "auto":
        return (pooling,)
    return ("first", "mean") if spec.family.kind == "encoder" else ("last", "mean")


def load_base(spec: ModelSpec, compute: Compute) -> Any:
    """The pretrained model without any head, frozen, on the device."""
    loaded = load_model(
        spec.source, spec.config, spec.tokenizer, spec.family, head="base", dtype=compute.frozen_dtype
    )
    return loaded.model.to(compute.device)


def run_probe(context: ArmContext) -> ArmResult:
    """Compute features once, fit the head, predict dev and test."""
    study, spec, splits = context.study, context.spec, context.splits
    started = time.perf_counter()
    features = base_features(context)
    if study.sample:
        indices = study.sample.indices
        features["train"] = {name: rows[indices] for name, rows in features["train"].items()}
    seconds = {"features": time.perf_counter() - started}
    context.monitor.stage("fit")
    started = time.perf_counter()
    head = _fit_head(context, features["train"], features["dev"], spec.family.kind == "encoder")
    seconds["train"] = time.perf_counter() - started

    def predictions(part: str) -> Predictions:
        encoded = spec.encode(part, splits.part(part), study.recipe.encode)
        return as_predictions(
            splits.labels,
            splits.part(part),
            head.probabilities(features[part][head.pooling]),
            encoded.tokens_N,
            encoded.truncated_N,
        )

    load = cache(lambda: load_base(spec, context.compute))  # features may come from the disk
    test = predictions("test")
    size = head.weight_CD.size + (head.bias_C.size if spec.family.kind == "encoder" else 0)
    pretrained = pretrained_on_meta(spec.source, spec.config)
    base = model_on_meta(spec.source, spec.config, head="base")
    ledger = {
        **probe_ledger(base, pretrained, spec.family, size).as_json(),
        **pretrained_entry(spec.source, spec.config, spec.family, pretrained),
    }
    encoded = spec.encode("test", splits.test, study.recipe.encode)
    samples = splits.test[:SAMPLE_ITEMS]
    return ArmResult(
        test=test,
        dev=predictions("dev"),
        ledger=ledger,
        chosen={"pooling": head.pooling, **head.chosen},
        time_s=seconds,
        encoding=encoding_summary(test, spec.max_length),
        prompts=[prompt_sample(spec, example, encoded.ids[i], None) for i, example in enumerate(samples)],
        notes=[*spec.notes, *spec.details],
        save=lambda folder: save_head(folder, head),
        predict=partial(predict_pooled, context, head),
        serve=serve_with(context, lambda timed: partial(predict_pooled, timed, head, model=load())),
    )


def base_features(context: ArmContext, parts: Sequence[str] = PARTS) -> dict[str, Features]:
    """Features of these parts, from the cache or computed; of several processes in the main one.

    The features of the whole of train serve every sample of it.
    """
    study, spec, compute = context.study, context.spec, context.compute
    assert isinstance(context.options, PoolingOption)
    poolings = candidate_poolings(spec, context.options.pooling)
    weights = f"{spec.fingerprint}|{sorted(spec.files.items())}"
    precision = f"{compute.precision}, weights {compute.frozen_dtype}"
    source = f"{weights}|{','.join(poolings)}|{precision}"
    model, group = None, current_group()
    features: dict[str, Features] = {}
    for part in parts:
        examples = study.sample.whole if study.sample and part == "train" else context.splits.part(part)
        encoded = spec.encode(part, examples, study.recipe.encode)
        folder = features_folder(study.cache, source, map(TokenRow, encoded.ids))
        width = spec.width if spec.family.model_types else None  # of another family it may differ
        cached = read_features(folder, poolings, len(encoded.ids), width)
        if cached is None and folder.exists():
            context.monitor.message(DAMAGED.format(f"features of {part}"), "warning", recorded=True)
        if not group.broadcast(cached is not None):
            if model is None:
                context.monitor.stage("load")
                model = load_base(spec, compute)
                self_test_features(context, model, encoded.ids, [example.id for example in examples])
            context.monitor.stage(f"features of {part}", len(examples))
            with context.test_attention() if part == "test" else nullcontext():
                cached = _pooled(context, model, encoded.ids, poolings)
            for features_ND in cached.values():
                refuse_nonfinite(examples, features_ND)
            if group.is_main:
                write_features(folder, cached)
        features[part] = cached or {}
    if not group.is_main:
        group.barrier()  # the fit is one process's work
        raise ArmDismissedError
    return features


def _pooled(context: ArmContext, model: Any, ids: Sequence[Any], poolings: Sequence[str]) -> Features:
    spec, compute = context.spec, context.compute
    return pooled_features(
        model, spec.family, ids, spec.pad.id, poolings, context.batch_size(), compute.device, compute.autocast
    )


def _fit_head(context: ArmContext, train: Features, dev: Features, has_bias: bool) -> LinearHead:
    fit_head, splits = context.arm.method.fit_head, context.splits
    assert fit_head is not None
    data = HeadData(
        train,
        _labels(splits.train),
        dev,
        _labels(splits.dev),
        has_bias,
        classes=len(splits.labels),
        weights_C=context.study.class_weights_C,
    )
    return fit_head(context.options, data)


def _labels(examples: Sequence[Example]) -> NDArray[np.int64]:
    return np.array([example.label for example in examples], dtype=np.int64)


def save_head(folder: Path, head: LinearHead) -> None:
    """head.safetensors (weight [C, D], bias [C]) and head.json (the pooling)."""
    from safetensors.numpy import save_file

    tensors = {"weight": np.ascontiguousarray(head.weight_CD), "bias": head.bias_C}
    write_with(folder / "head.safetensors", lambda file: save_file(tensors, str(file)))
    write_json(folder / "head.json", {"pooling": head.pooling})


def load_head(folder: Path) -> LinearHead:
    """The head that `save_head` wrote. Raises: ModelError where it is none, or not finite."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "head.safetensors"
    try:
        tensors = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(str(path), f"cannot be read: {error}.", do=RESTORE) from None
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    weight_CD, bias_C = tensors.get("weight", np.empty(0)), tensors.get("bias", np.empty(0))
    if len(shapes) != 2 or weight_CD.ndim != 2 or bias_C.shape != weight_CD.shape[:1]:
        problem = f"holds the tensors {shapes}, not weight [labels, width] and bias [labels]."
        raise ModelError(str(path), problem, do=RESTORE)
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ModelError(str(path), f"{name} holds values that are not finite.", do=RESTORE)
    values = read_json(folder / "head.json")
    pooling = values.get("pooling") if isinstance(values, dict) else None
    if pooling not in ("first", "mean", "last", "unit-mean"):
        problem = f"pooling is {pooling!r:.60}; it must be first, mean, last or unit-mean."
        raise ModelError(str(folder / "head.json"), problem, do=RESTORE)
    return LinearHead(pooling, weight_CD, bias_C)


def load_fitting_head(context: ArmContext, folder: Path) -> LinearHead:
    """The saved head of the context's arm. Raises: ModelError where it is another base's."""
    head, spec = load_head(folder), context.spec
    classes, width = head.weight_CD.shape
    if classes != len(context.study.labels) or width != (spec.width or width):
        problem = (
            f"weight has the shape [{classes}, {width}], not [{len(context.study.labels)}, {spec.width}]."
        )
        raise ModelError(str(folder / "head.safetensors"), problem, do=RESTORE)
    return head


def predict_pooled(
    context: ArmContext, head: LinearHead, examples: Sequence[Example], part: str, model: Any = None
) -> Predictions:
    """Predictions by a head; model: the base, where it is loaded already."""
    spec = context.spec
    encoded = spec.encode(part, examples, context.recipe.encode)
    context.monitor.stage("features", len(examples))
    with context.attention(part, examples):
        base = load_base(spec, context.compute) if model is None else model
        features = _pooled(context, base, encoded.ids, (head.pooling,))
    return as_predictions(
        context.study.labels,
        examples,
        head.probabilities(features[head.pooling]),
        encoded.tokens_N,
        encoded.truncated_N,
    )


def fit_model_head(context: ArmContext, model: Any) -> dict[str, Any]:
    """Fit the last linear layer of the model's own head to the states that enter it.

    Returns what dev chose.
    """
    study, spec, splits = context.study, context.spec, context.splits
    features: dict[str, Features] = {}
    for part, name in (("train", study.train_name), ("dev", "dev")):
        examples = splits.part(part)
        encoded = spec.encode(name, examples, study.recipe.encode)
        context.monitor.stage(f"head's features of {part}", len(examples))
        features[part] = {"head": _head_inputs(context, model, encoded.ids)}
    layer, group = last_linear(head_layer(model, spec.family)), current_group()
    chosen: dict[str, Any] = {}
    if group.is_main:
        head = _fit_head(context, features["train"], features["dev"], layer.bias is not None)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(head.weight_CD))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(head.bias_C))
        chosen = dict(head.chosen)
    group.broadcast_tensors(layer.parameters())
    return chosen


def _head_inputs(context: ArmContext, model: Any, ids: Sequence[Any]) -> NDArray[np.float32]:
    """What enters the head's last layer [N, D], in eval mode."""
    spec, compute = context.spec, context.compute
    inputs: list[torch.Tensor] = []
    hook = last_linear(head_layer(model, spec.family)).register_forward_pre_hook(
        lambda module, arguments: inputs.append(arguments[0])
    )
    model.eval()

    def read(indices: Any) -> NDArray[np.float32]:
        inputs.clear()
        padded = pad_batch([ids[i] for i in indices], spec.pad.id, "right")
        with torch.inference_mode(), compute.autocast():
            class_logits(model, spec.family, to_device(padded, compute.device))
        return inputs.pop().float().cpu().numpy()

    features_ND: Any = None
    try:
        for indices, values in run_in_batches([len(row) for row in ids], context.batch_size(), read):
            if features_ND is None:
                features_ND = np.empty((len(ids), values.shape[1]), dtype=np.float32)
            features_ND[indices] = values
    finally:
        hook.remove()
    return features_ND
