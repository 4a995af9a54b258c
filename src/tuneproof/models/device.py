"""Transfer of a batch to the device.

In: tensors on the host, one or nested in lists and dictionaries. Out: the same on the device.
Knows nothing of: what the tensors are.
"""

from typing import Any, TypeVar

import torch

T = TypeVar("T")


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
