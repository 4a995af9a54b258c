"""The language-model head at chosen positions alone, and long prompts read piece by piece.

In: a decoder, a left-padded batch, positions. Out: logits there, log-likelihoods of tokens.
Knows nothing of: labels, losses, prompts' words.
"""

from typing import Any

import torch

from tuneproof.models.heads import inner_model, model_inputs, takes

MOST_TOKENS = 512  # of a row that are read at once
LEAST_TOKENS = 32
PAIRS = 2**18  # of a row's tokens that look at each other at once: bounds attention's scores
LOGITS_AT_ONCE = 2**22  # in float32, 16 MiB


def words_logits(
    model: Any, batch: dict[str, torch.Tensor], keep: int, places_S: torch.Tensor, cache: Any = None
) -> torch.Tensor:
    """Logits [S, V] at S positions; the vocabulary's logits exist nowhere else.

    places_S count through the last `keep` positions of every row, row by row (row · keep + position).
    cache: the keys and values of the tokens that `batch` no longer holds, see `read_ahead`.
    """
    inner = inner_model(model)
    extra: dict[str, Any] = {}
    if takes(inner, "use_cache"):
        extra["use_cache"] = cache is not None
    if takes(inner, "logits_to_keep"):
        extra["logits_to_keep"] = keep
    if cache is not None:
        extra["past_key_values"] = cache

    def chosen(states: torch.Tensor) -> torch.Tensor:
        return states[:, -keep:].flatten(0, 1)[places_S][None]

    head = inner.get_output_embeddings()
    if head is None:
        return chosen(model(**model_inputs(inner, batch), **extra).logits)[0]
    hook = head.register_forward_pre_hook(lambda module, inputs: (chosen(inputs[0]),))
    try:
        return model(**model_inputs(inner, batch), **extra).logits[0]
    finally:
        hook.remove()


def read_ahead(
    model: Any, batch: dict[str, torch.Tensor], tail: int, cache: Any = None
) -> tuple[dict[str, torch.Tensor], Any]:
    """What is left of a long batch, at least its last `tail` tokens, and the cache of what was read.

    Tokens are read in pieces, so that beside the keys and values nothing grows with the length;
    layers with a sliding window keep those of their window alone. A short batch comes back whole,
    without a cache. `cache`: an empty one to fill.
    """
    length = batch["input_ids"].shape[1]
    pieces = pieces_of(model, length, tail)
    if len(pieces) < 2:
        return batch, None
    cache = new_cache(model) if cache is None else cache
    for start, end in pieces[:-1]:
        read_piece(model, columns(batch, start, end), cache)
    return columns(batch, *pieces[-1]), cache


def pieces_of(model: Any, length: int, tail: int) -> list[tuple[int, int]]:
    """Where the pieces of a row of `length` tokens begin and end; the last holds `tail` at least."""
    inner = inner_model(model)
    cached = takes(inner, "past_key_values") and takes(inner, "use_cache")
    if length <= MOST_TOKENS or not cached:
        return [(0, length)]
    size = max(LEAST_TOKENS, min(MOST_TOKENS, PAIRS // length))
    last = length - max(tail, length % size or size)
    starts = range(0, last, size)
    return [*((start, min(start + size, last)) for start in starts), (last, length)]


def read_piece(model: Any, part: dict[str, torch.Tensor], cache: Any) -> None:
    """Keys and values of one piece, into the cache; no logits."""
    base = inner_model(model).base_model
    base(**model_inputs(base, part), past_key_values=cache, use_cache=True)


def new_cache(model: Any) -> Any:
    """An empty cache with each layer's kind: all positions, or the last ones of a window."""
    from transformers import DynamicCache

    return DynamicCache(config=inner_model(model).config)


def columns(batch: dict[str, torch.Tensor], start: int, end: int) -> dict[str, torch.Tensor]:
    """Some columns of the batch; the mask reaches back to the first token."""
    return {
        name: values[:, :end] if name == "attention_mask" else values[:, start:end]
        for name, values in batch.items()
    }


def log_totals(logits_SV: torch.Tensor) -> torch.Tensor:
    """Log of the summed exponentials [S] in float32, without a float32 copy of all logits."""
    rows = max(1, LOGITS_AT_ONCE // logits_SV.shape[-1])
    return torch.cat([part.float().logsumexp(-1) for part in logits_SV.split(rows)])


def token_logs(logits_SV: torch.Tensor, rows_K: torch.Tensor, tokens_K: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [K] (natural log, float32) of K tokens, each at a row of the logits."""
    return logits_SV[rows_K, tokens_K].float() - log_totals(logits_SV)[rows_K]
