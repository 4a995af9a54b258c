"""Label probabilities from a classification head, batch by batch.

In: a model with a head and token ids. Out: probabilities, as the batches come.
Knows nothing of: labels' names, metrics, files.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.tokens import pad_batch
from tuneproof.families.family import Family
from tuneproof.models.device import on_device
from tuneproof.models.heads import class_logits
from tuneproof.models.oom import AtOnce, in_batches


def class_probabilities(
    model: nn.Module,
    family: Family,
    ids: Sequence[Any],
    pad_id: int,
    at_once: AtOnce,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    into_NC: NDArray[np.float64],
) -> Iterator[int]:
    """Fill `into_NC` with softmax probabilities (float32 logits); yields items done after a batch.

    Longest batches come first; results stand in the order of `ids`.
    """
    model.eval()

    def work(chosen: Any) -> NDArray[np.float64]:
        padded = pad_batch([ids[i] for i in chosen], pad_id, "right")
        sent = on_device(padded, device)
        with autocast():
            return label_shares(model, family, sent).cpu().double().numpy()

    for chosen, shares_BC in in_batches([len(row) for row in ids], at_once, work):
        into_NC[chosen] = shares_BC
        yield len(chosen)


def label_shares(model: nn.Module, family: Family, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Softmax [B, C] of the head's logits in float32, on the device."""
    with torch.inference_mode():
        return class_logits(model, family, batch).float().softmax(-1)
