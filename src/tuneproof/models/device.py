"""A batch on its way to the device.

In: tensors on the host, one or nested in lists and dictionaries. Out: the same on the device.
Knows nothing of: what they are.
"""

from typing import Any, TypeVar

import torch

T = TypeVar("T")


def on_device(batch: T, device: str | torch.device) -> T:
    """The same values on the device; what is no tensor stays as it is.

    To a CUDA device they go from pinned memory and without waiting: the host goes on while they travel,
    and torch's allocator of pinned memory keeps what is on its way until it has arrived. Elsewhere they are
    copied as ever.
    """
    from accelerate.utils import recursively_apply, send_to_device

    if torch.device(device).type != "cuda":
        return send_to_device(batch, device)
    pinned: Any = recursively_apply(_pinned, batch)
    return send_to_device(pinned, device, non_blocking=True)


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor
