"""LP-FT: the head first, by the convex fit, then full fine-tuning or LoRA from there.

In: a loaded model whose head was fitted. Out: the model, what trains marked as trainable.
Knows nothing of: how the head was fitted.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tuneproof.methods.full import apply_full
from tuneproof.methods.head import fit_logistic_head
from tuneproof.methods.layers import DIFFERS
from tuneproof.methods.lora import LoraOptions, apply_lora, rounding_at_start
from tuneproof.methods.method import Method
from tuneproof.methods.options import StrengthsOption
from tuneproof.methods.span_head import fit_span_head

OF_LORA = ("targets", "rank", "alpha", "dropout", "variant")


class LpFtOptions(StrengthsOption, LoraOptions):
    """Settings of LP-FT; those of LoRA are for `then: lora`."""

    objective: Literal["head"] = Field("head", description="LP-FT starts from a head.")
    then: Literal["full", "lora"] = Field("full", description="What trains after the head.")

    @model_validator(mode="after")
    def _check_lora(self) -> Self:
        defaults = type(self).model_fields
        changed = [name for name in OF_LORA if getattr(self, name) != defaults[name].default]
        if changed and self.then != "lora":
            raise ValueError(f"{changed[0]} has an effect with then: lora alone")
        return self


def apply_lp_ft(model: Any, family: Any, options: Any, fresh: Sequence[str] = ()) -> Any:
    """Full fine-tuning or LoRA, as `then` says, on all layers or the last."""
    if options.then == "lora":
        return apply_lora(model, family, options, fresh)
    return apply_full(model, family, options, fresh)


def frozen_by_lora(options: Any) -> bool:
    """The base's own weights stay as they are where LoRA follows."""
    return bool(options.then == "lora")


def error_at_start(options: Any) -> float:
    """LoRA's, where LoRA follows."""
    return rounding_at_start(options) if options.then == "lora" else 0.0


LP_FT = Method(
    name="lp-ft",
    kind="tuned",
    title="the head first, then all weights",
    options=LpFtOptions,
    chance=True,
    paper="Kumar et al. 2022, arXiv:2202.10054, section 3.3; with LoRA Tomihari and Sato 2024, "
    "arXiv:2405.16747",
    differs=DIFFERS,
    fit_head=fit_logistic_head,
    fit_span_head=fit_span_head,
    apply=apply_lp_ft,
    freezes_base=frozen_by_lora,
    start_error=error_at_start,
)
