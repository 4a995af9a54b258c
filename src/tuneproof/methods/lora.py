"""LoRA: low-rank updates beside frozen linear layers, through peft.

In: a loaded model, its family, options. Out: the model with adapters that alone (and the head) train.
Knows nothing of: data, the loop.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from tuneproof.errors import ModelError
from tuneproof.methods.layers import DIFFERS, last_layers, targets_in_last
from tuneproof.methods.method import Method, TunedOptions, base_frozen


class LoraOptions(TunedOptions):
    """Settings of LoRA."""

    rank: int = Field(16, ge=1, le=1024, description="Rank r of every update.")
    alpha: float = Field(
        32.0, gt=0, description="The update is scaled by alpha/r (alpha/sqrt(r) for rslora)."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the update.")
    targets: Literal["all", "attention"] = Field(
        "all",
        description="all: every linear layer of the blocks (Schulman 2025, LoRA Without Regret); "
        "attention: those of attention alone.",
    )
    variant: Literal["none", "rslora", "dora", "pissa"] = Field(
        "none", description="rsLoRA (arXiv:2312.03732), DoRA (arXiv:2402.09353), PiSSA (arXiv:2404.02948)."
    )
    learning_rate: float = Field(
        2e-4, gt=0, le=1, description="Peak rate of AdamW: about ten times that of full."
    )


def apply_lora(model: Any, family: Any, options: Any, fresh: Sequence[str] = ()) -> Any:
    """Wrap the model by peft; the head over labels or spans and what else is `fresh` train whole.

    Raises: ModelError where peft cannot, or `layers` are asked for and the model's are not known.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    heads = family.head_names(model) if options.objective == "head" else []
    over_labels = TaskType.QUESTION_ANS if hasattr(model, "qa_outputs") else TaskType.SEQ_CLS
    modules = dict.fromkeys(name.rpartition(".")[0] for name in fresh)
    others = [name for name in modules if name.split(".")[0] not in heads]  # a random pooler, say
    last = last_layers(options)
    targets = (
        family.lora_targets(model, options.targets)
        if last is None
        else targets_in_last(model, family, options.targets, last)
    )
    config = LoraConfig(
        task_type=over_labels if heads else TaskType.CAUSAL_LM,
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=targets,
        modules_to_save=[*heads, *others] or None,
        use_rslora=options.variant == "rslora",
        use_dora=options.variant == "dora",
        init_lora_weights="pissa" if options.variant == "pissa" else True,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:  # Mamba's mixers, for one
        said = str(error).rpartition("] ")[2].split(". ")[0].rstrip(".")
        raise ModelError(
            type(model).__name__, f"peft puts no adapters there: {said}.", do="Use head or full."
        ) from None
    if any(p.dtype in (torch.bfloat16, torch.float16) for p in adapted.parameters()):
        _hold_in_float32(adapted)
    return adapted


def _hold_in_float32(adapted: Any) -> None:
    """Beside a base in half precision what trains is held in float32, and its inputs stay as they are.

    The forward pass runs under autocast, which casts the small weights; peft would cast every layer's
    input to theirs instead, and keep the copies for the backward pass.
    """
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False


LORA = Method(
    name="lora",
    kind="tuned",
    title="low-rank adapters",
    options=LoraOptions,
    chance=True,
    paper="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    differs=f"On all linear layers of the blocks, not on the attention's query and value alone. {DIFFERS}",
    apply=apply_lora,
    freezes=base_frozen,
)
