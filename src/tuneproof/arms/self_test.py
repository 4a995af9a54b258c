"""A minute's worth of proof before an arm trains, in seconds: on the real model and a few real items.

In: a model with its method applied, an objective. Out: nothing, or an error that names what fails.
Knows nothing of: optimizers, checkpoints, what the arm is for.

Three facts that everything after rests on: an item's outputs do not depend on what it is batched with, on
either padding side; the gradient of a batch is the same whole and in micro-batches; every weight that is
said to train gets a gradient, and no other does. Dropout is off meanwhile, and nothing is left behind.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from tuneproof.context.model_spec import Compute, Ready
from tuneproof.data.batches import Batch
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import RunError
from tuneproof.models.device import on_device
from tuneproof.models.heads import base_states, class_logits, pad_right
from tuneproof.models.oom import give_back, tried
from tuneproof.objectives.objective import Objective
from tuneproof.train.gradients import accumulate

ITEMS = 4
EXACT, ROUNDED = 1e-4, 0.1  # relative, in float32 and in half precision or on packed weights
SMALL_GRADIENT = 1e-2  # what is below this is compared as if it were this: rounding of a perfect fit
SIDES: tuple[Literal["right", "left"], ...] = ("right", "left")
OFF = "train: {self_test: false} leaves this test out."


def self_test(
    model: Any, objective: Objective, ready: Ready, compute: Compute, packed: bool, name: str
) -> bool:
    """Try the three facts; False where memory was too small to try them.

    name: the arm's. Raises: RunError saying which fact does not hold, of what.
    """
    chosen = some_items(objective.lengths)
    tolerance = EXACT if compute.precision == "fp32" and not packed else ROUNDED
    parts = [objective.collate(chosen[place : place + 1]) for place in range(len(chosen))]
    rows = [part["input_ids"][0].numpy() for part in parts]
    ids = [objective.unit_ids[place] for place in chosen]
    read = _logits if "labels" in parts[0] else _states

    def work() -> None:
        check_batching(partial(read, model, ready, compute), rows, ids, tolerance, name)
        check_gradients(model, objective, compute, chosen, tolerance, name)

    return _tried(model, work)


def prove_prompts(
    model: Any, rows: Sequence[Any], ids: Sequence[str], ready: Ready, compute: Compute, name: str
) -> bool:
    """Try the first fact for a model that is only asked; False where memory was too small.

    rows: tokens of a few prompts; ids: their items. Raises: RunError as `self_test`.
    """
    tolerance = EXACT if compute.precision == "fp32" else ROUNDED
    read = partial(_states, model, ready, compute)
    return _tried(model, lambda: check_batching(read, rows, ids, tolerance, name))


def _tried(model: Any, work: Callable[[], None]) -> bool:
    with _at_rest(model):
        done, _ = tried(work)
    if not done:
        give_back()
    return done


def some_items(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Places of up to four of the shortest items, of different lengths where there are such."""
    lengths_N = np.asarray(lengths)
    _, first = np.unique(lengths_N, return_index=True)
    rest = [place for place in np.argsort(lengths_N, kind="stable") if place not in first[:ITEMS]]
    return np.array([*first[:ITEMS], *rest][:ITEMS], dtype=np.int64)


def check_batching(
    read: Callable[[Sequence[Any], Any], list[torch.Tensor]],
    rows: Sequence[Any],
    ids: Sequence[str],
    tolerance: float,
    name: str,
) -> None:
    """Raises RunError where an item's outputs in a padded batch are not those that it has alone.

    read: (rows of tokens, padding side) → each row's outputs, of one or more dimensions.
    """
    alone = [read([row], "right")[0] for row in rows]
    for side in SIDES:
        for place, other in enumerate(read(rows, side)):
            one = alone[place]
            off = float((one - other).abs().max() / one.abs().max().clamp(min=1))
            if not off <= tolerance:
                raise RunError(
                    name,
                    f"the self-test failed: the {'logits' if one.ndim == 1 else 'states'} of "
                    f"{ids[place]} in a batch padded on the {side} differ by {off:.2g} (relative) from "
                    f"those that it has alone; {tolerance:g} is allowed.",
                    "Its scores would depend on its neighbours.",
                    f"Use another model. {OFF}",
                )


def check_gradients(
    model: Any, objective: Objective, compute: Compute, chosen: np.ndarray, tolerance: float, name: str
) -> None:
    """Raises RunError where micro-batches give another gradient, or weights get one wrongly or not."""
    halves = np.array_split(chosen, 2) if len(chosen) > 1 else [chosen]
    whole = _gradient(model, objective, compute, chosen, [chosen], name)
    cut = _gradient(model, objective, compute, chosen, halves, name)
    norm = float(torch.stack([g.float().norm() for g in whole.values()]).norm())
    off = {key: float((g.float() - cut[key].float()).norm()) for key, g in whole.items()}
    total = float(np.linalg.norm(list(off.values())))
    if np.isfinite(norm) and not total <= tolerance * max(norm, SMALL_GRADIENT):
        worst = max(off, key=off.__getitem__)
        raise RunError(
            name,
            f"the self-test failed: the gradient of {len(chosen)} items differs by {total / norm:.2g} "
            f"(relative) when they come in two micro-batches, most of all at {worst}; {tolerance:g} is "
            "allowed.",
            "train.micro_batch would change what is learnt.",
            f"Use another model or objective. {OFF}",
        )


def _gradient(
    model: Any,
    objective: Objective,
    compute: Compute,
    chosen: np.ndarray,
    parts: Sequence[np.ndarray],
    name: str,
) -> dict[str, torch.Tensor]:
    """The gradient of every trained weight. Raises RunError where one has none, or another has one."""
    collated = tuple(objective.collate(part) for part in parts)
    ids = tuple(objective.unit_ids[place] for place in chosen)
    total = sum(objective.count(part) for part in collated)
    accumulate(model, Batch(ids, collated), objective.loss, max(1, total), compute.accelerator, 0)
    found = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad != (parameter.grad is not None):
            wrong = (
                "is to be trained and gets no gradient"
                if parameter.requires_grad
                else ("is frozen and gets a gradient")
            )
            raise RunError(
                name, f"the self-test failed: {key} {wrong}.", do=f"Use another method or objective. {OFF}"
            )
        if parameter.grad is not None:
            found[key] = parameter.grad
            parameter.grad = None
    return found


def _batch(ready: Ready, compute: Compute, rows: Sequence[Any], side: Any) -> dict[str, Any]:
    return on_device(pad_batch(rows, ready.pad.id, side), compute.device)


def _logits(model: Any, ready: Ready, compute: Compute, rows: Sequence[Any], side: Any) -> list[torch.Tensor]:
    with torch.inference_mode(), compute.autocast():
        return list(class_logits(model, ready.family, _batch(ready, compute, rows, side)).float())


def _states(model: Any, ready: Ready, compute: Compute, rows: Sequence[Any], side: Any) -> list[torch.Tensor]:
    """States of each row's real tokens."""
    batch = _batch(ready, compute, rows, side)
    with torch.inference_mode(), compute.autocast():
        states_BTD = base_states(model, ready.family, batch).float()
    mask_BT = (
        pad_right(batch)["attention_mask"] if ready.family.kind == "encoder" else batch["attention_mask"]
    )
    return [states_BTD[row][mask_BT[row].bool()] for row in range(len(rows))]


@contextmanager
def _at_rest(model: Any) -> Iterator[None]:
    """Without dropout; modes and gradients are as before in the end."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        model.zero_grad(set_to_none=True)
