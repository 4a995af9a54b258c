"""Tokens that several rows begin with, read once: packs of rows, and what all rows begin with.

In: a decoder, packs. Out: keys and values, logits, log-likelihoods of tokens.
Knows nothing of: labels, prompts' words, which rows go together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.prefix_trie import Pack, common_start, make_packs
from tuneproof.models.device import on_device
from tuneproof.models.heads import inner_model, takes
from tuneproof.models.lm_logits import (
    LEAST_TOKENS,
    MOST_TOKENS,
    PAIRS,
    new_cache,
    read_piece,
    token_logs,
    words_logits,
)
from tuneproof.models.oom import give_back, tried

IntArray = NDArray[np.int64]

FULL, SLIDING = "full_attention", "sliding_attention"  # kinds of layers, as transformers calls them
LEAST_SAVED = 256  # tokens that are not read again, for which a pass of their own is worth it
MOST_LOGITS = 2**25  # that are asked for at once, in float32 128 MiB


def shares_prefixes(model: Any) -> bool:
    """Whether a token of this model sees just what a mask shows it, at the position that it is told.

    Else a row must be read alone: where positions follow from the place in the batch (ALiBi), or layers
    keep another state than keys and values.
    """
    inner = inner_model(model)
    needed = ("past_key_values", "use_cache", "position_ids", "attention_mask")
    if not all(takes(inner, name) for name in needed):
        return False
    config = inner.config.get_text_config()
    by_mask = getattr(inner, "_supports_attention_backend", False)
    if not by_mask or config._attn_implementation not in ("sdpa", "eager"):
        return False
    odd = ("attention_chunk_size", "use_bidirectional_attention")
    kinds = set(getattr(config, "layer_types", None) or ())
    if any(getattr(config, name, None) for name in odd) or not kinds <= {FULL, SLIDING}:
        return False
    layers = new_cache(model).layers
    names = {type(layer).__name__ for layer in layers}
    return names <= {"DynamicLayer", "DynamicSlidingWindowLayer"} and len(_windows(layers)) < 3


def _windows(layers: Sequence[Any]) -> set[int | None]:
    return {getattr(layer, "sliding_window", None) for layer in layers}


@dataclass(frozen=True)
class Start:
    """What all rows begin with: its tokens, and each layer's keys and values [1, heads, tokens, width]."""

    ids: IntArray
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def __len__(self) -> int:
        """Its tokens."""
        return len(self.ids)


class _Layer:
    """Keys and values of one layer, in a place of the size that they will have.

    `keeps`: they are needed again; else each layer's are gone when the next one has its own.
    """

    is_sliding = is_compileable = is_croppable = False

    def __init__(self, start: tuple[torch.Tensor, torch.Tensor] | None, room: int, keeps: bool):
        self.start, self.keeps = start, keeps
        self.length = 0 if start is None else start[0].shape[2]
        self.room = self.length + room
        self.held: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, ...]:
        """All keys and values so far, the new ones among them."""
        if not self.keeps:
            if self.start is None:
                return keys, values
            pairs = zip(self.start, (keys, values), strict=True)
            return tuple(torch.cat([s.expand(len(n), -1, -1, -1), n], 2) for s, n in pairs)
        if self.held is None:
            self.held = tuple(self.place(new) for new in (keys, values))  # type: ignore[assignment]
            if self.start is not None:
                for held, start in zip(self.held, self.start, strict=True):  # type: ignore[arg-type]
                    held[:, :, : self.length] = start
        assert self.held is not None
        before, self.length = self.length, self.length + keys.shape[2]
        for held, new in zip(self.held, (keys, values), strict=True):
            held[:, :, before : self.length] = new
        return tuple(held[:, :, : self.length] for held in self.held)

    def place(self, new: torch.Tensor) -> torch.Tensor:
        """Room for all keys, or values, that there will be."""
        rows, heads, _, width = new.shape
        return new.new_empty((rows, heads, self.room, width))

    def get_seq_length(self) -> int:
        """Columns that are there."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that a piece sees, and the first one's place."""
        return self.length + query_length, 0


class Packed:
    """A batch of B packs on the device: their tokens, what each may look at, keys and values so far.

    The packs follow on `start`. more: columns that will be added to each. keeps: whether keys and values
    stay after the last of the packs' tokens was read.

    A window is counted in positions of the row; the layers that have one keep all keys here, beyond it
    too, since a pack's columns are not its rows' positions.
    """

    def __init__(
        self,
        model: Any,
        packs: Sequence[Pack],
        pad_id: int,
        device: str | torch.device,
        start: Start | None = None,
        more: int = 0,
        keeps: bool = False,
    ) -> None:
        from transformers import Cache

        self.model, self.device = model, device
        self.before = 0 if start is None else len(start)
        self.width = max(len(pack.ids_K) for pack in packs)
        self.rows = sum(len(pack.rows_R) for pack in packs)
        rows = max(len(pack.rows_R) for pack in packs)
        shape = (len(packs), self.width + more)
        ids_BK = np.full((len(packs), self.width), pad_id)
        owner_BK = np.zeros((len(packs), self.width), dtype=np.int64)
        positions_BK = np.zeros(shape, dtype=np.int64)
        sees_BRK = np.zeros((len(packs), rows, shape[1]), dtype=bool)
        for at, pack in enumerate(packs):
            size = len(pack.ids_K)
            ids_BK[at, :size] = pack.ids_K
            owner_BK[at, :size] = pack.owner_K
            positions_BK[at, :size] = self.before + pack.positions_K
            for row, columns in enumerate(pack.columns):
                sees_BRK[at, row, columns] = True
        self.longest = int(positions_BK.max()) + 1 + more
        self.ids_BK, self.owner_BK, self.positions_BK, self.sees_BRK = (
            on_device(torch.tensor(array), device) for array in (ids_BK, owner_BK, positions_BK, sees_BRK)
        )
        layers = new_cache(model).layers
        self.windows = _windows(layers)
        keeps = keeps or more > 0 or len(self.pieces) > 1
        begun = [None] * len(layers) if start is None else start.layers
        self.layers = [_Layer(pair, shape[1], keeps) for pair in begun]
        self.cache = Cache(layers=self.layers)  # type: ignore[arg-type]
        self.length = 0

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Where the pieces begin and end in which the packs are read: of one size, see `read_ahead`."""
        pairs = PAIRS * self.rows // len(self.ids_BK)
        size = max(LEAST_TOKENS, min(MOST_TOKENS, pairs // (self.before + self.width)))
        size = -(-self.width // -(-self.width // size))
        return [(at, min(at + size, self.width)) for at in range(0, self.width, size)]

    def piece(self, first: int, last: int) -> dict[str, Any]:
        """What the model takes to read columns of the packs."""
        return {
            "input_ids": self.ids_BK[:, first:last],
            "position_ids": self.positions_BK[:, first:last],
            "attention_mask": self._mask(self.owner_BK[:, first:last], first),
        }

    def _mask(self, owner_BQ: torch.Tensor, first: int) -> Any:
        """What the columns from `first` on may look at: all of the start, and their row up to them."""
        packs, queries = owner_BQ.shape
        last = first + queries
        at_B = torch.arange(packs, device=self.device)[:, None]
        at_Q = torch.arange(first, last, device=self.device)[:, None]
        sees_BQK = self.sees_BRK[at_B, owner_BQ, :last]
        sees_BQK &= torch.arange(last, device=self.device) <= at_Q
        shown = sees_BQK.new_ones((packs, queries, self.before))
        sees_BQK = torch.cat([shown, sees_BQK], dim=2)
        window = max((w for w in self.windows if w is not None), default=None)
        if window is None or self.longest <= window:
            return self._as_taken(sees_BQK)
        start_P = torch.arange(self.before, device=self.device).expand(packs, -1)
        places_BK = torch.cat([start_P, self.positions_BK[:, :last]], dim=1)
        ages_BQK = self.positions_BK[:, first:last, None] - places_BK[:, None]
        near = self._as_taken(sees_BQK & (ages_BQK < window))
        if len(self.windows) == 1:
            return near
        return {FULL: self._as_taken(sees_BQK), SLIDING: near}

    def _as_taken(self, sees_BQK: torch.Tensor) -> torch.Tensor:
        """A mask [B, 1, Q, K] in the form that the model's attention takes."""
        inner = inner_model(self.model)
        if inner.config.get_text_config()._attn_implementation == "sdpa":
            return sees_BQK[:, None]
        hidden = torch.zeros(sees_BQK.shape, dtype=inner.dtype, device=self.device)
        return hidden.masked_fill_(~sees_BQK, torch.finfo(inner.dtype).min)[:, None]

    def read(self, first: int, last: int) -> None:
        """Keys and values of columns of the packs; no logits."""
        read_piece(self.model, self.piece(first, last), self.cache)
        self.length = last

    def logits(self, first: int, last: int, places_S: torch.Tensor) -> torch.Tensor:
        """The same with logits [S, V] at some places (pack · columns of the piece + column of it)."""
        found = words_logits(self.model, self.piece(first, last), last - first, places_S, self.cache)
        self.length = last
        return found

    def logits_at(self, packs_S: IntArray, columns_S: IntArray) -> torch.Tensor:
        """Logits [S, V] at columns of the packs, all of which are read."""
        parts, order = [], []
        for first, last in self.pieces:
            here = np.flatnonzero((columns_S >= first) & (columns_S < last))
            if not len(here):
                self.read(first, last)
                continue
            places = packs_S[here] * (last - first) + columns_S[here] - first
            parts.append(self.logits(first, last, torch.tensor(places, device=self.device)))
            order.append(here)
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(order))
        return torch.cat(parts)[torch.tensor(back, device=self.device)]

    def add(
        self, tokens_BQ: IntArray, owner_BQ: IntArray, positions_BQ: IntArray, places_S: IntArray
    ) -> torch.Tensor:
        """Read one more token of some rows; logits [S, V] at them (pack · Q + query).

        Where a pack has fewer of them than another, its first row stands in; nothing sees that column.
        """
        queries = owner_BQ.shape[1]
        first, last = self.length, self.length + queries
        owner = torch.tensor(owner_BQ, device=self.device)
        self.positions_BK[:, first:last] = torch.tensor(positions_BQ, device=self.device)
        packs_S, query_S = np.divmod(places_S, queries)
        at = (packs_S, owner_BQ[packs_S, query_S], first + query_S)
        self.sees_BRK[tuple(torch.tensor(values, device=self.device) for values in at)] = True
        batch = {
            "input_ids": torch.tensor(tokens_BQ, device=self.device),
            "position_ids": self.positions_BK[:, first:last],
            "attention_mask": self._mask(owner, first),
        }
        places = torch.tensor(places_S, device=self.device)
        found = words_logits(self.model, batch, queries, places, self.cache)
        self.length = last
        return found

    def keep_packs(self, packs: IntArray) -> None:
        """Drop the other packs."""
        chosen = torch.tensor(packs, device=self.device)
        self.positions_BK, self.sees_BRK = self.positions_BK[chosen], self.sees_BRK[chosen]
        for layer in self.layers:
            assert layer.held is not None
            layer.held = layer.held[0][chosen], layer.held[1][chosen]


def read_start(model: Any, rows: Sequence[IntArray], device: str | torch.device) -> Start | None:
    """What all rows begin with, read once; None where that is too little to be worth it, or no room."""
    size = common_start(rows)
    if size * len(rows) < LEAST_SAVED:
        return None
    done, start = tried(lambda: _read_start(model, rows[0][:size], device))
    if not done:
        give_back()
    return start


def _read_start(model: Any, ids: IntArray, device: str | torch.device) -> Start:
    with torch.inference_mode():
        packed = Packed(model, make_packs([ids]), 0, device, keeps=True)
        for first, last in packed.pieces:
            packed.read(first, last)
    return started(packed, ids)


def started(packed: Packed, ids: IntArray) -> Start:
    """What was read of one pack of one row, for others to follow on."""
    return Start(ids, tuple(layer.held for layer in packed.layers if layer.held is not None))


def packed_logs(packed: Packed, packs_K: IntArray, columns_K: IntArray, tokens_K: IntArray) -> torch.Tensor:
    """Log-probabilities [K] (natural log, float32) of K tokens, each after a column of a pack."""
    places_S, rows_K = np.unique(packs_K * packed.width + columns_K, return_inverse=True)
    with torch.inference_mode():
        logits_SV = packed.logits_at(places_S // packed.width, places_S % packed.width)
        rows = torch.tensor(rows_K.reshape(-1), device=packed.device)
        return token_logs(logits_SV, rows, torch.tensor(tokens_K, device=packed.device))
