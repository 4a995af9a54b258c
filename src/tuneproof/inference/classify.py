"""Label probabilities from a classification head, batch by batch.

In: a model with a head, token ids. Out: probabilities per item.
Knows nothing of: names of labels, metrics, files.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.data.tokens import pad_batch
from tuneproof.families.family import Family
from tuneproof.models.device import float64_array, to_device
from tuneproof.models.heads import class_logits
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches


def class_probabilities(
    model: nn.Module,
    family: Family,
    ids: Sequence[Any],
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    labels: int,
) -> NDArray[np.float64]:
    """Softmax probabilities [N, C] of the head's logits in float32, in the order of `ids`."""
    if model.training:  # walking through all modules takes as long as a small layer
        model.eval()
    probabilities_NC = np.zeros((len(ids), labels))

    def work(items: Any) -> NDArray[np.float64]:
        batch = to_device(pad_batch([ids[item] for item in items], pad_id, "right"), device)
        with autocast():
            return float64_array(batch_probabilities(model, family, batch))

    for items, probabilities_BC in run_in_batches([len(row) for row in ids], adaptive_size, work):
        probabilities_NC[items] = probabilities_BC
    return probabilities_NC


def batch_probabilities(model: nn.Module, family: Family, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Softmax [B, C] of the head's logits in float32, on the device."""
    with torch.inference_mode():
        return class_logits(model, family, batch).float().softmax(-1)
