"""AdamW without decay on norms and biases, and learning rate schedules.

In: a model with marked trainable weights, a learning rate, a kind of schedule. Out: an optimizer; a factor
for each step. Knows nothing of: data, losses, devices' names.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal, get_args

import torch
from torch import nn

from tuneproof.errors import ModelError, RecipeError, did_you_mean
from tuneproof.models.fsdp import is_shard

Schedule = Callable[[int], float]
ScheduleKind = Literal["linear", "cosine", "constant"]

BETAS = (0.9, 0.999)
EPSILON = 1e-8
FUSED_ON = {"cpu", "cuda", "mps", "xpu"}


def decaying_names(model: nn.Module) -> set[str]:
    """Names of the parameters with weight decay: every matrix outside the norms.

    Source: transformers, `Trainer.get_decay_parameter_names`.
    Differs: vectors that are neither norm nor bias (DoRA's magnitudes) do not decay either.
    """
    decaying = set()
    for module_name, module in model.named_modules():
        if "norm" in type(module).__name__.lower():
            continue
        for parameter_name, parameter in module.named_parameters(recurse=False):
            name = f"{module_name}.{parameter_name}" if module_name else parameter_name
            if parameter.ndim >= 2 and "bias" not in name:
                decaying.add(name)
    return decaying


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters (betas 0.9 and 0.999, epsilon 1e-8); only matrices decay.

    torch's fused kernel is on a CPU seven times as fast as one call per tensor.
    Raises: ModelError where nothing is trainable.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        problem = "none of the model's weights is trainable."
        raise ModelError("optimizer", problem, do="Use a method that marks trainable weights.")
    decaying = decaying_names(model)
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, parameter in trainable.items():  # shards apart: no kernel takes them with whole weights
        kind = name not in decaying, is_shard(parameter)
        decay = weight_decay if name in decaying else 0.0
        groups.setdefault(kind, {"params": [], "weight_decay": decay})["params"].append(parameter)
    fused = all(p.device.type in FUSED_ON and p.is_floating_point() for p in trainable.values())
    in_order = [groups[kind] for kind in sorted(groups)]
    return torch.optim.AdamW(in_order, lr=learning_rate, betas=BETAS, eps=EPSILON, fused=fused)


def warmup_steps(total_steps: int, warmup_share: float) -> int:
    """Number of warm-up steps; a single step has none, since its learning rate would be zero."""
    return math.ceil(total_steps * warmup_share) if total_steps > 1 else 0


def make_schedule(kind: ScheduleKind, total_steps: int, warmup_share: float) -> Schedule:
    """The factor on the learning rate as a function of the step, which counts from 0.

    It rises linearly to 1 over ceil(total_steps · warmup_share) steps, then falls to 0 or stays constant.
    Raises: RecipeError where the kind is unknown.
    Source: transformers, `get_{linear,cosine,constant}_schedule_with_warmup`; Loshchilov and
    Hutter 2017, arXiv:1608.03983, equation 5 (cosine, without restarts).
    """
    kinds = get_args(ScheduleKind)
    if kind not in kinds:
        raise RecipeError("schedule", f"{kind!r} is not a schedule.", do=did_you_mean(kind, kinds))
    warmup = warmup_steps(total_steps, warmup_share)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        decay_steps = max(1, total_steps - warmup)
        if kind == "linear":
            return max(0.0, (total_steps - step) / decay_steps)
        if kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / decay_steps)))
        return 1.0

    return factor


def make_cycles(kind: ScheduleKind, steps_by_cycle: Sequence[int], warmup_share: float) -> Schedule:
    """One schedule after the other, each over its own steps: the learning rate rises and falls again.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, section 3 (warm restarts).
    Differs: each cycle has the warm-up and the decay of the recipe's schedule, not the cosine alone.
    """
    ends = list(accumulate(steps_by_cycle))
    cycles = [make_schedule(kind, steps, warmup_share) for steps in steps_by_cycle]

    def factor(step: int) -> float:
        index = min(bisect_right(ends, step), len(ends) - 1)
        return cycles[index](step - ends[index] + steps_by_cycle[index])

    return factor
