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

from tuneproof.data.batches import by_length
from tuneproof.data.tokens import pad_batch
from tuneproof.families.family import Family
from tuneproof.model.heads import class_logits


def class_probabilities(
    model: nn.Module,
    family: Family,
    ids: Sequence[Any],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    into_NC: NDArray[np.float64],
) -> Iterator[int]:
    """Fill `into_NC` with softmax probabilities (float32 logits); yields items done after a batch.

    Longest batches come first; results stand in the order of `ids`.
    """
    model.eval()
    for batch in by_length([len(row) for row in ids], batch_size):
        padded = pad_batch([ids[i] for i in batch], pad_id, "right")
        on_device = {name: tensor.to(device) for name, tensor in padded.items()}
        with torch.inference_mode(), autocast():
            logits_BC = class_logits(model, family, on_device)
        into_NC[batch] = logits_BC.float().softmax(-1).cpu().double().numpy()
        yield len(batch)
