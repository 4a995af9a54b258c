"""Shared prefixes computed once: batches of prefix tries, and the prefix that all rows share.

In: a decoder, prefix tries. Out: keys and values, logits, log-likelihoods of tokens.
Knows nothing of: labels, the text of prompts, which rows share a trie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.prefix_trie import PrefixTrie, build_prefix_tries, common_prefix_of_all
from tuneproof.models.device import to_device
from tuneproof.models.heads import accepts_argument, inner_model
from tuneproof.models.lm_logits import (
    MAX_ATTENTION_PAIRS,
    MAX_PIECE_TOKENS,
    MIN_PIECE_TOKENS,
    lm_head_logits,
    new_cache,
    prefill_piece,
    token_log_probs,
)
from tuneproof.models.oom import release_memory, run_or_oom
from tuneproof.models.unpadded import uses_sdpa

IntArray = NDArray[np.int64]

FULL_ATTENTION, SLIDING_ATTENTION = "full_attention", "sliding_attention"  # transformers' layer types
MIN_TOKENS_SAVED = 256  # below, the shared prefix is not worth a pass of its own
MAX_LOGITS = 2**25  # at once, 128 MiB in float32


def shares_prefixes(model: Any) -> bool:
    """Whether this model follows the mask and the positions that it is given.

    Otherwise (ALiBi, layers with a state other than keys and values) each row needs a pass of its own.
    """
    inner = inner_model(model)
    arguments = ("past_key_values", "use_cache", "position_ids", "attention_mask")
    if not all(accepts_argument(inner, name) for name in arguments):
        return False
    config = inner.config.get_text_config()
    follows_mask = getattr(inner, "_supports_attention_backend", False)
    if not follows_mask or not (uses_sdpa(config) or config._attn_implementation == "eager"):
        return False
    other_masks = ("attention_chunk_size", "use_bidirectional_attention")
    has_other_mask = any(getattr(config, name, None) for name in other_masks)
    kinds = set(getattr(config, "layer_types", None) or ())
    return not has_other_mask and kinds <= {FULL_ATTENTION, SLIDING_ATTENTION} and _has_plain_cache(model)


def _has_plain_cache(model: Any) -> bool:
    """Whether all layers keep keys and values, within one window at most."""
    layers = new_cache(model).layers
    kinds = {type(layer).__name__ for layer in layers}
    return kinds <= {"DynamicLayer", "DynamicSlidingWindowLayer"} and len(_windows(layers)) < 3


def _windows(layers: Sequence[Any]) -> set[int | None]:
    return {getattr(layer, "sliding_window", None) for layer in layers}


@dataclass(frozen=True)
class SharedPrefix:
    """The tokens that all rows begin with, and each layer's keys and values [1, heads, tokens, width]."""

    ids: IntArray
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def __len__(self) -> int:
        """The number of its tokens."""
        return len(self.ids)


class _LayerCache:
    """Keys and values of one layer, allocated once in their final size.

    keep: they are needed again; otherwise each layer's are freed as soon as the next layer has its own.
    """

    is_sliding = is_compileable = is_croppable = False

    def __init__(self, prefix: tuple[torch.Tensor, torch.Tensor] | None, columns: int, keep: bool):
        self.prefix, self.keep = prefix, keep
        self.length = 0 if prefix is None else prefix[0].shape[2]
        self.capacity = self.length + columns
        self.pair: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, ...]:
        """Add keys and values; returns all of them so far."""
        if not self.keep:
            if self.prefix is None:
                return keys, values
            pairs = zip(self.prefix, (keys, values), strict=True)
            return tuple(torch.cat([s.expand(len(n), -1, -1, -1), n], 2) for s, n in pairs)
        if self.pair is None:
            self.pair = self.allocate(keys), self.allocate(values)
            if self.prefix is not None:
                for buffer, prefix in zip(self.pair, self.prefix, strict=True):
                    buffer[:, :, : self.length] = prefix
        before, self.length = self.length, self.length + keys.shape[2]
        for buffer, new in zip(self.pair, (keys, values), strict=True):
            buffer[:, :, before : self.length] = new
        return tuple(buffer[:, :, : self.length] for buffer in self.pair)

    def allocate(self, new: torch.Tensor) -> torch.Tensor:
        """An empty buffer for all keys, or values, in their final size."""
        rows, heads, _, width = new.shape
        return new.new_empty((rows, heads, self.capacity, width))

    def get_seq_length(self) -> int:
        """The number of columns so far."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The number of columns that a piece attends to, and the first one's index."""
        return self.length + query_length, 0


class PrefixTrieBatch:
    """B prefix tries on the device: their tokens, attention masks, and keys and values so far.

    shared: the prefix that comes before every trie. extra_columns: columns to be appended to each.
    keep_cache: whether keys and values stay after the last of the tries' tokens.

    Sliding windows are counted in positions of the row. Layers that have one keep all keys here, beyond
    the window too, since a trie's columns are not its rows' positions.
    """

    def __init__(
        self,
        model: Any,
        tries: Sequence[PrefixTrie],
        pad_id: int,
        device: str | torch.device,
        shared: SharedPrefix | None = None,
        extra_columns: int = 0,
        keep_cache: bool = False,
    ) -> None:
        from transformers import Cache
        from transformers.cache_utils import CacheLayerMixin

        CacheLayerMixin.register(_LayerCache)  # OPT asks the cache for its length, which asks for this class
        self.model, self.device = model, device
        self.shared_length = 0 if shared is None else len(shared)
        self.width = max(len(trie.ids_K) for trie in tries)
        self.rows = sum(len(trie.rows_R) for trie in tries)
        self._lay_out(tries, pad_id, self.width + extra_columns)
        layers = new_cache(model).layers
        self.windows = _windows(layers)
        keep = keep_cache or extra_columns > 0 or len(self.pieces) > 1
        prefixes = [None] * len(layers) if shared is None else shared.layers
        self.layers = [_LayerCache(prefix, self.width + extra_columns, keep) for prefix in prefixes]
        self.cache = Cache(layers=self.layers)  # type: ignore[arg-type]
        self.length = 0

    def _lay_out(self, tries: Sequence[PrefixTrie], pad_id: int, columns: int) -> None:
        """Tokens, owners, positions and each row's visible columns, padded to one width."""
        rows = max(len(trie.rows_R) for trie in tries)
        ids_BK = np.full((len(tries), self.width), pad_id)
        owner_BK = np.zeros((len(tries), self.width), dtype=np.int64)
        positions_BK = np.zeros((len(tries), columns), dtype=np.int64)
        visible_BRK = np.zeros((len(tries), rows, columns), dtype=bool)
        for index, trie in enumerate(tries):
            size = len(trie.ids_K)
            ids_BK[index, :size] = trie.ids_K
            owner_BK[index, :size] = trie.owner_K
            positions_BK[index, :size] = self.shared_length + trie.positions_K
            for row, row_columns in enumerate(trie.columns):
                visible_BRK[index, row, row_columns] = True
        self.longest = int(positions_BK.max()) + 1 + columns - self.width
        self.ids_BK, self.owner_BK, self.positions_BK, self.visible_BRK = (
            to_device(torch.tensor(array), self.device)
            for array in (ids_BK, owner_BK, positions_BK, visible_BRK)
        )

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """(first, last) columns of the equal pieces in which the tries are prefilled, see `prefill`."""
        pairs = MAX_ATTENTION_PAIRS * self.rows // len(self.ids_BK)
        columns = pairs // (self.shared_length + self.width)
        size = max(MIN_PIECE_TOKENS, min(MAX_PIECE_TOKENS, columns))
        size = -(-self.width // -(-self.width // size))
        return [(first, min(first + size, self.width)) for first in range(0, self.width, size)]

    def piece(self, first: int, last: int) -> dict[str, Any]:
        """The model's inputs for some columns of the tries."""
        return {
            "input_ids": self.ids_BK[:, first:last],
            "position_ids": self.positions_BK[:, first:last],
            "attention_mask": self._mask(self.owner_BK[:, first:last], first),
        }

    def _mask(self, owner_BQ: torch.Tensor, first: int) -> Any:
        """What the columns from `first` on attend to: the shared prefix, and their row up to them."""
        tries, queries = owner_BQ.shape
        last = first + queries
        trie_B1 = torch.arange(tries, device=self.device)[:, None]
        column_Q1 = torch.arange(first, last, device=self.device)[:, None]
        visible_BQK = self.visible_BRK[trie_B1, owner_BQ, :last]
        visible_BQK &= torch.arange(last, device=self.device) <= column_Q1
        prefix_BQP = visible_BQK.new_ones((tries, queries, self.shared_length))
        visible_BQK = torch.cat([prefix_BQP, visible_BQK], dim=2)
        window = max((w for w in self.windows if w is not None), default=None)
        if window is None or self.longest <= window:
            return self._attention_mask(visible_BQK)
        prefix_BP = torch.arange(self.shared_length, device=self.device).expand(tries, -1)
        positions_BK = torch.cat([prefix_BP, self.positions_BK[:, :last]], dim=1)
        distances_BQK = self.positions_BK[:, first:last, None] - positions_BK[:, None]
        sliding = self._attention_mask(visible_BQK & (distances_BQK < window))
        if len(self.windows) == 1:
            return sliding
        return {FULL_ATTENTION: self._attention_mask(visible_BQK), SLIDING_ATTENTION: sliding}

    def _attention_mask(self, visible_BQK: torch.Tensor) -> torch.Tensor:
        """A mask [B, 1, Q, K] in the form that the model's attention expects."""
        inner = inner_model(self.model)
        if uses_sdpa(inner.config.get_text_config()):
            return visible_BQK[:, None]
        mask_BQK = torch.zeros(visible_BQK.shape, dtype=inner.dtype, device=self.device)
        return mask_BQK.masked_fill_(~visible_BQK, torch.finfo(inner.dtype).min)[:, None]

    def prefill(self, first: int, last: int) -> None:
        """Compute keys and values of some columns of the tries; no logits."""
        prefill_piece(self.model, self.piece(first, last), self.cache)
        self.length = last

    def logits(self, first: int, last: int, positions_S: torch.Tensor) -> torch.Tensor:
        """As `prefill`, with logits [S, V] at some positions (trie · columns of the piece + its column)."""
        piece = self.piece(first, last)
        logits_SV = lm_head_logits(self.model, piece, last - first, positions_S, self.cache)
        self.length = last
        return logits_SV

    def logits_at(self, tries_S: IntArray, columns_S: IntArray) -> torch.Tensor:
        """Read the tries; logits [S, V] at some of their columns."""
        parts, order = [], []
        for first, last in self.pieces:
            in_piece = np.flatnonzero((columns_S >= first) & (columns_S < last))
            if not len(in_piece):
                self.prefill(first, last)
                continue
            positions = tries_S[in_piece] * (last - first) + columns_S[in_piece] - first
            parts.append(self.logits(first, last, torch.tensor(positions, device=self.device)))
            order.append(in_piece)
        if len(parts) == 1:
            return parts[0]
        inverse = np.argsort(np.concatenate(order))
        return torch.cat(parts)[torch.tensor(inverse, device=self.device)]

    def append_tokens(
        self, tokens_BQ: IntArray, owner_BQ: IntArray, positions_BQ: IntArray, positions_S: IntArray
    ) -> torch.Tensor:
        """Append one token to some rows; logits [S, V] there (positions_S: trie · Q + query).

        Where a trie has fewer such rows than another, its first row stands in, unseen by any token.
        """
        queries = owner_BQ.shape[1]
        first, last = self.length, self.length + queries
        owner = torch.tensor(owner_BQ, device=self.device)
        self.positions_BK[:, first:last] = torch.tensor(positions_BQ, device=self.device)
        tries_S, query_S = np.divmod(positions_S, queries)
        index = (tries_S, owner_BQ[tries_S, query_S], first + query_S)
        self.visible_BRK[tuple(torch.tensor(values, device=self.device) for values in index)] = True
        ids, mask = torch.tensor(tokens_BQ, device=self.device), self._mask(owner, first)
        batch = {"input_ids": ids, "position_ids": self.positions_BK[:, first:last], "attention_mask": mask}
        positions = torch.tensor(positions_S, device=self.device)
        logits_SV = lm_head_logits(self.model, batch, queries, positions, self.cache)
        self.length = last
        return logits_SV

    def select_tries(self, tries: IntArray) -> None:
        """Keep these tries and drop the others."""
        index = torch.tensor(tries, device=self.device)
        self.positions_BK, self.visible_BRK = self.positions_BK[index], self.visible_BRK[index]
        for layer in self.layers:
            assert layer.pair is not None
            layer.pair = layer.pair[0][index], layer.pair[1][index]


def read_shared_prefix(
    model: Any, rows: Sequence[IntArray], device: str | torch.device
) -> SharedPrefix | None:
    """Read what all rows begin with; None where that is too short to be worth it, or memory runs out."""
    size = common_prefix_of_all(rows)
    if size * len(rows) < MIN_TOKENS_SAVED:
        return None
    fits, shared = run_or_oom(lambda: _read_shared_prefix(model, rows[0][:size], device))
    if not fits:
        release_memory()
    return shared


def _read_shared_prefix(model: Any, ids: IntArray, device: str | torch.device) -> SharedPrefix:
    with torch.inference_mode():
        batch = PrefixTrieBatch(model, build_prefix_tries([ids]), 0, device, keep_cache=True)
        for first, last in batch.pieces:
            batch.prefill(first, last)
    return as_shared_prefix(batch, ids)


def as_shared_prefix(batch: PrefixTrieBatch, ids: IntArray) -> SharedPrefix:
    """The keys and values of a batch of one row, for other batches to follow on."""
    return SharedPrefix(ids, tuple(layer.pair for layer in batch.layers if layer.pair is not None))


def trie_token_log_probs(
    batch: PrefixTrieBatch, tries_K: IntArray, columns_K: IntArray, tokens_K: IntArray
) -> torch.Tensor:
    """Log-probabilities [K] (natural log, float32) of K tokens, each after a column of a trie."""
    positions_S, rows_K = np.unique(tries_K * batch.width + columns_K, return_inverse=True)
    with torch.inference_mode():
        logits_SV = batch.logits_at(positions_S // batch.width, positions_S % batch.width)
        rows = torch.tensor(rows_K.reshape(-1), device=batch.device)
        return token_log_probs(logits_SV, rows, torch.tensor(tokens_K, device=batch.device))
