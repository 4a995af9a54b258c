"""LoRA: low-rank updates beside frozen linear layers, through peft.

In: options, where the adapters stand. Out: peft's configuration. Knows nothing of: data, the loop.
"""

from typing import Any, Literal

from pydantic import Field

from tuneproof.methods.adapters import AdapterTargets, with_adapters
from tuneproof.methods.layers import DIFFERS
from tuneproof.methods.method import Method, base_frozen
from tuneproof.methods.options import AdapterOptions


class LoraOptions(AdapterOptions):
    """Settings of LoRA."""

    rank: int = Field(16, ge=1, le=1024, description="Rank r of every update.")
    alpha: float = Field(
        32.0, gt=0, description="The update is scaled by alpha/r (alpha/sqrt(r) for rslora)."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the update.")
    variant: Literal["none", "rslora", "dora", "pissa"] = Field(
        "none", description="rsLoRA (arXiv:2312.03732), DoRA (arXiv:2402.09353), PiSSA (arXiv:2404.02948)."
    )


def lora_config(options: Any, targets: AdapterTargets) -> Any:
    """peft's configuration of LoRA and its variants."""
    from peft import LoraConfig

    in_one_tensor = options.dropout == 0 and options.variant in ("none", "rslora")  # what peft can there
    return LoraConfig(
        **targets.arguments(),
        target_parameters=(list(targets.expert_weights) or None) if in_one_tensor else None,
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        use_rslora=options.variant == "rslora",
        use_dora=options.variant == "dora",
        init_lora_weights="pissa" if options.variant == "pissa" else True,
    )


def rounding_at_start(options: Any) -> float:
    """PiSSA takes the base's weights apart and adds them up again; DoRA divides by a norm."""
    return 1e-4 if options.variant in ("pissa", "dora") else 0.0


apply_lora = with_adapters(lora_config)

LORA = Method(
    name="lora",
    kind="tuned",
    title="low-rank adapters",
    options=LoraOptions,
    chance=True,
    paper="Hu et al. 2021, arXiv:2106.09685, section 4.1",
    differs="On all linear layers of the blocks, not on the attention's query and value alone. Each routed "
    f"expert of a mixture has an update of its own, without dropout, DoRA or PiSSA. {DIFFERS}",
    apply=apply_lora,
    freezes_base=base_frozen,
    start_error=rounding_at_start,
)
