"""How likely each label's words are: after a prompt (decoders) or at a mask (encoders).

In: a model with its language-model head, encoded prompts. Out: log-likelihoods, probabilities.
Knows nothing of: golds, metrics, where prompts come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneproof.data.encode import EncodedCloze, EncodedPrompts, pad_batch
from tuneproof.data.prefix_trie import Pack, batches_of_kin, make_packs
from tuneproof.models.device import on_device
from tuneproof.models.heads import inner_model
from tuneproof.models.lm_logits import log_totals, read_ahead, token_logs, words_logits
from tuneproof.models.oom import AtOnce, in_batches
from tuneproof.models.prefix_cache import MOST_LOGITS, Packed, packed_logs, read_start, shares_prefixes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CONTENT_FREE = ("N/A", "", "[MASK]")


@dataclass(frozen=True)
class _Row:
    """One forward pass: item, tokens, and for each label scored by it the tokens to look up."""

    item: int
    ids: NDArray[np.int64]
    asked: tuple[tuple[int, NDArray[np.int64]], ...]  # (label, its tokens)
    tail: int  # logits needed, counted from the end


def label_log_likelihoods(
    model: Any, prompts: EncodedPrompts, pad_id: int, batch_size: int, device: str | torch.device = "cpu"
) -> FloatArray:
    """Summed log-probability (natural log) of each label's tokens after the prompt: scores [N, C]."""
    scores_NC = empty_scores(prompts)
    for _ in score_labels(model, prompts, pad_id, AtOnce(batch_size), device, scores_NC):
        pass
    return scores_NC


def empty_scores(encoded: EncodedPrompts | EncodedCloze) -> FloatArray:
    """Where scores [N, C] of these items go; nothing is scored yet."""
    if isinstance(encoded, EncodedCloze):
        return np.full((len(encoded.ids), len(encoded.word_ids_C)), np.nan)
    labels = len(encoded.continuations[0]) if encoded.continuations else 0
    return np.full((len(encoded.contexts), labels), np.nan)


def score_labels(
    model: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    at_once: AtOnce,
    device: str | torch.device,
    into_NC: FloatArray,
) -> Iterator[int]:
    """Fill `into_NC` as `label_log_likelihoods` does; yields items done after every batch.

    What all prompts begin with is read once; prompts and labels of a batch go in packs, in which no
    token that several of them begin with stands twice: the labels are branches of one prompt. A model
    that takes no packs (see `shares_prefixes`) reads each way to a label's last token by itself.
    """
    model.eval()
    if not len(into_NC):
        return
    if not shares_prefixes(model):
        yield from _score_apart(model, prompts, pad_id, at_once, device, into_NC)
        return
    contexts = prompts.contexts
    start = read_start(model, contexts, device)
    begun = 0 if start is None else len(start)
    most = most_logits(model)

    def work(chosen: Any) -> FloatArray:
        rows = [row for item in chosen for row in _rows(prompts, item)]
        packs = make_packs([row.ids[begun:] for row in rows])
        packed = Packed(model, packs, pad_id, device, start)
        logs_K = packed_logs(packed, *_asked_of_packs(rows, packs))
        return logs_K.double().cpu().numpy()

    lengths = [len(context) for context in contexts]
    weights = [label_places(ways) for ways in prompts.continuations]
    batches = batches_of_kin(contexts, begun, at_once.size, weights, most)
    for chosen, logs_K in in_batches(lengths, at_once, work, batches):
        _fill(into_NC, [row for item in chosen for row in _rows(prompts, item)], logs_K)
        yield len(chosen)


def label_places(ways: Sequence[IntArray]) -> int:
    """At how many places of a prompt with its labels logits are asked for."""
    return len({way[:step].tobytes() for way in ways for step in range(len(way))})


def most_logits(model: Any) -> int:
    """At how many places logits may be there at once; a single item may have more."""
    return max(1, MOST_LOGITS // int(inner_model(model).config.get_text_config().vocab_size))


def _asked_of_packs(rows: Sequence[_Row], packs: Sequence[Pack]) -> tuple[IntArray, ...]:
    """(pack, column, token) of all K tokens that are asked for, row by row."""
    where: dict[int, tuple[int, IntArray]] = {
        int(place): (at, columns)
        for at, pack in enumerate(packs)
        for place, columns in zip(pack.rows_R, pack.columns, strict=True)
    }
    asked = []
    for place, row in enumerate(rows):
        at, columns = where[place]
        before = columns[-row.tail :]  # from the context's last token on
        for _, tokens in row.asked:
            asked += [(at, int(before[step]), int(token)) for step, token in enumerate(tokens)]
    found_3K = np.array(asked, dtype=np.int64).T
    return found_3K[0], found_3K[1], found_3K[2]


def _fill(into_NC: FloatArray, rows: Sequence[_Row], logs_K: FloatArray) -> None:
    at = 0
    for row in rows:
        for label, tokens in row.asked:
            into_NC[row.item, label] = logs_K[at : at + len(tokens)].sum()
            at += len(tokens)


def _score_apart(
    model: Any,
    prompts: EncodedPrompts,
    pad_id: int,
    at_once: AtOnce,
    device: str | torch.device,
    into_NC: FloatArray,
) -> Iterator[int]:
    """The same without packs.

    Rows are padded on the left, so that the positions that matter end every row and the vocabulary's
    logits exist at these alone. Labels whose tokens differ in the last one alone share a forward
    pass: single-token labels cost one an item. Long prompts are read in pieces (see `read_ahead`).
    """
    rows = [row for item in range(len(prompts.contexts)) for row in _rows(prompts, item)]

    def work(chosen: Any) -> FloatArray:
        part = [rows[place] for place in chosen]
        batch = pad_batch([row.ids for row in part], pad_id, "left")
        asked = _asked(part)
        logs_K = asked_logs(model, on_device(batch, device), asked.to(device))
        return logs_K.double().cpu().numpy()

    done = seen = 0
    for chosen, logs_K in in_batches([len(row.ids) for row in rows], at_once, work):
        _fill(into_NC, [rows[place] for place in chosen], logs_K)
        seen += len(chosen)
        items = seen * len(into_NC) // len(rows)
        yield items - done
        done = items


@dataclass(frozen=True)
class Asked:
    """Which tokens of which logits: S positions among each row's last `keep`, and K tokens at them."""

    keep: int
    places_S: torch.Tensor
    rows_K: torch.Tensor
    tokens_K: torch.Tensor

    def to(self, device: str | torch.device) -> "Asked":
        """The same on a device."""
        return Asked(self.keep, *on_device((self.places_S, self.rows_K, self.tokens_K), device))


def _asked(part: Sequence[_Row]) -> Asked:
    """The positions that the rows of a batch are asked at; each once, however many labels ask."""
    keep = max(row.tail for row in part)
    wanted = [
        (place * keep + keep - row.tail + step, int(token))
        for place, row in enumerate(part)
        for _, tokens in row.asked
        for step, token in enumerate(tokens)
    ]
    places_S, rows_K = np.unique([place for place, _ in wanted], return_inverse=True)
    return Asked(
        keep,
        torch.from_numpy(places_S),
        torch.from_numpy(rows_K.reshape(-1)),
        torch.tensor([token for _, token in wanted], dtype=torch.long),
    )


def asked_logs(model: Any, batch: dict[str, torch.Tensor], asked: Asked, cache: Any = None) -> torch.Tensor:
    """Log-probabilities [K] of the tokens asked for, on the device.

    cache: where the batch is what is left of it, see `read_ahead`.
    """
    with torch.inference_mode():
        if cache is None:
            batch, cache = read_ahead(model, batch, asked.keep)
        logits_SV = words_logits(model, batch, asked.keep, asked.places_S, cache)
        return token_logs(logits_SV, asked.rows_K, asked.tokens_K)


def _rows(prompts: EncodedPrompts, item: int) -> list[_Row]:
    """The forward passes of one item: one for each different way to the last token of a label."""
    context, ways = prompts.contexts[item], prompts.continuations[item]
    heads = sorted({tuple(way[:-1].tolist()) for way in ways}, key=len, reverse=True)
    kept: list[tuple[int, ...]] = []
    for head in heads:
        if not any(longer[: len(head)] == head for longer in kept):
            kept.append(head)
    asked: dict[tuple[int, ...], list[tuple[int, NDArray[np.int64]]]] = {head: [] for head in kept}
    for label, way in enumerate(ways):
        head = tuple(way[:-1].tolist())
        asked[next(longer for longer in kept if longer[: len(head)] == head)].append((label, way))
    return [
        _Row(item, np.concatenate([context, np.array(head, dtype=np.int64)]), tuple(labels), len(head) + 1)
        for head, labels in asked.items()
    ]


def scored_rows(prompts: EncodedPrompts) -> list[NDArray[np.int64]]:
    """The tokens of every row that `score_labels` reads."""
    return [row.ids for item in range(len(prompts.contexts)) for row in _rows(prompts, item)]


def cloze_log_likelihoods(
    model: Any, cloze: EncodedCloze, pad_id: int, batch_size: int, device: str | torch.device = "cpu"
) -> FloatArray:
    """Log-probability (natural log) of each label's word at the mask: scores [N, C]."""
    scores_NC = empty_scores(cloze)
    for _ in score_cloze(model, cloze, pad_id, AtOnce(batch_size), device, scores_NC):
        pass
    return scores_NC


def score_cloze(
    model: Any,
    cloze: EncodedCloze,
    pad_id: int,
    at_once: AtOnce,
    device: str | torch.device,
    into_NC: FloatArray,
) -> Iterator[int]:
    """Fill `into_NC` as `cloze_log_likelihoods` does; yields items done after every batch.

    The base model's states are narrowed to the mask before the head, so that the vocabulary's
    logits exist at one position an item.
    """
    model.eval()
    if not cloze.ids:
        return
    words_C = torch.as_tensor(cloze.word_ids_C, device=device)

    def work(chosen: Any) -> FloatArray:
        batch = pad_batch([cloze.ids[place] for place in chosen], pad_id, "right")
        places_B = on_device(torch.as_tensor(cloze.mask_N[chosen]), device)
        return cloze_logs(model, on_device(batch, device), places_B, words_C).double().cpu().numpy()

    for chosen, logs_BC in in_batches([len(row) for row in cloze.ids], at_once, work):
        into_NC[chosen] = logs_BC
        yield len(chosen)


def cloze_logs(
    model: Any, batch: dict[str, torch.Tensor], places_B: torch.Tensor, words_C: torch.Tensor
) -> torch.Tensor:
    """Log-probabilities [B, C] of C words at one position a row, on the device."""
    with torch.inference_mode():
        logits_BV = _logits_at(model, batch, places_B)
        return logits_BV[:, words_C].float() - log_totals(logits_BV)[:, None]


def _logits_at(model: Any, batch: dict[str, torch.Tensor], places_B: torch.Tensor) -> torch.Tensor:
    """Logits [B, V] of a masked language model at one position a row."""

    def narrow(module: Any, inputs: Any, output: Any) -> Any:
        states_BTD = output["last_hidden_state"]
        rows_B = torch.arange(len(states_BTD), device=states_BTD.device)
        output["last_hidden_state"] = states_BTD[rows_B, places_B][:, None]
        return output

    hook = inner_model(model).base_model.register_forward_hook(narrow)
    try:
        out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    finally:
        hook.remove()
    return out.logits[:, 0]


def probabilities(scores_NC: FloatArray) -> FloatArray:
    """The labels' shares [N, C] of the likelihood that the labels have together; rows sum to one."""
    shifted_NC = scores_NC - scores_NC.max(axis=1, keepdims=True)
    shares_NC = np.exp(shifted_NC)
    return shares_NC / shares_NC.sum(axis=1, keepdims=True)


def content_free(scores_MC: FloatArray) -> FloatArray:
    """Mean label probabilities [C] over the content-free inputs (see CONTENT_FREE)."""
    return probabilities(scores_MC).mean(axis=0)


def calibrate(scores_NC: FloatArray, content_free_C: Sequence[float] | FloatArray) -> FloatArray:
    """Scores [N, C] from which the labels' share for inputs without content is divided out.

    `probabilities` of the result are the calibrated ones: p / p_content_free, made to sum to one.

    Source: Zhao et al. 2021, arXiv:2102.09690, section 5: W = diag(p_cf)^-1, b = 0.
    Differs: the weighted probabilities are divided by their sum instead of passed through a second
    softmax, so that an even p_cf changes nothing; the chosen label is the same.
    """
    return scores_NC - np.log(np.asarray(content_free_C, dtype=np.float64))
