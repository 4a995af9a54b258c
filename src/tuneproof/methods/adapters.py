"""Adapters beside a frozen base, of every kind that peft has.

In: a loaded model, its family, options, a function that makes the PeftConfig.
Out: the model with adapters that alone (and the head) train. Knows nothing of: data, the loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuneproof.errors import ModelError
from tuneproof.families.family import Family
from tuneproof.methods.experts import expert_weights
from tuneproof.methods.layers import freeze_unread, targets_in_last
from tuneproof.methods.options import AdapterOptions, last_layers, trains_words
from tuneproof.methods.without_adapter import weights_without_adapter
from tuneproof.methods.without_bitsandbytes import adapters_without_bitsandbytes

ApplyFn = Callable[[Any, Family, Any, Sequence[str]], Any]


@dataclass(frozen=True)
class AdapterTargets:
    """What every PeftConfig takes, by peft's own names: pass it on as `**targets.arguments()`.

    `target_modules`: the linear layers that adapters stand beside; `modules_to_save`: the modules that
    train whole (the head, and what the checkpoint did not hold). `expert_weights`: routed experts in one
    tensor, for a method whose adapters can stand beside such; they are no argument of the others.
    """

    task_type: str
    target_modules: list[str]
    modules_to_save: list[str] | None
    expert_weights: tuple[str, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """The arguments of a PeftConfig."""
        return {name: value for name, value in vars(self).items() if name != "expert_weights"}


def with_adapters(make_config: Callable[[Any, AdapterTargets], Any]) -> ApplyFn:
    """A method's `apply` from a function (options, targets) that makes the PeftConfig."""

    def apply(model: Any, family: Family, options: Any, fresh: Sequence[str] = ()) -> Any:
        adapted = _adapt(model, make_config(options, _targets(model, family, options, fresh)))
        adapted.weights_without_adapter = ()
        if options.targets == "all-linear":
            adapted.weights_without_adapter = weights_without_adapter(adapted)
        freeze_unread(adapted)
        return adapted

    return apply


def _targets(model: Any, family: Family, options: AdapterOptions, fresh: Sequence[str]) -> AdapterTargets:
    """Raises ModelError where the model has no such layers."""
    from peft import TaskType

    heads = [] if trains_words(options) else family.head_names(model)
    over_labels = TaskType.QUESTION_ANS if hasattr(model, "qa_outputs") else TaskType.SEQ_CLS
    modules = dict.fromkeys(name.rpartition(".")[0] for name in fresh)
    others = [name for name in modules if name.split(".")[0] not in heads]  # a random pooler, say
    last = last_layers(options)
    if last is None:
        targets = family.adapter_targets(model, options.targets)
    else:
        targets = targets_in_last(model, family, options.targets, last)
    task_type = over_labels if heads else TaskType.CAUSAL_LM
    experts = tuple(expert_weights(model, last)) if options.targets == "all-linear" else ()
    return AdapterTargets(task_type, targets, [*heads, *others] or None, experts)


def _adapt(model: Any, config: Any) -> Any:
    """Raises ModelError where peft cannot."""
    import torch
    from peft import get_peft_model

    from tuneproof.methods.lora_linear import fuse_updates

    try:
        with adapters_without_bitsandbytes(model):
            adapted = get_peft_model(model, config)
    except ValueError as error:  # of layers that peft does not know
        reason = str(error).rpartition("] ")[2].split(". ")[0].rstrip(".")
        problem = f"peft cannot put adapters there: {reason}."
        raise ModelError(type(model).__name__, problem, do="Use head or full.") from None
    if any(p.dtype in (torch.bfloat16, torch.float16) for p in adapted.parameters()):
        _hold_in_float32(adapted)
    fuse_updates(adapted)
    return adapted


def _hold_in_float32(adapted: Any) -> None:
    """Beside a base in half precision, hold what trains in float32 and leave its inputs as they are.

    The forward pass runs under autocast, which casts the small weights; peft would cast every layer's
    input to theirs instead, and keep the copies for the backward pass.
    """
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
