"""Examples as token ids: for a classification head, for label words after a prompt, for a cloze.

In: a tokenizer, a family, examples, the words of the prompt. Out: ids, what is supervised, counts.
Knows nothing of: weights, batches, predictions.

The text alone is ever cut; the instruction, the shots and the label are not.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.prefix_trie import common_tokens
from tuneproof.data.prompt_format import Frame, check_words, fit_frame, mask_words, prompt_frame
from tuneproof.data.token_store import TokenRows, TokenWriter
from tuneproof.data.tokens import (
    Cut,
    IntArray,
    ShownToken,
    begin_once,
    encode_plain,
    holds_special,
    keep_of,
    pad_batch,
    show_tokens,
    special_strings,
)
from tuneproof.errors import ModelError, RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, Prompt

__all__ = [
    "Encoded",
    "EncodedAnswers",
    "EncodedCloze",
    "EncodedPrompts",
    "ShownToken",
    "encode_answers",
    "encode_cloze",
    "encode_prompts",
    "encode_stream",
    "encode_texts",
    "pad_batch",
    "show_tokens",
]


AT_ONCE = 4096  # texts that are tokenised together


@dataclass(frozen=True)
class Encoded:
    """N items for a classification head. `counts`: truncated and special_text items.

    `tokens_N` counts what the model reads, `whole_N` what there was before anything was cut.
    """

    ids: TokenRows
    tokens_N: IntArray
    whole_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]


@dataclass(frozen=True)
class EncodedPrompts:
    """N items, each with C ways to go on.

    `contexts[n] + continuations[n][c]` are the tokens of prompt and word c, tokenised as one text
    and split where the C ways part; `prompts[n]` is the prompt alone, for generating.
    `tokens_N` counts context and longest continuation; `first` shows the first prompt as text.
    """

    contexts: list[IntArray]
    continuations: list[tuple[IntArray, ...]]
    prompts: list[IntArray]
    tokens_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    chat: bool
    first: str


@dataclass(frozen=True)
class EncodedAnswers:
    """N items with their gold words; `supervised[n]` is true on the tokens of the answer alone."""

    ids: list[IntArray]
    supervised: list[NDArray[np.bool_]]
    tokens_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]


@dataclass(frozen=True)
class EncodedCloze:
    """N items with a mask each; `word_ids_C` are the C labels' words at the mask."""

    ids: list[IntArray]
    mask_N: IntArray
    word_ids_C: IntArray
    tokens_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    first: str


def encode_texts(
    tokenizer: Any, family: Family, examples: Sequence[Example], max_length: int, truncate: Cut
) -> Encoded:
    """Each text with the tokens that the tokenizer puts around it, cut to `max_length`.

    Raises: as `encode_stream`.
    """
    pieces = (examples[at : at + AT_ONCE] for at in range(0, len(examples), AT_ONCE))
    texts = ([example.text for example in piece] for piece in pieces)
    return encode_stream(tokenizer, family, texts, max_length, truncate)


def encode_stream(
    tokenizer: Any, family: Family, texts: Iterable[Sequence[str]], max_length: int, truncate: Cut
) -> Encoded:
    """The same of texts that come in pieces: what is in memory does not grow with how many they are.

    But for 17 bytes an item of lengths and marks. The tokens lie on disk where they are many.

    Raises: RecipeError where `max_length` leaves no room for a text.
    """
    strings = special_strings(tokenizer)
    around = tokenizer(["a"], split_special_tokens=True, return_special_tokens_mask=True)
    marks = around["special_tokens_mask"][0]
    head = marks.index(0)
    tail = marks[::-1].index(0)
    prefix = begin_once(around["input_ids"][0][:head], tokenizer, family)
    suffix = around["input_ids"][0][len(marks) - tail :]
    room = max_length - len(prefix) - len(suffix)
    if room < 1:
        raise RecipeError(
            "encode.max_length",
            f"{max_length} tokens leave no room for a text: {len(prefix) + len(suffix)} are markers.",
            do="Raise it.",
        )
    written, whole, special = TokenWriter(), array("q"), 0
    for piece in texts:
        rows = []
        for body in encode_plain(tokenizer, piece):
            first, last = keep_of(len(body), room, truncate)
            rows.append(prefix + body[first] + body[last] + suffix)
            whole.append(len(prefix) + len(body) + len(suffix))
        written.add(rows)
        special += sum(holds_special(text, strings) for text in piece)
    ids, whole_N = written.rows(), np.array(whole, dtype=np.int64)
    truncated_N = whole_N > room + len(prefix) + len(suffix)
    counts = {"truncated": int(truncated_N.sum()), "special_text": special}
    return Encoded(ids, ids.lengths_N, whole_N, truncated_N, counts)


def encode_prompts(
    tokenizer: Any,
    family: Family,
    prompt: Prompt,
    examples: Sequence[Example],
    shots: Sequence[Example],
    max_length: int,
    truncate: Cut,
    chat: Literal["auto", "never"] = "auto",
) -> EncodedPrompts:
    """Each item's prompt with the words of every label after it.

    Raises: RecipeError where two labels' words cannot be told apart, or the prompt without its
    text is longer than `max_length`; ModelError where the chat template breaks the begin token.
    """
    frame = prompt_frame(tokenizer, prompt, shots, chat)
    fitted = fit_frame(tokenizer, family, frame, examples, max_length, truncate)
    contexts: list[IntArray] = []
    continuations: list[tuple[IntArray, ...]] = []
    checked: set[tuple[tuple[int, ...], ...]] = set()
    for whole, *answered in fitted.ids:
        shared = min(common_tokens(whole, ids) for ids in answered)
        ways = tuple(tuple(ids[shared:]) for ids in answered)
        if ways not in checked:
            check_words(prompt.words, ways)
            checked.add(ways)
        contexts.append(np.array(whole[:shared], dtype=np.int64))
        continuations.append(tuple(np.array(way, dtype=np.int64) for way in ways))
    return EncodedPrompts(
        contexts=contexts,
        continuations=continuations,
        prompts=[np.array(ids[0], dtype=np.int64) for ids in fitted.ids],
        tokens_N=np.array([max(map(len, ids)) for ids in fitted.ids], dtype=np.int64),
        truncated_N=fitted.truncated_N,
        counts=fitted.counts,
        chat=frame.markup,
        first=fitted.first,
    )


def encode_answers(
    tokenizer: Any,
    family: Family,
    prompt: Prompt,
    examples: Sequence[Example],
    shots: Sequence[Example],
    max_length: int,
    truncate: Cut,
    chat: Literal["auto", "never"] = "auto",
) -> EncodedAnswers:
    """Each item's prompt with its gold label's words, of which the loss sees the words alone.

    The tokens are those that `encode_prompts` scores, so training and scoring see the same.

    Raises: as `encode_prompts`.
    """
    asked = encode_prompts(tokenizer, family, prompt, examples, shots, max_length, truncate, chat)
    ids, supervised = [], []
    for example, context, ways in zip(examples, asked.contexts, asked.continuations, strict=True):
        answer = ways[example.label]
        ids.append(np.concatenate([context, answer]))
        supervised.append(np.arange(len(context) + len(answer)) >= len(context))
    return EncodedAnswers(ids, supervised, _lengths(ids), asked.truncated_N, asked.counts)


def encode_cloze(
    tokenizer: Any,
    family: Family,
    prompt: Prompt,
    examples: Sequence[Example],
    max_length: int,
    truncate: Cut,
) -> EncodedCloze:
    """Each item's cloze with one mask, and the token of every label's word at the mask.

    Raises: ModelError where the tokenizer has no mask; RecipeError where a word is not one token
    at the mask, or two words are the same token.
    """
    mask = tokenizer.mask_token
    if mask is None:
        raise ModelError(
            "tokenizer", "has no mask token, so there is no cloze.", do="Use head, lora or full."
        )
    before, _, after = prompt.cloze.replace("{mask}", mask).partition("{text}")
    frame = Frame(before, after, (), markup=True)
    words = mask_words(tokenizer, frame, prompt.cloze_words)
    fitted = fit_frame(tokenizer, family, frame, examples, max_length, truncate)
    ids = [np.array(whole[0], dtype=np.int64) for whole in fitted.ids]
    return EncodedCloze(
        ids=ids,
        mask_N=np.array([int(np.flatnonzero(r == tokenizer.mask_token_id)[0]) for r in ids]),
        word_ids_C=np.array(words, dtype=np.int64),
        tokens_N=_lengths(ids),
        truncated_N=fitted.truncated_N,
        counts=fitted.counts,
        first=fitted.first,
    )


def _lengths(ids: Sequence[IntArray]) -> IntArray:
    return np.array([len(row) for row in ids], dtype=np.int64)
