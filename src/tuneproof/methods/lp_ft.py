"""LP-FT: the head first, by the convex fit, then full fine-tuning from there.

In: a loaded model whose head was fitted. Out: the model, everything marked as trainable.
Knows nothing of: how the head was fitted.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from tuneproof.methods.full import apply_full
from tuneproof.methods.layers import DIFFERS
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.methods.method import Method


class LpFtOptions(LoraOptions):
    """Settings of LP-FT; rank to variant count when `then` is lora."""

    objective: Literal["head"] = Field("head", description="LP-FT starts from a head.")
    then: Literal["full", "lora"] = Field("full", description="What trains after the head.")
    strengths: tuple[float, ...] = Field(
        (0.01, 0.1, 1.0, 10.0),
        min_length=1,
        description="Weights of the loss beside L2 (scikit-learn's C, for 1,000 items) in the head's "
        "fit; dev chooses.",
    )
    learning_rate: float = Field(2e-5, gt=0, le=1, description="Peak rate of AdamW in the second stage.")


def apply_lp_ft(model: Any, family: Any, options: Any, fresh: Sequence[str] = ()) -> Any:
    """Full or LoRA, as `then` says, on all layers or the last."""
    if options.then == "lora":
        return apply_lora(model, family, options, fresh)
    return apply_full(model, family, options, fresh)


def frozen_by_lora(options: Any) -> bool:
    """The base's own weights stay as they are where LoRA follows."""
    return bool(options.then == "lora")


LP_FT = Method(
    name="lp-ft",
    kind="tuned",
    title="the head first, then all weights",
    options=LpFtOptions,
    chance=True,
    paper="Kumar et al. 2022, arXiv:2202.10054, section 3.3; with LoRA Tomihari and Sato 2024, "
    "arXiv:2405.16747",
    differs=DIFFERS,
    probe=True,
    apply=apply_lp_ft,
    freezes=frozen_by_lora,
)
