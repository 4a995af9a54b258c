"""The frozen layers of an arm whose last layers train: read once an item, kept on disk within a bound.

In: a model that its method was applied to, its objective. Out: events, a model that skips its trunk.
Knows nothing of: optimizers, what a head makes of states.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.context.monitor import Running, Said, StageBegun
from tuneproof.context.progress import advancing
from tuneproof.context.study_data import Shared
from tuneproof.data.splits import PARTS
from tuneproof.methods.layers import last_layers
from tuneproof.models.activation_cache import (
    KeptStates,
    Row,
    bytes_kept,
    each_once,
    is_kept,
    keep,
    size_of,
    states_folder,
)
from tuneproof.models.device import on_device
from tuneproof.models.frozen_layers import Trunk
from tuneproof.models.oom import AtOnce
from tuneproof.objectives.objective import Objective
from tuneproof.process_group import present
from tuneproof.recipe.recipe import Arm
from tuneproof.settings import memory_bytes

LEFT_FREE = 10**9  # bytes of the disk that are never taken
TRIED_ROWS = 4
APART = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def read_trunk(
    model: Any,
    objective: Objective,
    shared: Shared,
    arm: Arm,
    ready: Ready,
    compute: Compute,
    seed: int,
    seconds: dict[str, float],
) -> Running[dict[str, Any]]:
    """Where the arm's last layers train alone, let every forward start from kept states of those below.

    Where the states do not fit the disk, or the architecture does not take them, the frozen layers run
    in every step; the result is the same. Returns the ledger's entry `trunk`, nothing where all layers
    train; the time goes into `seconds`.
    """
    last = last_layers(arm.options)
    if last is None:
        return {}
    begun = time.perf_counter()
    trunk = Trunk(model, last)
    found = yield from _kept(trunk, model, objective, shared, arm, ready, compute, seed)
    seconds["trunk"] = time.perf_counter() - begun
    return {"trunk": found}


def _kept(
    trunk: Trunk,
    model: Any,
    objective: Objective,
    shared: Shared,
    arm: Arm,
    ready: Ready,
    compute: Compute,
    seed: int,
) -> Running[dict[str, Any]]:
    """Read the trunk or find it read. Returns what became of it."""
    lower = f"layers 1 to {trunk.frozen}" if trunk.frozen > 1 else "layer 1"
    what = f"The embeddings and {lower} of {trunk.layers} stay as they are"
    about: dict[str, Any] = {"layers": trunk.layers, "frozen_layers": trunk.frozen}
    about |= {"kept": False, "disk_bytes": 0}
    if present().size > 1:
        yield _run_each_time(what, "several processes train it together")
        return about
    begun = time.perf_counter()
    rows = {part: each_once(objective.rows(part)) for part in PARTS}
    one = trunk.states(ready.family, rows["train"][:1], ready.pad.id, compute.device)
    if one is None:
        yield _run_each_time(what, "this architecture's layers hand on more than states")
        return about
    sizes = {part: _bytes_of(found, one) for part, found in rows.items()}
    name = _name(trunk, ready, arm, compute, seed)
    folders = {part: states_folder(shared.cache, name, found) for part, found in rows.items() if found}
    missing = [part for part, folder in folders.items() if not is_kept(folder)]
    total, needed = sum(sizes.values()), sum(sizes[part] for part in missing)
    reason = _why_not_kept(shared, needed, total)
    if reason:
        yield _run_each_time(what, reason)
        return about
    yield Said(
        f"{what}. What they give is computed once, without dropout, and takes {_mb(total)} on disk "
        f"(compute.disk: at most {shared.recipe.compute.disk}).",
        noted=True,
    )
    kept = KeptStates()
    for part, folder in folders.items():
        if part in missing:
            yield StageBegun(f"trunk of {part}", len(rows[part]))
            at_once = AtOnce(shared.recipe.predict.batch_size)
            states = trunk.read(
                ready.family, rows[part], ready.pad.id, at_once, compute.device, compute.autocast
            )
            yield from advancing(keep(folder, rows[part], states), at_once)
        kept.add(folder)
    if not _same(trunk, kept, model, objective, compute):
        trunk.kept = None
        yield _run_each_time(what, "this architecture's upper layers read more than states")
        return about
    if missing:
        took = time.perf_counter() - begun
        yield Said(f"The frozen layers were read in {took:.1f} s.", noted=True)
    return {
        **about,
        "kept": True,
        "disk_bytes": sum(map(size_of, folders.values())),
        "computed": bool(missing),
        "rows": sum(map(len, rows.values())),
        "tokens": sum(len(row) for found in rows.values() for row in found),
    }


def _run_each_time(what: str, reason: str) -> Said:
    return Said(
        f"{what} and run in every step, without dropout: {reason}. The result is the same, later.", noted=True
    )


def _bytes_of(rows: list[Row], one: torch.Tensor) -> int:
    return sum(map(len, rows)) * one.shape[-1] * one.element_size()


def _mb(size: int) -> str:
    return f"{size / 10**6:,.1f} MB"


def _name(trunk: Trunk, ready: Ready, arm: Arm, compute: Compute, seed: int) -> str:
    """All that the trunk's states depend on but the tokens."""
    drawn = f"seed {seed}" if getattr(arm.options, "weights", "") == "random" else "pretrained"
    held = f"{next(trunk.base.parameters()).dtype}, {'packed' if arm.method.packs else 'plain'}"
    return f"{ready.fingerprint}|{ready.sketch}|{drawn}|{trunk.frozen}|{compute.precision}|{held}"


def _why_not_kept(shared: Shared, needed: int, total: int) -> str | None:
    """The reason why so many bytes more are not written; None where they may be."""
    most = memory_bytes(shared.recipe.compute.disk, "compute.disk")
    taken = bytes_kept(shared.cache)
    if needed and taken + needed > most:
        beside = f" beside {_mb(taken)} that are there" if taken else ""
        return (
            f"what they give would take {_mb(total)}{beside}, and compute.disk is "
            f"{shared.recipe.compute.disk}"
        )
    free = shutil.disk_usage(_there(shared.cache)).free
    if needed and needed > free - LEFT_FREE:
        return f"what they give would take {_mb(total)}, and the disk has {_mb(free)} left"
    return None


def _there(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def _same(trunk: Trunk, kept: KeptStates, model: Any, objective: Objective, compute: Compute) -> bool:
    """Whether a few rows of train have the same loss from kept states as from the whole model."""
    tried = np.arange(min(TRIED_ROWS, len(objective.unit_ids)))
    part = on_device(objective.collate(tried), compute.device)
    model.eval()
    losses = []
    for states in (None, kept):
        trunk.kept = states
        with torch.inference_mode(), compute.autocast():
            losses.append(float(objective.loss(model, part).sum))
    apart = APART[kept.dtype if compute.precision == "fp32" else torch.bfloat16]
    return abs(losses[0] - losses[1]) <= apart * max(1.0, abs(losses[0]))
