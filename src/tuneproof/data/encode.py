"""Examples as token ids: for a classification head, for label words after a prompt, for a cloze.

In: a tokenizer, a family, examples, a prompt. Out: ids, the supervised tokens, counts.
Knows nothing of: weights, batches, predictions.

Only the text is ever truncated, never the instruction, the shots or the label.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data import tokens
from tuneproof.data.prefix_trie import common_prefix
from tuneproof.data.prompt_format import (
    PromptFrame,
    build_prompt_frame,
    check_words,
    fit_frame,
    tokenize_mask_words,
)
from tuneproof.data.token_store import TokenRows, TokenWriter
from tuneproof.data.tokens import IntArray, TruncateSide
from tuneproof.errors import ModelError, RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, Prompt

TEXTS_PER_CALL = 4096  # of the tokenizer


@dataclass(frozen=True)
class EncodedTexts:
    """N items for a classification head. `counts`: truncated and special_text items.

    `tokens_N` counts the tokens that the model reads, `untruncated_N` those before truncation,
    `text_tokens_N` those of them that are the text's, `unknown_N` the unknown ones among these.
    """

    ids: TokenRows
    tokens_N: IntArray
    untruncated_N: IntArray
    text_tokens_N: IntArray
    unknown_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]


@dataclass(frozen=True)
class EncodedPrompts:
    """N items, each with C continuations.

    `contexts[n] + continuations[n][c]` are the tokens of prompt and word c, tokenised as one text
    and split where the C texts diverge; `prompt_ids[n]` is the prompt alone, for generating.
    `tokens_N` counts context and longest continuation, `untruncated_N` before truncation; `first` is the
    first prompt as text.
    """

    contexts: list[IntArray]
    continuations: list[tuple[IntArray, ...]]
    prompt_ids: list[IntArray]
    tokens_N: IntArray
    untruncated_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    chat: bool
    first: str


@dataclass(frozen=True)
class EncodedAnswers:
    """N items with their gold words; `supervised[n]` is true for the tokens of the answer only."""

    ids: list[IntArray]
    supervised: list[NDArray[np.bool_]]
    tokens_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]


@dataclass(frozen=True)
class EncodedCloze:
    """N items with one mask each; `word_ids_C` are the C labels' words at the mask."""

    ids: list[IntArray]
    mask_N: IntArray
    word_ids_C: IntArray
    tokens_N: IntArray
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    first: str


def encode_texts(
    tokenizer: Any, family: Family, examples: Sequence[Example], max_length: int, truncate: TruncateSide
) -> EncodedTexts:
    """Each text with special tokens around it, cut to `max_length` tokens. Raises: as `encode_stream`."""
    starts = range(0, len(examples), TEXTS_PER_CALL)
    texts = ([example.text for example in examples[start : start + TEXTS_PER_CALL]] for start in starts)
    return encode_stream(tokenizer, family, texts, max_length, truncate)


def encode_stream(
    tokenizer: Any, family: Family, texts: Iterable[Sequence[str]], max_length: int, truncate: TruncateSide
) -> EncodedTexts:
    """As `encode_texts`, for texts that arrive in batches; many tokens go to disk.

    Memory grows by 33 bytes per item, for lengths and flags. An item of no token is read as one pad token.

    Raises: RecipeError if `max_length` leaves no room for a text.
    """
    strings, unknown = tokens.special_strings(tokenizer), tokens.unknown_id(tokenizer)
    prefix, suffix = tokens.tokens_around(tokenizer)
    prefix = tokens.normalise_bos(prefix, tokenizer, family)
    fixed = len(prefix) + len(suffix)
    room = max_length - fixed
    if room < 1:
        problem = f"{max_length} tokens leave no room for a text: {fixed} are special tokens."
        raise RecipeError("encode.max_length", problem, do="Raise it.")
    writer, lengths, unknowns, special = TokenWriter(), array("q"), array("q"), 0
    for batch in texts:
        rows = []
        for body in tokens.encode_plain(tokenizer, batch):
            first, last = tokens.slices_to_keep(len(body), room, truncate)
            rows.append(prefix + body[first] + body[last] + suffix or [tokenizer.pad_token_id or 0])
            lengths.append(len(body))
            unknowns.append(body.count(unknown))
        writer.add(rows)
        special += sum(tokens.contains_special(text, strings) for text in batch)
    ids, lengths_N = writer.rows(), np.array(lengths, dtype=np.int64)
    counts = {"truncated": int((lengths_N > room).sum()), "special_text": special}
    unknown_N = np.array(unknowns, dtype=np.int64)
    return EncodedTexts(ids, ids.lengths_N, lengths_N + fixed, lengths_N, unknown_N, lengths_N > room, counts)


def encode_prompts(
    tokenizer: Any,
    family: Family,
    prompt: Prompt,
    examples: Sequence[Example],
    shots: Sequence[Example],
    max_length: int,
    truncate: TruncateSide,
    chat: Literal["auto", "never"] = "auto",
) -> EncodedPrompts:
    """Each item's prompt, followed by the words of every label.

    Raises: RecipeError if two labels' words cannot be distinguished, or the prompt without its
    text is longer than `max_length`; ModelError if the chat template breaks the BOS token.
    """
    frame = build_prompt_frame(tokenizer, prompt, shots, chat)
    fitted = fit_frame(tokenizer, family, frame, examples, max_length, truncate)
    contexts: list[IntArray] = []
    continuations: list[tuple[IntArray, ...]] = []
    checked: set[tuple[tuple[int, ...], ...]] = set()
    for prompt_ids, *answered in fitted.ids:
        shared = min(common_prefix(prompt_ids, ids) for ids in answered)
        words = tuple(tuple(ids[shared:]) for ids in answered)
        if words not in checked:
            check_words(prompt.words, words)
            checked.add(words)
        contexts.append(np.array(prompt_ids[:shared], dtype=np.int64))
        continuations.append(tuple(np.array(ids, dtype=np.int64) for ids in words))
    prompts = [np.array(ids[0], dtype=np.int64) for ids in fitted.ids]
    tokens_N = np.array([max(map(len, ids)) for ids in fitted.ids], dtype=np.int64)
    about = (fitted.untruncated_N, fitted.truncated_N, fitted.counts, frame.has_markup, fitted.first)
    return EncodedPrompts(contexts, continuations, prompts, tokens_N, *about)


def encode_answers(prompts: EncodedPrompts, examples: Sequence[Example]) -> EncodedAnswers:
    """The examples' prompts with their gold labels' words, as they are scored; the loss counts the words."""
    ids, supervised = [], []
    for example, context, words in zip(examples, prompts.contexts, prompts.continuations, strict=True):
        answer = words[example.label]
        ids.append(np.concatenate([context, answer]))
        supervised.append(np.arange(len(context) + len(answer)) >= len(context))
    return EncodedAnswers(ids, supervised, _lengths(ids), prompts.truncated_N, prompts.counts)


def encode_cloze(
    tokenizer: Any,
    family: Family,
    prompt: Prompt,
    examples: Sequence[Example],
    max_length: int,
    truncate: TruncateSide,
) -> EncodedCloze:
    """Each item's cloze with one mask, and the token of every label's word at the mask.

    Raises: ModelError if the tokenizer has no mask; RecipeError if a word is not one token at the
    mask, or two words are the same token.
    """
    mask = tokenizer.mask_token
    if mask is None:
        raise ModelError("tokenizer", "has no mask token, which a cloze needs.", do="Use head, lora or full.")
    before, _, after = prompt.cloze.replace("{mask}", mask).partition("{text}")
    frame = PromptFrame(before, after, (), has_markup=True)
    words = tokenize_mask_words(tokenizer, frame, prompt.cloze_words)
    fitted = fit_frame(tokenizer, family, frame, examples, max_length, truncate)
    ids = [np.array(item[0], dtype=np.int64) for item in fitted.ids]
    mask_N = np.array([int(np.flatnonzero(row == tokenizer.mask_token_id)[0]) for row in ids])
    words_C = np.array(words, dtype=np.int64)
    return EncodedCloze(
        ids, mask_N, words_C, _lengths(ids), fitted.truncated_N, fitted.counts, first=fitted.first
    )


def _lengths(ids: Sequence[IntArray]) -> IntArray:
    return np.array([len(row) for row in ids], dtype=np.int64)
