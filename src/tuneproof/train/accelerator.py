"""Where training computes and in which precision: the device, the forward pass's context, the backward pass.

In: a device, a precision. Out: an Accelerator, which `fit` uses.
Knows nothing of: models, optimizers, recipes.

Accelerate's own keeps one device and one precision for the whole process, while a notebook runs studies of
several; and one loss scale for all optimizers, while an arm may stop between two calls of its scaler.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tuneproof.process_group import current_group

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Accelerator:
    """A device and a precision. scaler: of fp16's losses, for one training (see `fresh`); else None."""

    device: torch.device
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    scaler: Any = None

    def fresh(self) -> "Accelerator":
        """The same for another training, which shares no loss scale with this one."""
        return Accelerator(self.device, self.mixed_precision, _make_scaler(self.device, self.mixed_precision))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass."""
        dtype = DTYPES.get(self.mixed_precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    def backward(self, loss: torch.Tensor) -> None:
        """The backward pass; fp16's loss is scaled."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()


def make_accelerator(device: str, precision: str) -> Accelerator:
    """An Accelerator; device: cpu, cuda, mps, or auto for the best one available (see `choose_device`).

    precision: fp32, bf16 or fp16; the last two are autocast, trained weights stay float32. Processes that a
    launcher started compute on the device that it gave them.
    """
    own = current_group().device
    chosen = torch.device(choose_device(device) if own is None else own)
    mixed: Any = "no" if precision == "fp32" else precision
    return Accelerator(chosen, mixed, _make_scaler(chosen, mixed))


def choose_device(device: str) -> str:
    """The type of torch's device: the requested one; auto: the best one that torch sees."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _make_scaler(device: torch.device, mixed_precision: str) -> Any:
    return torch.amp.GradScaler(device.type) if mixed_precision == "fp16" else None
