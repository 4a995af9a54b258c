"""The precision of a study that sets none: by device, card and architecture.

In: the device, which models exceed fp16's range. Out: fp32, bf16 or fp16, and the reason for what is unusual.
Knows nothing of: recipes, weights, what is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Card:
    """A GPU. has_bf16: it has instructions for bf16; torch emulates them on others, slowly."""

    name: str
    has_bf16: bool


def this_card() -> Card | None:
    """The CUDA device that torch uses; None: there is none."""
    if not torch.cuda.is_available():
        return None
    return Card(torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False))


def emulating_card(device: str, precision: str) -> str:
    """The name of the card that would emulate this precision, slowly; "" where none would.

    device: the type of torch's device.
    """
    card = this_card() if device == "cuda" and precision == "bf16" else None
    return card.name if card is not None and not card.has_bf16 else ""


def emulation_note(device: str, precision: str) -> str:
    """A sentence for the record where the card emulates this precision; else ""."""
    card = emulating_card(device, precision)
    lacks = f"{card} has no instructions for it, and torch emulates them, slowly"
    return f"Precision {precision}: {lacks}." if card else ""


def choose_precision(device: str, card: Card | None, overflowing: Sequence[str]) -> tuple[str, str]:
    """The precision, and the reason where the card or a model decides it.

    device: the type of torch's device. card: None if it is not known. overflowing: names of the models whose
    activations exceed fp16's largest number.
    """
    if device != "cuda":
        return "fp32", ""
    half = "fp32" if overflowing else "fp16"
    if card is None:
        older = f"a card before Ampere, such as a T4, has no bf16 and runs this model in {half}"
        return "bf16", f"Computed for bf16, since no precision is set; {older} (--precision {half})."
    if card.has_bf16:
        return "bf16", ""
    lacks = f"{card.name} has no instructions for bf16"
    if not overflowing:
        return half, f"Precision fp16: {lacks}."
    verb = "exceeds" if len(overflowing) == 1 else "exceed"
    return half, f"Precision fp32: {lacks}, and {', '.join(overflowing)} {verb} the range of fp16."
