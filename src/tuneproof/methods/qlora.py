"""QLoRA: LoRA beside linear layers that are frozen in 4 bits, through bitsandbytes and peft.

In: a model whose blocks were loaded quantised. Out: the model with adapters that alone (and the head) train.
Knows nothing of: data, the loop, how weights are quantised.
"""

import importlib.metadata
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from tuneproof.errors import RecipeError
from tuneproof.methods.layers import DIFFERS
from tuneproof.methods.lora import LoraOptions, apply_lora, rounding_at_start
from tuneproof.methods.method import Method, base_frozen

OLDEST = (0, 46, 1)  # the first that quantises on a CPU as well


class QloraOptions(LoraOptions):
    """Settings of QLoRA: those of LoRA."""

    variant: Literal["none", "rslora", "dora"] = Field(
        "none",
        description="rsLoRA (arXiv:2312.03732), DoRA (arXiv:2402.09353). PiSSA takes the weights "
        "apart, which it cannot where they are quantised.",
    )


def apply_qlora(model: Any, family: Any, options: Any, fresh: Sequence[str] = ()) -> Any:
    """Freeze everything and hold what is not quantised in float32, as peft recommends; then LoRA."""
    from peft import prepare_model_for_kbit_training

    # gradient checkpointing is a setting of every arm, not of this method
    prepared = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return apply_lora(prepared, family, options, fresh)


def check_qlora() -> None:
    """Raises RecipeError where bitsandbytes is missing or too old."""
    try:
        version = importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        problem = "it holds the base in 4 bits through bitsandbytes, which is not installed."
        advice = "Install it with `pip install 'tuneproof[qlora]'`, or use lora."
        raise RecipeError("arms: qlora", problem, do=advice) from None
    if tuple(int(part) for part in version.split(".")[:3] if part.isdecimal()) < OLDEST:
        problem = f"bitsandbytes is {version}, older than {'.'.join(map(str, OLDEST))}."
        advice = "Upgrade it with `pip install -U 'tuneproof[qlora]'`, or use lora."
        raise RecipeError("arms: qlora", problem, do=advice)


QLORA = Method(
    name="qlora",
    kind="tuned",
    title="low-rank adapters on a base quantised to 4 bits",
    options=QloraOptions,
    chance=True,
    paper="Dettmers et al. 2023, arXiv:2305.14314, sections 2 and 3",
    differs="Rank, scale and learning rate are those of lora, so that the two differ in the base's "
    "precision alone (the paper: rank 64, alpha 16, dropout 0.1 or 0.05). No paged "
    f"optimizer. {DIFFERS}",
    apply=apply_qlora,
    freezes_base=base_frozen,
    start_error=rounding_at_start,
    quantizes=True,
    check=check_qlora,
)
