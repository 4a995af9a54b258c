"""The classification layer that a checkpoint brings: its rows mean labels by their names, not by position.

In: a loaded model, the label names of its checkpoint and of the study. Out: rows in the study's order, or a
layer drawn anew; a note. Knows nothing of: files, tasks, methods.

Only the last projection has a row per label. The layers before it name no labels and are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tuneproof.families.family import Family
from tuneproof.models.heads import head_layer, last_linear


def match_old_head(
    model: Any, family: Family, values: Mapping[str, Any], labels: Sequence[str], fresh: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Match the checkpoint's rows to the labels; returns the weights that were drawn anew, and notes.

    values: the checkpoint's config.json. fresh: weights that the checkpoint did not hold.
    """
    layer = last_linear(head_layer(model, family))
    names = {id(weight): name for name, weight in model.named_parameters()}
    own = tuple(names[id(weight)] for weight in layer.parameters())
    if not own or own[0] in fresh:
        return (), ()
    old_labels = _label_names(values, len(labels))
    listed = ", ".join(f"{row} {name}" for row, name in enumerate(old_labels))
    order = _order(old_labels, labels)
    if order is None:
        _draw(model, layer)
        return own, (
            f"Drawn anew: {own[0].rpartition('.')[0]}. The checkpoint's own has rows for other labels "
            f"({listed}); the layers before it are kept.",
        )
    _take_rows(layer, order)
    return (), (
        f"The checkpoint's own classification head is kept, its rows by the labels' names ({listed}).",
    )


def order_rows(model: Any, family: Family, stored: Sequence[str], labels: Sequence[str]) -> None:
    """Put the head's rows, which mean the `stored` labels, into the order of `labels`, the same names."""
    _take_rows(last_linear(head_layer(model, family)), [list(stored).index(label) for label in labels])


def _take_rows(layer: torch.nn.Linear, order: Sequence[int]) -> None:
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(weight[list(order)].clone())


def _label_names(values: Mapping[str, Any], count: int) -> list[str]:
    """The checkpoint's label names by row; as transformers names them where the file does not."""
    names = values.get("id2label")
    by_row = {str(row): str(name) for row, name in names.items()} if isinstance(names, Mapping) else {}
    return [by_row.get(str(row), f"LABEL_{row}") for row in range(count)]


def _order(old_labels: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """The checkpoint's row of each label: of its name, else of its name whatever the case."""
    for fold in (str, str.casefold):
        old, new = [fold(name) for name in old_labels], [fold(name) for name in labels]
        if len(set(old)) == len(old) and sorted(old) == sorted(new):
            return [old.index(name) for name in new]
    return None


def _draw(model: Any, layer: torch.nn.Linear) -> None:
    """Initialise the layer as the model's class does, else with normal weights and no bias."""
    for name, weight in list(layer.named_parameters()):
        setattr(layer, name, torch.nn.Parameter(torch.full_like(weight, torch.nan)))
    model._init_weights(layer)
    if any(weight.isnan().any() for weight in layer.parameters()):
        torch.nn.init.normal_(
            layer.weight, std=float(getattr(model.config, "initializer_range", None) or 0.02)
        )
        if layer.bias is not None:
            torch.nn.init.zeros_(layer.bias)
