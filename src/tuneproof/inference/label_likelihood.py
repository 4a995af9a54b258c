"""Log-likelihoods of the labels' words: after a prompt (decoders) or at a mask (encoders).

In: a model with its language-model head, encoded prompts. Out: log-likelihoods, probabilities.
Knows nothing of: golds, metrics, the source of prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedCloze, EncodedPrompts
from tuneproof.data.prefix_trie import PrefixTrie, batch_by_prefix, build_prefix_tries
from tuneproof.data.tokens import pad_batch
from tuneproof.models.device import float64_array, to_device
from tuneproof.models.heads import inner_model
from tuneproof.models.lm_logits import lm_head_logits, log_sum_exp, prefill, token_log_probs
from tuneproof.models.oom import AdaptiveBatchSize, run_in_batches
from tuneproof.models.prefix_cache import (
    MAX_LOGITS,
    PrefixTrieBatch,
    read_shared_prefix,
    shares_prefixes,
    trie_token_log_probs,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONTENT_FREE_TEXTS = ("N/A", "", "[MASK]")


@dataclass(frozen=True)
class _Row:
    """One forward pass: an item's tokens, labels with tokens to look up in it; tail: logits at the end."""

    item: int
    ids: IntArray
    labels: tuple[tuple[int, IntArray], ...]
    tail: int


def _empty_scores(prompts: EncodedPrompts) -> FloatArray:
    """Scores [N, C] before any is computed: NaN."""
    labels = len(prompts.continuations[0]) if prompts.continuations else 0
    return np.full((len(prompts.contexts), labels), np.nan)


def score_labels(
    model: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: str | torch.device = "cpu",
) -> FloatArray:
    """Summed log-probability (natural log) of each label's tokens after the prompt: scores [N, C].

    The prefix of all prompts is read once; prompts and labels of a batch form prefix tries. A model that
    takes no tries (see `shares_prefixes`) reads one row per different beginning of a label.
    """
    model.eval()
    scores_NC = _empty_scores(prompts)
    if not len(scores_NC):
        return scores_NC
    if not shares_prefixes(model):
        return _score_separate_rows(model, prompts, pad_id, adaptive_size, device)
    contexts = prompts.contexts
    shared = read_shared_prefix(model, contexts, device)
    shared_length = 0 if shared is None else len(shared)

    def work(items: Any) -> FloatArray:
        rows = [row for item in items for row in _make_rows(prompts, item)]
        tries = build_prefix_tries([row.ids[shared_length:] for row in rows])
        batch = PrefixTrieBatch(model, tries, pad_id, device, shared)
        return float64_array(trie_token_log_probs(batch, *_locate_tokens(rows, tries)))

    lengths = [len(context) for context in contexts]
    weights = [count_logit_positions(continuations) for continuations in prompts.continuations]
    maximum = max_logit_positions(model)
    batches = batch_by_prefix(contexts, shared_length, adaptive_size.size, weights, maximum)
    for items, logs_K in run_in_batches(lengths, adaptive_size, work, batches):
        _add_scores(scores_NC, [row for item in items for row in _make_rows(prompts, item)], logs_K)
    return scores_NC


def count_logit_positions(continuations: Sequence[IntArray]) -> int:
    """The number of positions of a prompt with its labels whose logits are needed."""
    return len({tokens[:step].tobytes() for tokens in continuations for step in range(len(tokens))})


def max_logit_positions(model: Any) -> int:
    """The most positions whose logits may exist at once; a single item may have more."""
    return max(1, MAX_LOGITS // int(inner_model(model).config.get_text_config().vocab_size))


def _locate_tokens(rows: Sequence[_Row], tries: Sequence[PrefixTrie]) -> tuple[IntArray, ...]:
    """(trie, column, token) of all K tokens to look up, row by row; the column is the one before."""
    locations: dict[int, tuple[int, IntArray]] = {
        int(row): (index, columns)
        for index, trie in enumerate(tries)
        for row, columns in zip(trie.rows_R, trie.columns, strict=True)
    }
    lookups = []
    for index, row in enumerate(rows):
        trie_index, columns = locations[index]
        tail = columns[-row.tail :]  # from the context's last token on
        for _, tokens in row.labels:
            lookups += [(trie_index, int(tail[step]), int(token)) for step, token in enumerate(tokens)]
    lookups_3K = np.array(lookups, dtype=np.int64).T
    return lookups_3K[0], lookups_3K[1], lookups_3K[2]


def _add_scores(scores_NC: FloatArray, rows: Sequence[_Row], logs_K: FloatArray) -> None:
    first = 0
    for row in rows:
        for label, tokens in row.labels:
            scores_NC[row.item, label] = logs_K[first : first + len(tokens)].sum()
            first += len(tokens)


def _score_separate_rows(
    model: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: str | torch.device,
) -> FloatArray:
    """The same scores from left-padded rows without tries.

    Labels that differ only in their last token share a forward pass: single-token labels cost one per item.
    """
    rows = [row for item in range(len(prompts.contexts)) for row in _make_rows(prompts, item)]

    def work(indices: Any) -> FloatArray:
        batch_rows = [rows[index] for index in indices]
        batch = to_device(pad_batch([row.ids for row in batch_rows], pad_id, "left"), device)
        return float64_array(query_log_probs(model, batch, _make_query(batch_rows).to(device)))

    scores_NC = _empty_scores(prompts)
    by_item = adaptive_size.count_items(len(rows), len(scores_NC))
    for indices, logs_K in run_in_batches([len(row.ids) for row in rows], by_item, work):
        _add_scores(scores_NC, [rows[index] for index in indices], logs_K)
    return scores_NC


@dataclass(frozen=True)
class TokenQuery:
    """Tokens to look up: S positions among the last `keep` of each row, and K tokens at them."""

    keep: int
    positions_S: torch.Tensor
    rows_K: torch.Tensor
    tokens_K: torch.Tensor

    def to(self, device: str | torch.device) -> "TokenQuery":
        """The same on a device."""
        return TokenQuery(self.keep, *to_device((self.positions_S, self.rows_K, self.tokens_K), device))


def _make_query(rows: Sequence[_Row]) -> TokenQuery:
    """The tokens to look up in a batch; each position once, however many labels use it."""
    keep = max(row.tail for row in rows)
    lookups = [
        (index * keep + keep - row.tail + step, int(token))
        for index, row in enumerate(rows)
        for _, tokens in row.labels
        for step, token in enumerate(tokens)
    ]
    positions_S, rows_K = np.unique([position for position, _ in lookups], return_inverse=True)
    tokens_K = torch.tensor([token for _, token in lookups], dtype=torch.long)
    return TokenQuery(keep, torch.from_numpy(positions_S), torch.from_numpy(rows_K.reshape(-1)), tokens_K)


def query_log_probs(
    model: Any, batch: dict[str, torch.Tensor], query: TokenQuery, cache: Any = None
) -> torch.Tensor:
    """Log-probabilities [K] of the query's tokens; cache: if the batch is what `prefill` left."""
    with torch.inference_mode():
        if cache is None:
            batch, cache = prefill(model, batch, query.keep)
        logits_SV = lm_head_logits(model, batch, query.keep, query.positions_S, cache)
        return token_log_probs(logits_SV, query.rows_K, query.tokens_K)


def _make_rows(prompts: EncodedPrompts, item: int) -> list[_Row]:
    """The forward passes of one item, so that each label's tokens but the last begin one of them."""
    context, continuations = prompts.contexts[item], prompts.continuations[item]
    starts = [tuple(tokens[:-1].tolist()) for tokens in continuations]
    longest: list[tuple[int, ...]] = []
    for start in sorted(set(starts), key=len, reverse=True):
        if not any(longer[: len(start)] == start for longer in longest):
            longest.append(start)
    labels: dict[tuple[int, ...], list[tuple[int, IntArray]]] = {start: [] for start in longest}
    for label, (start, tokens) in enumerate(zip(starts, continuations, strict=True)):
        row = next(longer for longer in longest if longer[: len(start)] == start)
        labels[row].append((label, tokens))
    return [
        _Row(item, np.concatenate([context, np.array(row, dtype=np.int64)]), tuple(scored), len(row) + 1)
        for row, scored in labels.items()
    ]


def scored_rows(prompts: EncodedPrompts) -> list[IntArray]:
    """The tokens of every row that `score_labels` reads."""
    return [row.ids for item in range(len(prompts.contexts)) for row in _make_rows(prompts, item)]


def score_cloze(
    model: Any,
    cloze: EncodedCloze,
    pad_id: int,
    adaptive_size: AdaptiveBatchSize,
    device: str | torch.device = "cpu",
) -> FloatArray:
    """Log-probability (natural log) of each label's word at the mask: scores [N, C]; no other logits."""
    model.eval()
    scores_NC = np.full((len(cloze.ids), len(cloze.word_ids_C)), np.nan)
    if not cloze.ids:
        return scores_NC
    words_C = torch.as_tensor(cloze.word_ids_C, device=device)

    def work(items: Any) -> FloatArray:
        batch = to_device(pad_batch([cloze.ids[item] for item in items], pad_id, "right"), device)
        masks_B = to_device(torch.as_tensor(cloze.mask_N[items]), device)
        return float64_array(mask_log_probs(model, batch, masks_B, words_C))

    for items, logs_BC in run_in_batches([len(row) for row in cloze.ids], adaptive_size, work):
        scores_NC[items] = logs_BC
    return scores_NC


def mask_log_probs(
    model: Any, batch: dict[str, torch.Tensor], positions_B: torch.Tensor, words_C: torch.Tensor
) -> torch.Tensor:
    """Log-probabilities [B, C] of C words at one position per row, on the device."""
    with torch.inference_mode():
        logits_BV = _logits_at(model, batch, positions_B)
        return logits_BV[:, words_C].float() - log_sum_exp(logits_BV)[:, None]


def _logits_at(model: Any, batch: dict[str, torch.Tensor], positions_B: torch.Tensor) -> torch.Tensor:
    """Logits [B, V] of a masked language model at one position per row."""

    def select(module: Any, inputs: Any, output: Any) -> Any:
        states_BTD = output["last_hidden_state"]
        rows_B = torch.arange(len(states_BTD), device=states_BTD.device)
        output["last_hidden_state"] = states_BTD[rows_B, positions_B][:, None]
        return output

    hook = inner_model(model).base_model.register_forward_hook(select)
    try:
        output = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    finally:
        hook.remove()
    return output.logits[:, 0]


def probabilities(scores_NC: FloatArray) -> FloatArray:
    """The labels' shares [N, C] of their summed likelihood; rows sum to one."""
    likelihoods_NC = np.exp(scores_NC - scores_NC.max(axis=1, keepdims=True))
    return likelihoods_NC / likelihoods_NC.sum(axis=1, keepdims=True)


def content_free_probabilities(scores_MC: FloatArray) -> FloatArray:
    """Mean label probabilities [C] over the content-free inputs (see CONTENT_FREE_TEXTS)."""
    return probabilities(scores_MC).mean(axis=0)


def calibrate(scores_NC: FloatArray, content_free_C: Sequence[float] | FloatArray) -> FloatArray:
    """Scores [N, C] divided by the probabilities that content-free inputs get.

    Source: Zhao et al. 2021, arXiv:2102.09690, section 5: W = diag(p_cf)^-1, b = 0.
    Differs: the weighted probabilities are divided by their sum instead of passed through a second
    softmax, so that an even p_cf changes nothing; the chosen label is the same.
    """
    return scores_NC - np.log(np.asarray(content_free_C, dtype=np.float64))
