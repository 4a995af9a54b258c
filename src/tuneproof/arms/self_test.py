"""A quick proof before an arm trains, on the real model and a few real items.

In: the arm's context, a model with its method applied, an objective. Out: an error that names what fails.
Knows nothing of: optimizers, checkpoints, what the arm is for.

Facts that everything afterwards relies on: an item's outputs do not depend on the items batched with
it, on either padding side; the gradient of a batch is the same whole and in micro-batches; every weight
that should train gets a gradient, and no other does. Where a decoder's words count, a fourth: no token reads
those that follow. Dropout is off meanwhile; nothing is left behind.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from tuneproof.context.arm_context import ArmContext
from tuneproof.data.batches import Batch
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import RunError
from tuneproof.inference.finite import NOT_FINITE, USE_FP32
from tuneproof.inference.span import span_logits
from tuneproof.methods.options import trains_words
from tuneproof.models.device import to_device
from tuneproof.models.heads import base_states, class_logits, pad_right
from tuneproof.models.oom import release_memory, run_or_oom
from tuneproof.objectives.objective import Objective
from tuneproof.train.gradients import accumulate_gradients

ITEMS = 4
EXACT, ROUNDED = 1e-4, 0.1  # relative, in float32 and in half precision or on quantised weights
SMALL_GRADIENT = 1e-2  # what is below this is compared as if it were this: rounding of a perfect fit
Side = Literal["right", "left"]
SIDES: tuple[Side, ...] = ("right", "left")
OFF = "Turn this test off with train: {self_test: false}."


def self_test(context: ArmContext, model: Any, objective: Objective) -> bool:
    """Check the facts; False where there was too little memory for it.

    Raises: RunError naming the fact that does not hold.
    """
    items = select_items(objective.lengths)
    tolerance = _tolerance(context)
    parts = [objective.collate(items[i : i + 1]) for i in range(len(items))]
    rows = [part["input_ids"][0].numpy() for part in parts]
    ids = [objective.item_ids[item] for item in items]
    read = _logits if "labels" in parts[0] else _states

    def check() -> None:
        if "allowed" in parts[0]:
            _check_spans(context, model, objective, items)
        else:
            check_batching(partial(read, context, model), rows, ids, tolerance, context.arm.name)
        if trains_words(context.options):
            check_order(partial(_states, context, model), rows[-1], ids[-1], tolerance, context.arm.name)
        check_gradients(context, model, objective, items, tolerance)

    return _run_at_rest(model, check)


def self_test_prompts(context: ArmContext, model: Any, rows: Sequence[Any], ids: Sequence[str]) -> bool:
    """Check the first fact, and a decoder's order, for a model that is only prompted.

    rows: tokens of a few prompts; ids: their items. Returns False where there was too little memory.
    Raises: RunError as `self_test`.
    """
    read, tolerance, name = partial(_states, context, model), _tolerance(context), context.arm.name

    def check() -> None:
        check_batching(read, rows, ids, tolerance, name)
        if context.spec.family.kind == "decoder":
            check_order(read, rows[-1], ids[-1], tolerance, name)

    return _run_at_rest(model, check)


def self_test_features(context: ArmContext, model: Any, rows: Sequence[Any], ids: Sequence[str]) -> None:
    """Check the first fact for a model whose states alone are read, unless the self-test is turned off.

    They are read from rows padded on the right. rows: the tokens of all items; ids: the items.
    Raises: RunError as `self_test`.
    """
    if not context.recipe.train.self_test:
        return
    chosen = select_items([len(row) for row in rows])
    few_rows, few_ids = [rows[i] for i in chosen], [ids[i] for i in chosen]
    read, tolerance, name = partial(_states, context, model), _tolerance(context), context.arm.name
    context.monitor.stage("self-test")
    _run_at_rest(model, lambda: check_batching(read, few_rows, few_ids, tolerance, name, ("right",)))


def self_test_spans(context: ArmContext, model: Any, objective: Objective) -> None:
    """Check the first fact for a head over spans of a frozen base, unless the self-test is turned off.

    Raises: RunError as `self_test`.
    """
    if not context.recipe.train.self_test:
        return
    context.monitor.stage("self-test")
    _run_at_rest(model, lambda: _check_spans(context, model, objective, select_items(objective.lengths)))


def _check_spans(context: ArmContext, model: Any, objective: Objective, items: np.ndarray) -> None:
    """The first fact for the base's states and the logits of start and end; windows are padded on the right.

    A fresh head's logits are small, so the states tell more; the logits tell what the head's forward adds.
    """
    ids, tolerance, name = [objective.item_ids[item] for item in items], _tolerance(context), context.arm.name
    rows = [objective.collate(items[i : i + 1])["input_ids"][0].numpy() for i in range(len(items))]
    check_batching(partial(_states, context, model), rows, ids, tolerance, name, ("right",))
    read_logits = partial(_span_logits, context, model, objective)
    check_batching(read_logits, items.tolist(), ids, tolerance, name, ("right",))


def _tolerance(context: ArmContext) -> float:
    exact = context.compute.precision == "fp32" and not context.arm.method.quantizes
    return EXACT if exact else ROUNDED


def _run_at_rest(model: Any, check: Callable[[], None]) -> bool:
    with _at_rest(model):
        done, _ = run_or_oom(check)
    if not done:
        release_memory()
    return done


def select_items(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Indices of up to four of the shortest items, of different lengths where possible."""
    lengths_N = np.asarray(lengths)
    _, first = np.unique(lengths_N, return_index=True)
    rest = [item for item in np.argsort(lengths_N, kind="stable") if item not in first[:ITEMS]]
    return np.array([*first[:ITEMS], *rest][:ITEMS], dtype=np.int64)


def check_batching(
    read: Callable[[Sequence[Any], Any], list[torch.Tensor]],
    rows: Sequence[Any],
    ids: Sequence[str],
    tolerance: float,
    name: str,
    sides: Sequence[Side] = SIDES,
) -> None:
    """Raises RunError where outputs are not finite, or an item's in a padded batch differ from its own alone.

    read: (rows of tokens, padding side) → each row's outputs, of one or more dimensions.
    """
    alone = [read([row], "right")[0] for row in rows]
    kind = "logits" if alone[0].ndim == 1 else "states"
    for item, outputs in zip(ids, alone, strict=True):
        if not outputs.isfinite().all():
            raise RunError(name, f"the self-test failed: the {kind} of {item} {NOT_FINITE}", do=USE_FP32)
    for side in sides:
        for item, expected, outputs in zip(ids, alone, read(rows, side), strict=True):
            error = _largest_change(expected, outputs)
            if not error <= tolerance:
                raise RunError(
                    name,
                    f"the self-test failed: the {kind} of {item} in a batch padded on the {side} differ by "
                    f"{error:.2g} (relative) from those of the item alone; {tolerance:g} is allowed.",
                    "Its scores would depend on its neighbours.",
                    f"Use another model. {OFF}",
                )


def check_order(
    read: Callable[[Sequence[Any], Any], list[torch.Tensor]], row: Any, id: str, tolerance: float, name: str
) -> None:
    """Raises RunError where the states of a row's first half change with its second half."""
    half = len(row) // 2
    if half == 0:
        return
    alone, followed = read([row[:half]], "right")[0], read([row], "right")[0][:half]
    error = _largest_change(alone, followed)
    if not error <= tolerance:
        raise RunError(
            name,
            f"the self-test failed: the states of {id}'s first {half} tokens change by {error:.2g} "
            f"(relative) with the tokens that follow; {tolerance:g} is allowed.",
            "A model that reads ahead gives words no likelihood of their own.",
            f"Use head, or another model. {OFF}",
        )


def _largest_change(expected: torch.Tensor, outputs: torch.Tensor) -> float:
    """Relative to the largest value; NaN where one is NaN."""
    return float((expected - outputs).abs().max() / expected.abs().max().clamp(min=1))


def check_gradients(
    context: ArmContext, model: Any, objective: Objective, items: np.ndarray, tolerance: float
) -> None:
    """Raises RunError where micro-batches give another gradient, or a weight gets one wrongly or none."""
    halves = np.array_split(items, 2) if len(items) > 1 else [items]
    whole = _gradients(context, model, objective, [items])
    parts = _gradients(context, model, objective, halves)
    norm = float(torch.stack([gradient.float().norm() for gradient in whole.values()]).norm())
    errors = {
        name: float((gradient.float() - parts[name].float()).norm()) for name, gradient in whole.items()
    }
    error = float(np.linalg.norm(list(errors.values())))
    failed = np.isfinite(norm) and not error <= tolerance * max(norm, SMALL_GRADIENT)
    # gradients of a fitted head all but cancel: then the rounding is that of what was summed
    if failed and not error <= tolerance * _summed_norm(context, model, objective, items):
        worst = max(errors, key=errors.__getitem__)
        raise RunError(
            context.arm.name,
            f"the self-test failed: the gradient of {len(items)} items differs by {error / norm:.2g} "
            f"(relative) when they come in two micro-batches, most of all at {worst}; {tolerance:g} is "
            "allowed.",
            "train.micro_batch would change what is learnt.",
            f"Use another model or objective. {OFF}",
        )


def _summed_norm(context: ArmContext, model: Any, objective: Objective, items: np.ndarray) -> float:
    """The norms of what each item adds to the gradient of all, summed."""
    counts, norms = [], []
    for item in np.array_split(items, len(items)):
        gradients = _gradients(context, model, objective, [item])
        counts.append(objective.count(objective.collate(item)))
        norms.append(float(torch.stack([gradient.float().norm() for gradient in gradients.values()]).norm()))
    return float(np.dot(norms, counts)) / (sum(counts) or 1)


def _gradients(
    context: ArmContext, model: Any, objective: Objective, parts: Sequence[np.ndarray]
) -> dict[str, torch.Tensor]:
    """The gradient of every trained weight. Raises RunError where one has none, or another has one."""
    collated = tuple(objective.collate(part) for part in parts)
    ids = tuple(objective.item_ids[item] for part in parts for item in part)
    total = sum(objective.count(part) for part in collated) or 1
    accumulate_gradients(model, Batch(ids, collated), objective.loss, total, context.compute.accelerator, 0)
    gradients = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad != (parameter.grad is not None):
            problem = (
                "should train and gets no gradient" if parameter.requires_grad else "is frozen and gets one"
            )
            raise RunError(
                context.arm.name,
                f"the self-test failed: {name} {problem}.",
                do=f"Use another method or objective. {OFF}",
            )
        if parameter.grad is not None:
            gradients[name] = parameter.grad
            parameter.grad = None
    return gradients


def _batch(context: ArmContext, rows: Sequence[Any], side: Any) -> dict[str, Any]:
    return to_device(pad_batch(rows, context.spec.pad.id, side), context.compute.device)


def _logits(context: ArmContext, model: Any, rows: Sequence[Any], side: Any) -> list[torch.Tensor]:
    with torch.inference_mode(), context.compute.autocast():
        return list(class_logits(model, context.spec.family, _batch(context, rows, side)).float())


def _span_logits(
    context: ArmContext, model: Any, objective: Objective, items: Sequence[Any], side: Side
) -> list[torch.Tensor]:
    """Logits of each window's start and end, where an answer may be, one after the other."""
    batch = to_device(objective.collate(np.asarray(items)), context.compute.device)
    with torch.inference_mode(), context.compute.autocast():
        logits_BT2 = span_logits(model, batch)
    return [logits_BT2[row][batch["allowed"][row]].flatten() for row in range(len(items))]


def _states(context: ArmContext, model: Any, rows: Sequence[Any], side: Any) -> list[torch.Tensor]:
    """States of each row's real tokens."""
    family, batch = context.spec.family, _batch(context, rows, side)
    with torch.inference_mode(), context.compute.autocast():
        states_BTD = base_states(model, family, batch).float()
    padded = pad_right(batch) if family.kind == "encoder" else batch
    mask_BT = padded["attention_mask"].bool()
    return [states_BTD[row][mask_BT[row]] for row in range(len(rows))]


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
