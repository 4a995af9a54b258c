"""Full fine-tuning: every weight trains, or every weight of the last layers.

In: a loaded model. Out: the same model, what trains marked as trainable. Knows nothing of: data, the loop.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.methods.layers import DIFFERS, freeze_below, freeze_unread
from tuneproof.methods.method import Method
from tuneproof.methods.options import EngineOption, LayersOption, TunedOptions, WeightsOption, last_layers


class FullOptions(WeightsOption, LayersOption, EngineOption, TunedOptions):
    """Settings of full fine-tuning."""


def apply_full(model: Any, family: Any, options: Any, fresh: Sequence[str] = ()) -> Any:
    """Mark what an output depends on as trainable; with `layers`, only what the last layers read.

    Raises: ModelError where the model's layers are not known.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    freeze_unread(model)
    last = last_layers(options)
    if last is not None:
        freeze_below(model, last)
    return model


FULL = Method(
    name="full",
    kind="tuned",
    title="all weights",
    options=FullOptions,
    chance=True,
    paper="Devlin et al. 2019, arXiv:1810.04805, section 4",
    differs=DIFFERS,
    apply=apply_full,
)
