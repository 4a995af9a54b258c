"""Logits of a classification head, pooled at each row's last real token.

In: a model (also with adapters), a padded batch. Out: logits.
Knows nothing of: tokens' meanings, labels, losses.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import nn

from tuneproof.errors import ModelError
from tuneproof.families.family import Family
from tuneproof.models.unpadded import skip_padding

T = TypeVar("T")
AS_FORWARD = "as_forward"  # the method of a model that must know of every forward pass; see `fsdp.shard`


def as_forward(model: Any, compute: Callable[[], T]) -> T:
    """The result of `compute`, which calls parts of the model, as if it were the model's own forward.

    A sharded model gathers its weights when it is called itself: its parts would find shards.
    """
    run = getattr(model, AS_FORWARD, None)
    return compute() if run is None else run(compute)


def inner_model(model: Any) -> Any:
    """The transformers model inside PEFT's and DDP's wrappers; adapters in it stay active."""
    while True:
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def accepts_argument(model: Any, name: str) -> bool:
    """Whether the model's forward accepts an argument of this name."""
    forward = model.forward
    return name in _parameters(getattr(forward, "__func__", forward))


@lru_cache(maxsize=64)
def _parameters(forward: Any) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


def last_token_index(attention_mask_BT: torch.Tensor) -> torch.Tensor:
    """Index [B] of each row's last real token, whichever side is padded."""
    positions_T = torch.arange(attention_mask_BT.shape[1], device=attention_mask_BT.device)
    return (attention_mask_BT * positions_T).argmax(dim=1)


def pad_right(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch with every row moved to the left end, so that padding is on the right.

    Encoders pool their first position, and some count positions from there.
    """
    mask_BT = batch["attention_mask"]
    start_B = mask_BT.argmax(dim=1)  # checking that no mask is empty would wait for the device
    positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    order_BT = (positions_T + start_B[:, None]) % mask_BT.shape[1]
    return {name: values.gather(1, order_BT) for name, values in batch.items()}


def model_inputs(model: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of the batch that the model's forward accepts (some have no position_ids)."""
    return {name: values for name, values in batch.items() if accepts_argument(model, name)}


def base_states(model: Any, family: Family, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Last hidden states [B, T, D] of the base model, under either padding side.

    An encoder's rows are moved to the left end (see `pad_right`).
    """
    base = inner_model(model).base_model
    if family.kind == "encoder":
        batch = pad_right(batch)
        with skip_padding(base, batch["attention_mask"]):
            return base(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    extra = {"use_cache": False} if accepts_argument(base, "use_cache") else {}
    with skip_padding(base, batch["attention_mask"]):
        return base(**model_inputs(base, batch), **extra)[0]


def head_layer(model: Any, family: Family) -> Any:
    """The classification layer, by the family's name for it. Raises: ModelError where the model has none."""
    layer = getattr(inner_model(model), family.head, None)
    if layer is None:
        name = type(inner_model(model)).__name__
        raise ModelError(name, f"has no classification layer named {family.head}.")
    return layer


def last_linear(head: Any) -> nn.Linear:
    """The head itself, or the last linear layer inside it (RoBERTa's and ELECTRA's have several)."""
    return [layer for layer in head.modules() if isinstance(layer, nn.Linear)][-1]


def class_logits(model: Any, family: Family, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits [B, C] of the classification head.

    batch: input_ids, attention_mask, position_ids, all [B, T], as `pad_batch` makes them. A decoder
    is pooled at the last token under the attention mask, so neither the pad token's id, even where it
    is the end-of-text token, nor the padding side changes the logits.
    """
    if family.kind == "encoder":
        batch = pad_right(batch)
        with skip_padding(inner_model(model).base_model, batch["attention_mask"]):
            return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return as_forward(model, lambda: _last_token_logits(model, family, batch))


def _last_token_logits(model: Any, family: Family, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    states_BTD = base_states(model, family, batch)
    rows_B = torch.arange(len(states_BTD), device=states_BTD.device)
    states_BD = states_BTD[rows_B, last_token_index(batch["attention_mask"])]
    if family.before_head:
        states_BD = getattr(inner_model(model), family.before_head)(states_BD)
    return head_layer(model, family)(states_BD)
