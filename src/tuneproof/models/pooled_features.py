"""Pooled features of a frozen base model, computed in one pass.

In: a base model and token ids. Out: float32 arrays, one per pooling.
Knows nothing of: labels, heads, tasks, files.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import nn

from tuneproof.data.tokens import pad_batch
from tuneproof.families.family import Family
from tuneproof.models.activation_cache import Features
from tuneproof.models.device import to_device
from tuneproof.models.heads import base_states
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector per item, from real tokens only, under either padding side.

    pooling: first or last, the state of the first or the last real token; mean, the mean over real tokens;
    unit-mean, the same divided by its length.
    """
    rows_B = torch.arange(len(mask_BT), device=hidden_BTD.device)
    if pooling == "unit-mean":
        return torch.nn.functional.normalize(pool(hidden_BTD, mask_BT, "mean").float(), dim=-1)
    if pooling == "mean":
        weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)
    if pooling == "first":
        return hidden_BTD[rows_B, mask_BT.argmax(1)]
    positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return hidden_BTD[rows_B, (mask_BT * positions_T).argmax(1)]


def pooled_features(
    model: nn.Module,
    family: Family,
    ids: Sequence[Any],
    pad_id: int,
    poolings: Sequence[str],
    adaptive_size: AdaptiveBatchSize,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Features:
    """Features [N, D] of N items, one array per pooling."""
    features: Features = {}
    if model.training:  # walking through all modules takes as long as a small layer
        model.eval()

    def work(indices: Any) -> Features:
        batch = to_device(pad_batch([ids[i] for i in indices], pad_id, "right"), device)
        with autocast():
            pooled = pooled_states(model, family, batch, poolings)
        return {pooling: pooled_BD.cpu().numpy() for pooling, pooled_BD in pooled.items()}

    for indices, pooled in run_in_batches([len(row) for row in ids], adaptive_size, work):
        for pooling, pooled_BD in pooled.items():
            if pooling not in features:
                features[pooling] = np.empty((len(ids), pooled_BD.shape[1]), dtype=np.float32)
            features[pooling][indices] = pooled_BD
    return features


def pooled_states(
    model: nn.Module, family: Family, batch: dict[str, torch.Tensor], poolings: Sequence[str]
) -> dict[str, torch.Tensor]:
    """One float32 tensor [B, D] per pooling, on the device."""
    with torch.inference_mode():
        hidden_BTD = base_states(model, family, batch)
        mask_BT = batch["attention_mask"]
        return {pooling: pool(hidden_BTD, mask_BT, pooling).float() for pooling in poolings}
