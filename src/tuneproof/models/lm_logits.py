"""The language-model head at selected positions only, and long prompts prefilled in pieces.

In: a decoder, a left-padded batch, positions. Out: logits there, log-likelihoods of tokens.
Knows nothing of: labels, losses, the text of prompts.
"""

from contextlib import nullcontext
from typing import Any

import torch

from tuneproof.models.heads import accepts_argument, inner_model, model_inputs
from tuneproof.models.matmul_backend import uses_mkl
from tuneproof.models.unpadded import skip_padding

MAX_PIECE_TOKENS = 512  # tokens of a row in one piece
MIN_PIECE_TOKENS = 32
MAX_ATTENTION_PAIRS = 2**18  # query-key pairs of a row at once: bounds the attention scores
MAX_FLOAT32_LOGITS = 2**22  # 16 MiB
# with fewer rows torch's float32 product over 262,144 words, backward, rounds 15 times as much
MIN_ROWS = 4
# MKL multiplies 6 to 15 rows in up to two and a half times the time of 16
SLOW_ROWS = range(6, 16)


def lm_head_logits(
    model: Any, batch: dict[str, torch.Tensor], keep: int, positions_S: torch.Tensor, cache: Any = None
) -> torch.Tensor:
    """Logits [S, V] at S positions; the vocabulary's logits exist nowhere else.

    positions_S count through the last `keep` positions of every row, row by row (row · keep + position).
    cache: the keys and values of the tokens that `batch` no longer holds, see `prefill`.
    """
    inner = inner_model(model)
    extra: dict[str, Any] = {}
    if accepts_argument(inner, "use_cache"):
        extra["use_cache"] = cache is not None
    if accepts_argument(inner, "logits_to_keep"):
        extra["logits_to_keep"] = keep
    if cache is not None:
        extra["past_key_values"] = cache

    def select(states: torch.Tensor) -> torch.Tensor:
        rows = states[:, -keep:].flatten(0, 1)[positions_S]
        return torch.nn.functional.pad(rows, (0, 0, 0, _rows_to_compute(rows) - len(rows)))[None]

    head = inner.get_output_embeddings()
    skipping = skip_padding(inner.base_model, batch["attention_mask"]) if cache is None else nullcontext()
    if head is None:
        with skipping:
            return select(model(**model_inputs(inner, batch), **extra).logits)[0][: len(positions_S)]
    hook = head.register_forward_pre_hook(lambda module, inputs: (select(inputs[0]),))
    try:
        with skipping:
            return model(**model_inputs(inner, batch), **extra).logits[0][: len(positions_S)]
    finally:
        hook.remove()


def _rows_to_compute(rows: torch.Tensor) -> int:
    """How many rows the head reads where gradients are needed: some numbers round more, or take longer."""
    if not torch.is_grad_enabled():
        return len(rows)
    is_float32 = rows.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if len(rows) in SLOW_ROWS and rows.device.type == "cpu" and is_float32 and uses_mkl():
        return SLOW_ROWS.stop
    return max(len(rows), MIN_ROWS)


def prefill(
    model: Any, batch: dict[str, torch.Tensor], tail: int, cache: Any = None
) -> tuple[dict[str, torch.Tensor], Any]:
    """Read the first part of a long batch; returns the rest, at least `tail` tokens, and the cache.

    Tokens are read in pieces, so that only keys and values grow with the length; layers with a
    sliding window keep those of their window. A short batch comes back unchanged, without a cache.
    cache: an empty one to fill.
    """
    length = batch["input_ids"].shape[1]
    pieces = split_into_pieces(model, length, tail)
    if len(pieces) < 2:
        return batch, None
    cache = new_cache(model) if cache is None else cache
    for start, end in pieces[:-1]:
        prefill_piece(model, slice_columns(batch, start, end), cache)
    return slice_columns(batch, *pieces[-1]), cache


def split_into_pieces(model: Any, length: int, tail: int) -> list[tuple[int, int]]:
    """(start, end) of each piece of a row of `length` tokens; the last holds at least `tail`."""
    inner = inner_model(model)
    has_cache = accepts_argument(inner, "past_key_values") and accepts_argument(inner, "use_cache")
    if length <= MAX_PIECE_TOKENS or not has_cache:
        return [(0, length)]
    size = max(MIN_PIECE_TOKENS, min(MAX_PIECE_TOKENS, MAX_ATTENTION_PAIRS // length))
    last = length - max(tail, length % size or size)
    starts = range(0, last, size)
    return [*((start, min(start + size, last)) for start in starts), (last, length)]


def prefill_piece(model: Any, part: dict[str, torch.Tensor], cache: Any) -> None:
    """Add the keys and values of one piece to the cache; no logits."""
    base = inner_model(model).base_model
    base(**model_inputs(base, part), past_key_values=cache, use_cache=True)


def new_cache(model: Any) -> Any:
    """An empty cache; each layer keeps all positions, or those of its sliding window."""
    from transformers import DynamicCache

    return DynamicCache(config=inner_model(model).config)


def slice_columns(batch: dict[str, torch.Tensor], start: int, end: int) -> dict[str, torch.Tensor]:
    """The batch's columns from `start` to `end`; the mask reaches back to the first token."""
    return {
        name: values[:, :end] if name == "attention_mask" else values[:, start:end]
        for name, values in batch.items()
    }


def log_sum_exp(logits_SV: torch.Tensor) -> torch.Tensor:
    """Log-sum-exp [S] of each row in float32, without a float32 copy of all logits."""
    rows = max(1, MAX_FLOAT32_LOGITS // logits_SV.shape[-1])
    return torch.cat([part.float().logsumexp(-1) for part in logits_SV.split(rows)])


def token_log_probs(logits_SV: torch.Tensor, rows_K: torch.Tensor, tokens_K: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [K] (natural log, float32) of K tokens, each in a row of the logits."""
    return logits_SV[rows_K, tokens_K].float() - log_sum_exp(logits_SV)[rows_K]
