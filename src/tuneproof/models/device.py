"""Transfer between the host and the device, and float64, which not every device has.

In: tensors on the host, one or nested in lists and dictionaries; results on the device. Out: the same on the
other side. Knows nothing of: what the tensors are.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")

SUMMED_AT_ONCE = 1 << 20  # numbers, so that no tensor is copied whole


def to_device(batch: T, device: str | torch.device) -> T:
    """Move the tensors of a batch to the device; other values stay as they are.

    Transfers to a CUDA device use pinned memory and do not block: the host goes on, and torch's allocator
    of pinned memory keeps the buffers until the transfer ends.
    """
    from accelerate.utils import recursively_apply, send_to_device

    if torch.device(device).type != "cuda":
        return send_to_device(batch, device)
    pinned: Any = recursively_apply(_pinned, batch)
    return send_to_device(pinned, device, non_blocking=True)


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor


def float64_array(tensor: torch.Tensor) -> NDArray[np.float64]:
    """The values on the host in float64. They are widened there: mps has no float64."""
    return tensor.cpu().double().numpy()


def float64_sum(tensor: torch.Tensor) -> float:
    """The sum of all values, added up in float64: on the device, or on the host where the device is mps."""
    on_host = tensor.device.type == "mps"
    pieces = tensor.flatten().split(SUMMED_AT_ONCE)
    return sum(float((piece.cpu() if on_host else piece).double().sum()) for piece in pieces)
