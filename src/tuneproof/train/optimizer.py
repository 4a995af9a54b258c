"""AdamW without decay on norms and biases, and the schedules of the learning rate.

In: a model with marked trainable weights, a rate, a kind of schedule. Out: an optimizer; a factor a step.
Knows nothing of: data, losses, devices' names.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import nn

from tuneproof.errors import ModelError, RecipeError, did_you_mean

Schedule = Callable[[int], float]
ScheduleKind = Literal["linear", "cosine", "constant"]

BETAS = (0.9, 0.999)
EPSILON = 1e-8
FUSED_ON = {"cpu", "cuda", "mps", "xpu"}


def decaying_names(model: nn.Module) -> set[str]:
    """Names of the parameters that decay pulls towards zero: every matrix outside the norms.

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
    """AdamW over the trainable parameters; matrices decay, norms and biases do not.

    Betas 0.9 and 0.999, epsilon 1e-8, one fused kernel where torch has one (on a CPU seven times
    as fast as one call a tensor).

    Raises: ModelError where nothing is trainable.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ModelError(
            "optimizer",
            "none of the model's weights is trainable.",
            do="Use a method that marks what it trains.",
        )
    decaying = decaying_names(model)
    matrices = [p for name, p in trainable.items() if name in decaying]
    vectors = [p for name, p in trainable.items() if name not in decaying]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((matrices, weight_decay), (vectors, 0.0))
        if parameters
    ]
    fused = all(p.device.type in FUSED_ON and p.is_floating_point() for p in trainable.values())
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=EPSILON, fused=fused)


def warmup_steps(total_steps: int, warmup_share: float) -> int:
    """Steps over which the rate rises; a single step has none: it would be taken with a rate of zero."""
    return math.ceil(total_steps * warmup_share) if total_steps > 1 else 0


def make_schedule(kind: ScheduleKind, total_steps: int, warmup_share: float) -> Schedule:
    """The factor on the learning rate as a function of the step, which counts from 0.

    From 0 in a line to 1 over the first ceil(total_steps · warmup_share) steps, then in a line or
    half a cosine wave towards 0 at `total_steps`, or constant.

    Raises: RecipeError where the kind is unknown.
    Source: transformers, `get_{linear,cosine,constant}_schedule_with_warmup`; Loshchilov and
    Hutter 2017, arXiv:1608.03983, equation 5 (cosine, without restarts).
    """
    if kind not in get_args(ScheduleKind):
        raise RecipeError(
            "schedule", f"{kind!r} is not known.", do=did_you_mean(kind, get_args(ScheduleKind))
        )
    warmup = warmup_steps(total_steps, warmup_share)

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        falling = max(1, total_steps - warmup)
        if kind == "linear":
            return max(0.0, (total_steps - step) / falling)
        if kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / falling)))
        return 1.0

    return factor
