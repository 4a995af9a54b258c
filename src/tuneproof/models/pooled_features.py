"""Features of a frozen base: one pass, pooled, kept on disk by content.

In: a base model and token ids. Out: float32 arrays, one a pooling.
Knows nothing of: labels, heads, tasks.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneproof.atomic import MANIFEST, check_folder, whole_folder
from tuneproof.data.tokens import pad_batch
from tuneproof.errors import RunError
from tuneproof.families.family import Family
from tuneproof.models.device import on_device
from tuneproof.models.heads import base_states
from tuneproof.models.oom import AtOnce, in_batches

Features = dict[str, NDArray[np.float32]]


def pool(hidden_BTD: torch.Tensor, mask_BT: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector an item from real tokens alone, under either padding side.

    first, last: the first and the last real token's state; mean: the mean over real tokens.
    """
    rows_B = torch.arange(len(mask_BT), device=hidden_BTD.device)
    if pooling == "mean":
        weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTD.dtype)
        return (hidden_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)
    if pooling == "first":
        return hidden_BTD[rows_B, mask_BT.argmax(1)]
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return hidden_BTD[rows_B, (mask_BT * places_T).argmax(1)]


def features_key(fingerprint: str, ids: Sequence[Any], poolings: Sequence[str], precision: str) -> str:
    """A name that changes with the model, any token, the poolings or the precision."""
    digest = hashlib.sha256(f"{fingerprint}|{','.join(poolings)}|{precision}".encode())
    for row in ids:
        digest.update(np.asarray(row, dtype=np.int64).tobytes())
        digest.update(b"|")
    return digest.hexdigest()[:32]


def cached_features(folder: Path) -> Features | None:
    """Features written before, checked against their manifest; None where there are none."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        check_folder(folder)
    except RunError:
        return None  # damaged: computed again, and replaced
    return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}


def keep_features(folder: Path, features: Features) -> None:
    """Write them complete or not at all."""
    with whole_folder(folder) as inside:
        for name, values in features.items():
            np.save(inside / f"{name}.npy", values)


def pooled_features(
    model: nn.Module,
    family: Family,
    ids: Sequence[Any],
    pad_id: int,
    poolings: Sequence[str],
    at_once: AtOnce,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    into: Features,
) -> Iterator[int]:
    """Fill `into` with N × D arrays, one a pooling; yields the items done after every batch."""
    model.eval()

    def work(chosen: Any) -> Features:
        padded = pad_batch([ids[i] for i in chosen], pad_id, "right")
        sent = on_device(padded, device)
        with autocast():
            found = pooled_states(model, family, sent, poolings)
        return {pooling: pooled_BD.cpu().numpy() for pooling, pooled_BD in found.items()}

    for chosen, found in in_batches([len(row) for row in ids], at_once, work):
        for pooling, values in found.items():
            if pooling not in into:
                into[pooling] = np.empty((len(ids), values.shape[1]), dtype=np.float32)
            into[pooling][chosen] = values
        yield len(chosen)


def pooled_states(
    model: nn.Module, family: Family, batch: dict[str, torch.Tensor], poolings: Sequence[str]
) -> dict[str, torch.Tensor]:
    """One float32 tensor [B, D] a pooling, on the device."""
    with torch.inference_mode():
        hidden_BTD = base_states(model, family, batch)
        mask_BT = batch["attention_mask"]
        return {pooling: pool(hidden_BTD, mask_BT, pooling).float() for pooling in poolings}
