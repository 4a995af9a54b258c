"""One batch of prompts as the room `inference` computes it, on fake tensors.

In: a model, the shape of the batch. Out: nothing; LiveMemory counts the tensors meanwhile.
Knows nothing of: data, methods, estimates.

Of long prompts it reads only the first and the last piece (the last two, if the rows share no prefix);
the keys and values between them are allocated directly, since nothing else grows with the length.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.prefix_trie import build_prefix_tries, group_tries
from tuneproof.inference.label_likelihood import TokenQuery, max_logit_positions, query_log_probs
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.lm_logits import (
    lm_head_logits,
    new_cache,
    prefill,
    prefill_piece,
    slice_columns,
    split_into_pieces,
    token_log_probs,
)
from tuneproof.models.prefix_cache import PrefixTrieBatch, SharedPrefix, as_shared_prefix, shares_prefixes

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PromptWorkload:
    """A batch of prompts.

    length: tokens of the longest prompt with its answer. shared_tokens: that all prompts begin with.
    labels: that each prompt is scored with. answer_tokens: of the longest label, or of a generated answer.
    """

    items: int
    length: int
    shared_tokens: int
    labels: int
    answer_tokens: int
    generates: bool


def make_inputs(rows: int, length: int) -> dict[str, torch.Tensor]:
    """A batch without padding."""
    ids_BT = torch.ones(rows, length, dtype=torch.long)
    ones = {name: torch.ones_like(ids_BT) for name in ("attention_mask", "position_ids")}
    return {"input_ids": ids_BT, **ones}


def simulate_prompts(model: Any, prompts: PromptWorkload, live: LiveMemory) -> None:
    """One batch in the worst case: its rows share nothing beyond `shared_tokens`."""
    with torch.inference_mode():
        if not shares_prefixes(model):
            _simulate_separate_rows(model, prompts, live)
        elif prompts.generates:
            _simulate_generation(model, prompts, live)
        else:
            _simulate_scoring(model, prompts, live)


def _simulate_scoring(model: Any, prompts: PromptWorkload, live: LiveMemory) -> None:
    labels, tail = (prompts.labels, prompts.answer_tokens - 1) if prompts.answer_tokens > 1 else (1, 0)
    positions = 1 + labels * tail
    items = max(1, min(prompts.items, max_logit_positions(model) // positions))
    shared = _read_shared_prefix(model, prompts, live)
    length = prompts.length - 1 - prompts.shared_tokens
    tries = build_prefix_tries(_make_rows(items, max(length, tail + 1), labels, tail))
    batch = PrefixTrieBatch(model, tries, 0, "cpu", shared)
    tries_S = np.arange(items * positions) * len(tries) // (items * positions)
    logits_SV = _read_first_and_last(batch, tries_S, live)
    rows_K = torch.zeros(items * prompts.labels * prompts.answer_tokens, dtype=torch.long)
    token_log_probs(logits_SV, rows_K, rows_K)


def _simulate_generation(model: Any, prompts: PromptWorkload, live: LiveMemory) -> None:
    """Up to the first generated token."""
    shared = _read_shared_prefix(model, prompts, live)
    rows = _make_rows(prompts.items, max(1, prompts.length - prompts.shared_tokens), 1, 0)
    tries = group_tries(build_prefix_tries(rows))[0]
    queries = len(tries[0].rows_R)
    batch = PrefixTrieBatch(model, tries, 0, "cpu", shared, extra_columns=prompts.answer_tokens * queries)
    tries_S = np.repeat(np.arange(len(tries)), [len(trie.rows_R) for trie in tries])
    _read_first_and_last(batch, tries_S, live).argmax(-1)
    zeros_BQ = np.zeros((len(tries), queries), dtype=np.int64)
    batch.append_tokens(zeros_BQ, zeros_BQ, zeros_BQ, np.arange(zeros_BQ.size)).argmax(-1)


def _read_shared_prefix(model: Any, prompts: PromptWorkload, live: LiveMemory) -> SharedPrefix | None:
    if prompts.shared_tokens < 1:
        return None
    ids = np.zeros(prompts.shared_tokens, dtype=np.int64)
    batch = PrefixTrieBatch(model, build_prefix_tries([ids]), 0, "cpu", keep_cache=True)
    _read_first_and_last(batch, None, live)
    return as_shared_prefix(batch, ids)


def _make_rows(items: int, length: int, labels: int, tail: int) -> list[IntArray]:
    """Token ids of rows without a common prefix, each item with several endings of `tail` tokens."""
    return [
        np.concatenate([np.full(length - tail, item), np.full(tail, label)])
        for item in range(items)
        for label in range(labels)
    ]


def _read_first_and_last(batch: PrefixTrieBatch, tries_S: IntArray | None, live: LiveMemory) -> Any:
    """Read the first and the last piece; logits there, one for each trie in `tries_S`."""
    for layer in batch.layers:
        layer.allocate = _count_as_cache(layer.allocate, live)  # type: ignore[method-assign]
    pieces = batch.pieces
    if len(pieces) > 1:
        batch.prefill(*pieces[0])
        for layer in batch.layers:
            layer.length = batch.shared_length + pieces[-1][0]
    first, last = pieces[-1]
    if tries_S is None:
        return batch.prefill(first, last)
    return batch.logits(first, last, torch.tensor(tries_S * (last - first)))


def _count_as_cache(function: Any, live: LiveMemory) -> Any:
    """The same function, whose new tensors count as keys and values."""

    def counted(*args: Any, **kwargs: Any) -> Any:
        with live.part("cache"):
            return function(*args, **kwargs)

    return counted


def _simulate_separate_rows(model: Any, prompts: PromptWorkload, live: LiveMemory) -> None:
    """Each row has its own keys and values; a label's tokens but the last are part of the row."""
    keep = 1 if prompts.generates else prompts.answer_tokens
    batch = make_inputs(prompts.items, prompts.length)
    rest, cache = _prefill_separate_rows(model, batch, keep, live)
    if prompts.generates:
        lm_head_logits(model, rest, 1, torch.zeros(prompts.items, dtype=torch.long), cache).float()
        return
    positions_S = torch.zeros(prompts.items * keep, dtype=torch.long)
    tokens_K = torch.zeros(prompts.items * prompts.labels, dtype=torch.long)
    query_log_probs(model, rest, TokenQuery(keep, positions_S, tokens_K, tokens_K), cache)


def _prefill_separate_rows(
    model: Any, batch: dict[str, torch.Tensor], tail: int, live: LiveMemory
) -> tuple[dict[str, torch.Tensor], Any]:
    """The result of `prefill`, computed from the first piece and the one before the rest."""
    pieces = split_into_pieces(model, batch["input_ids"].shape[1], tail)
    cache = new_cache(model)
    cache.update = _count_as_cache(cache.update, live)
    if len(pieces) < 4:
        return prefill(model, batch, tail, cache)
    prefill_piece(model, slice_columns(batch, *pieces[0]), cache)
    skipped_tokens = pieces[-2][0] - pieces[0][1]
    for index, layer in enumerate(cache.layers):
        rows, heads, _, width = layer.keys.shape
        skipped = layer.keys.new_zeros((rows, heads, skipped_tokens, width))
        cache.update(skipped, skipped.clone(), index)
        del skipped
    live.reset_peak()
    prefill_piece(model, slice_columns(batch, *pieces[-2]), cache)
    return slice_columns(batch, *pieces[-1]), cache
