"""The frozen layers of an arm whose last layers train: read once an item, cached on disk within a bound.

In: the arm's context, a model with its method applied, its objective. Out: a model that skips these layers.
Knows nothing of: optimizers, what a head makes of states.
"""

import shutil
import time
from typing import Any

import numpy as np
import torch

from tuneproof.context.arm_context import ArmContext
from tuneproof.methods.options import last_layers, starts_random
from tuneproof.models.activation_cache import (
    DAMAGED,
    ActivationCache,
    cached_bytes,
    folder_bytes,
    has_states,
    states_folder,
    unique_rows,
    write_states,
)
from tuneproof.models.device import to_device
from tuneproof.models.frozen_layers import FrozenLayers
from tuneproof.objectives.objective import Objective
from tuneproof.process_group import current_group
from tuneproof.settings import parse_memory_size

PARTS = ("train", "dev")  # test is read once an arm, and must not decide what is cached
FREE_DISK_BYTES = 10**9  # never used
CHECKED_ROWS = 4
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def cache_frozen_layers(
    context: ArmContext, model: Any, objective: Objective, seconds: dict[str, float]
) -> dict[str, Any]:
    """Let every forward pass start from cached states where only the last layers train.

    Where the states do not fit the disk, or the architecture does not allow it, the frozen layers run in
    every step; the result is the same. Returns the ledger's entry `frozen_layers`, nothing where all
    layers train; the time goes into `seconds`.
    """
    last = last_layers(context.options)
    if last is None:
        return {}
    started = time.perf_counter()
    frozen = FrozenLayers(model, last)
    entry = {
        "layers": frozen.layer_count,
        "frozen_layers": frozen.frozen_count,
        "cached": False,
        "disk_bytes": 0,
    }
    reason = _fill_cache(context, frozen, model, objective, entry)
    if reason:
        context.monitor.message(
            f"{_description(frozen)} and run in every step, without dropout: {reason}. The result is the "
            "same, but later.",
            recorded=True,
        )
    seconds["frozen layers"] = time.perf_counter() - started
    return {"frozen_layers": entry}


def _description(frozen: FrozenLayers) -> str:
    layers = f"layers 1 to {frozen.frozen_count}" if frozen.frozen_count > 1 else "layer 1"
    return f"The embeddings and {layers} of {frozen.layer_count} stay frozen"


def _fill_cache(
    context: ArmContext, frozen: FrozenLayers, model: Any, objective: Objective, entry: dict[str, Any]
) -> str | None:
    """Read the frozen layers' states, or use those cached. Returns the reason where there is no cache."""
    spec, compute, monitor = context.spec, context.compute, context.monitor
    if current_group().world_size > 1:
        return "several processes train together"
    started = time.perf_counter()
    rows = {part: unique_rows(objective.rows(part)) for part in PARTS}
    sample = frozen.compute_states(spec.family, rows["train"][:1], spec.pad.id, compute.device)
    if sample is None:
        return "this architecture's layers return more than states"
    token_bytes = sample.shape[-1] * sample.element_size()
    sizes = {part: token_bytes * sum(map(len, rows[part])) for part in PARTS}
    name = _cache_name(context, frozen)
    folders = {part: states_folder(context.study.cache, name, rows[part]) for part in PARTS if rows[part]}
    missing = [part for part, folder in folders.items() if not has_states(folder, rows[part], sample)]
    total_bytes = sum(sizes.values())
    reason = _no_room(context, sum(sizes[part] for part in missing), total_bytes)
    if reason:
        return reason
    monitor.message(
        f"{_description(frozen)}. Their states are computed once, without dropout, and take "
        f"{_megabytes(total_bytes)} on disk (compute.disk: at most {context.recipe.compute.disk}).",
        recorded=True,
    )
    cache = ActivationCache()
    for part, folder in folders.items():
        if part in missing:
            if folder.exists():
                monitor.message(DAMAGED.format(f"states of {part}"), "warning", recorded=True)
            monitor.stage(f"frozen layers of {part}", len(rows[part]))
            states = frozen.compute_batches(
                spec.family, rows[part], spec.pad.id, context.batch_size(), compute.device, compute.autocast
            )
            write_states(folder, rows[part], states)
        cache.add(folder)
    if not _is_equal(context, frozen, cache, model, objective):
        frozen.cache = None
        return "this architecture's upper layers read more than states"
    if missing:
        seconds = time.perf_counter() - started
        monitor.message(f"Reading the frozen layers took {seconds:.1f} s.", recorded=True)
    entry |= {
        "cached": True,
        "disk_bytes": sum(map(folder_bytes, folders.values())),
        "computed": bool(missing),
        "rows": sum(map(len, rows.values())),
        "tokens": sum(len(row) for part in rows.values() for row in part),
    }
    return None


def _megabytes(size: int) -> str:
    return f"{size / 10**6:,.1f} MB"


def _cache_name(context: ArmContext, frozen: FrozenLayers) -> str:
    """Everything that the states depend on except the tokens."""
    spec = context.spec
    weights = f"seed {context.seed}" if starts_random(context.options) else "pretrained"
    quantised = "quantised" if context.arm.method.quantizes else "plain"
    dtype = f"{next(frozen.base.parameters()).dtype}, {quantised}"
    files = sorted(spec.files.items())
    return f"{spec.fingerprint}|{files}|{weights}|{frozen.frozen_count}|{context.compute.precision}|{dtype}"


def _no_room(context: ArmContext, needed: int, total: int) -> str | None:
    """Why `needed` more bytes are not written; None where they may be."""
    cache, disk = context.study.cache, context.recipe.compute.disk
    limit = parse_memory_size(disk, "compute.disk")
    used = cached_bytes(cache)
    if needed and used + needed > limit:
        beside = f" beside {_megabytes(used)} already cached" if used else ""
        return f"their states would take {_megabytes(total)}{beside}, and compute.disk is {disk}"
    existing = next(path for path in (cache.absolute(), *cache.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if needed and needed > free - FREE_DISK_BYTES:
        return f"their states would take {_megabytes(total)}, and the disk has {_megabytes(free)} left"
    return None


def _is_equal(
    context: ArmContext, frozen: FrozenLayers, cache: ActivationCache, model: Any, objective: Objective
) -> bool:
    """Whether a few train rows have the same loss from cached states as from the whole model."""
    compute = context.compute
    indices = np.arange(min(CHECKED_ROWS, len(objective.item_ids)))
    part = to_device(objective.collate(indices), compute.device)
    model.eval()
    losses = []
    for states in (None, cache):
        frozen.cache = states
        with torch.inference_mode(), compute.autocast():
            losses.append(float(objective.loss(model, part).sum))
    tolerance = TOLERANCE[cache.dtype if compute.precision == "fp32" else torch.bfloat16]
    return abs(losses[0] - losses[1]) <= tolerance * max(1.0, abs(losses[0]))
