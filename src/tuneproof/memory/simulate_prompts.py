"""One batch of prompts as `predict/` carries it out, on fake tensors.

In: a model, the shape of the batch. Out: nothing; what is alive is counted while it runs.
Knows nothing of: data, methods, what a forecast is.

Of long prompts the first piece and the last are read (the last two where rows are read alone), the keys
and values between them are put in place: they alone grow.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.prefix_trie import even_turns, make_packs
from tuneproof.inference.label_likelihood import Asked, asked_logs, most_logits
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.lm_logits import (
    columns,
    new_cache,
    pieces_of,
    read_ahead,
    read_piece,
    token_logs,
    words_logits,
)
from tuneproof.models.prefix_cache import Packed, Start, shares_prefixes, started


@dataclass(frozen=True)
class Asking:
    """A batch of prompts: items, tokens of the longest with its answer, tokens that all begin with.

    ways: labels that each is scored with; tail: tokens of the longest one, or of a written answer.
    """

    items: int
    length: int
    start: int
    ways: int
    tail: int
    generates: bool


def inputs(rows: int, length: int) -> dict[str, torch.Tensor]:
    """A batch without padding."""
    ids_BT = torch.ones(rows, length, dtype=torch.long)
    return {
        "input_ids": ids_BT,
        "attention_mask": torch.ones_like(ids_BT),
        "position_ids": torch.ones_like(ids_BT),
    }


def play_prompts(model: Any, asking: Asking, live: LiveMemory) -> None:
    """One batch: rows that share the start alone, which is the most that they can take.

    Rows that begin alike beyond it (questions on one text) take less.
    """
    with torch.inference_mode():
        if not shares_prefixes(model):
            _play_apart(model, asking, live)
        elif asking.generates:
            _play_writing(model, asking, live)
        else:
            _play_scoring(model, asking, live)


def _play_scoring(model: Any, asking: Asking, live: LiveMemory) -> None:
    ways, tail = (asking.ways, asking.tail - 1) if asking.tail > 1 else (1, 0)
    places = 1 + ways * tail
    items = max(1, min(asking.items, most_logits(model) // places))
    start = _start(model, asking, live)
    size = asking.length - 1 - asking.start
    packs = make_packs(_rows(items, max(size, tail + 1), ways, tail))
    packed = Packed(model, packs, 0, "cpu", start)
    at = np.arange(items * places) * len(packs) // (items * places)
    logits_SV = _read_far(packed, at, live)
    asked = torch.zeros(items * asking.ways * asking.tail, dtype=torch.long)
    token_logs(logits_SV, asked, asked)


def _play_writing(model: Any, asking: Asking, live: LiveMemory) -> None:
    """Up to the first token that is written."""
    start = _start(model, asking, live)
    rows = _rows(asking.items, max(1, asking.length - asking.start), 1, 0)
    packs = even_turns(make_packs(rows))[0]
    most = len(packs[0].rows_R)
    packed = Packed(model, packs, 0, "cpu", start, more=asking.tail * most)
    at = np.repeat(np.arange(len(packs)), [len(pack.rows_R) for pack in packs])
    _read_far(packed, at, live).argmax(-1)
    rows_BQ = np.zeros((len(packs), most), dtype=np.int64)
    packed.add(rows_BQ, rows_BQ, rows_BQ, np.arange(rows_BQ.size)).argmax(-1)


def _start(model: Any, asking: Asking, live: LiveMemory) -> Start | None:
    if asking.start < 1:
        return None
    ids = np.zeros(asking.start, dtype=np.int64)
    packed = Packed(model, make_packs([ids]), 0, "cpu", keeps=True)
    _read_far(packed, None, live)
    return started(packed, ids)


def _rows(items: int, length: int, ways: int, tail: int) -> list[NDArray[np.int64]]:
    """Token ids of rows of which each item's begin unlike the others', and its ways go on unlike."""
    return [
        np.concatenate([np.full(length - tail, item), np.full(tail, way)])
        for item in range(items)
        for way in range(ways)
    ]


def _read_far(packed: Packed, at: NDArray[np.int64] | None, live: LiveMemory) -> Any:
    """Read the first piece and the last one; logits there, one for each of the packs `at`."""
    for layer in packed.layers:
        layer.place = _as_cache(layer.place, live)  # type: ignore[method-assign]
    pieces = packed.pieces
    if len(pieces) > 1:
        packed.read(*pieces[0])
        for layer in packed.layers:
            layer.length = packed.before + pieces[-1][0]
    first, last = pieces[-1]
    if at is None:
        return packed.read(first, last)
    return packed.logits(first, last, torch.tensor(at * (last - first)))


def _as_cache(plain: Any, live: LiveMemory) -> Any:
    """The same function, whose new tensors count as keys and values."""

    def counted(*given: Any, **named: Any) -> Any:
        with live.part("cache"):
            return plain(*given, **named)

    return counted


def _play_apart(model: Any, asking: Asking, live: LiveMemory) -> None:
    """Rows of their own keys and values, one for each way to a label's last token."""
    keep = 1 if asking.generates else asking.tail
    batch = inputs(asking.items, asking.length)
    rest, cache = _read_far_apart(model, batch, keep, live)
    if asking.generates:
        words_logits(model, rest, 1, torch.zeros(asking.items, dtype=torch.long), cache).float()
        return
    asked = torch.zeros(asking.items * keep, dtype=torch.long)
    tokens_K = torch.zeros(asking.items * asking.ways, dtype=torch.long)
    asked_logs(model, rest, Asked(keep, asked, tokens_K, tokens_K), cache)


def _read_far_apart(
    model: Any, batch: dict[str, torch.Tensor], tail: int, live: LiveMemory
) -> tuple[dict[str, torch.Tensor], Any]:
    """As `read_ahead` leaves a batch, after reading its first piece and the last one before the rest."""
    pieces = pieces_of(model, batch["input_ids"].shape[1], tail)
    cache = new_cache(model)
    cache.update = _as_cache(cache.update, live)
    if len(pieces) < 4:
        return read_ahead(model, batch, tail, cache)
    read_piece(model, columns(batch, *pieces[0]), cache)
    missing = pieces[-2][0] - pieces[0][1]
    for place, layer in enumerate(cache.layers):
        rows, heads, _, width = layer.keys.shape
        between = layer.keys.new_zeros((rows, heads, missing, width))
        cache.update(between, between.clone(), place)
        del between
    live.forget_peak()
    read_piece(model, columns(batch, *pieces[-2]), cache)
    return columns(batch, *pieces[-1]), cache
