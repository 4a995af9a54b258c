"""The prompt around a text, built once, and texts truncated until their prompts fit.

In: a tokenizer, a prompt, shots. Out: ids of prompt and prompt with answer, counts.
Knows nothing of: labels of items, weights, predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.chat import render_chat
from tuneproof.data.chat_answer import open_answer
from tuneproof.data.tokens import (
    TruncateSide,
    contains_special,
    count_bos_tokens,
    cut_text,
    encode_plain,
    escape_special,
    normalise_bos,
    special_strings,
)
from tuneproof.errors import ModelError, RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.prompt_turns import chat_turns, join_prompt
from tuneproof.tasks.task import Example, Prompt

PROBE = "answer"  # stands for an empty answer while the prompt is built
SLOT = "\ue000text\ue000"  # stands for the text while the prompt around it is built


@dataclass(frozen=True)
class PromptFrame:
    """The prompt before and after the text, and each answer as it continues the prompt.

    `has_markup`: special tokens in the frame are read as such. `after_answer` is what a chat template
    writes after an answer; `notes` say what was done so that answers stand outside thoughts.
    """

    before: str
    after: str
    answers: tuple[str, ...]
    has_markup: bool
    after_answer: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FittedPrompts:
    """N items: `ids[n]` are the ids of the prompt and of the prompt with each answer.

    `untruncated_N` counts the longest of them before truncation; `texts` are the texts after it; `first`
    is the first prompt as text.
    """

    ids: list[list[list[int]]]
    untruncated_N: NDArray[np.int64]
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    first: str
    texts: list[str]


def build_prompt_frame(
    tokenizer: Any, prompt: Prompt, shots: Sequence[Example], chat: Literal["auto", "never"]
) -> PromptFrame:
    """Instruction, shots and template, in the chat template if there is one and `chat` allows it."""
    pairs = [(prompt.template.replace("{text}", shot.text), prompt.words[shot.label]) for shot in shots]
    query = prompt.template.replace("{text}", SLOT)
    return build_frame(tokenizer, prompt.instruction, pairs, query, prompt.words, chat)


def build_frame(
    tokenizer: Any,
    instruction: str,
    shots: Sequence[tuple[str, str]],
    query: str,
    answers: Sequence[str],
    chat: Literal["auto", "never"],
) -> PromptFrame:
    """The frame of an item: (query, answer) shots, then `query`, which contains SLOT.

    In a chat template each shot is a turn of the user and one of the model; the instruction opens the first.
    """
    if chat == "auto" and tokenizer.chat_template:
        return _build_chat_frame(tokenizer, instruction, shots, query, answers)
    text, gap = join_prompt(instruction, shots, query)
    before, _, after = text.rpartition(SLOT)
    ends = tuple(gap + answer if answer else "" for answer in answers)
    return PromptFrame(before, after, ends, has_markup=False)


def _build_chat_frame(
    tokenizer: Any, instruction: str, shots: Sequence[tuple[str, str]], query: str, answers: Sequence[str]
) -> PromptFrame:
    strings = special_strings(tokenizer)
    shots = [(escape_special(shot_query, strings), answer) for shot_query, answer in shots]
    turns = chat_turns(instruction, shots, query)
    texts = [answer or PROBE for answer in answers]  # templates drop or refuse an empty turn
    answered = [
        render_chat(tokenizer, [*turns, {"role": "assistant", "content": answer}], False) for answer in texts
    ]
    prompt, notes = open_answer(tokenizer, turns, SLOT, answered, texts)
    before, slot, after = prompt.rpartition(SLOT)
    if not slot:
        problem = "its chat template drops the user's text."
        raise ModelError("tokenizer", problem, do="Set encode.chat: never.")
    continuations, after_answer = [], ""
    for text, answer in zip(answered, texts, strict=True):
        rest = text[len(prompt) :] if text.startswith(prompt) else text[text.rfind(answer) :]
        start = rest.find(answer)
        continuations.append(rest[: start + len(answer)] if start >= 0 else answer)
        after_answer = rest[start + len(answer) :] if start >= 0 else after_answer
    ends = tuple(end if answer else "" for end, answer in zip(continuations, answers, strict=True))
    return PromptFrame(before, after, ends, True, after_answer, notes)


def fit_frame(
    tokenizer: Any,
    family: Family,
    frame: PromptFrame,
    examples: Sequence[Example],
    max_length: int,
    truncate: TruncateSide,
) -> FittedPrompts:
    """The frame around each text. Raises: RecipeError if it does not fit; ModelError for wrong BOS tokens."""
    empty = max(map(len, _encode_all(tokenizer, family, [frame], [""])[0]))
    if empty > max_length:
        raise _no_room(max_length, empty)
    texts = [example.text for example in examples]
    return fit_frames(tokenizer, family, [frame] * len(texts), texts, max_length, truncate)


def _no_room(max_length: int, empty: int) -> RecipeError:
    problem = f"{max_length} tokens are too few: the prompt without its text has {empty}."
    do = f"Set it above {empty}, shorten the prompt, or use fewer shots."
    return RecipeError("encode.max_length", problem, do=do)


def fit_frames(
    tokenizer: Any,
    family: Family,
    frames: Sequence[PromptFrame],
    texts: Sequence[str],
    max_length: int,
    truncate: TruncateSide,
    room: int = 0,
) -> FittedPrompts:
    """A frame around each text, as in `fit_frame`.

    With `room`, that many tokens stay free after the prompt, and the answers may have any length.

    Raises: as `fit_frame`.
    """
    strings = special_strings(tokenizer)
    special = [contains_special(text, strings) for text in texts]
    texts = [
        escape_special(text, strings) if frame.has_markup and is_special else text
        for frame, text, is_special in zip(frames, texts, special, strict=True)
    ]
    ids = _encode_all(tokenizer, family, frames, texts)
    truncated_N = np.zeros(len(texts), dtype=bool)
    fitted = list(texts)

    def length(item: list[list[int]]) -> int:
        return len(item[0]) + room if room else max(map(len, item))

    untruncated_N = np.array([length(item) for item in ids], dtype=np.int64)
    for index, item in enumerate(ids):
        longest, keep = length(item), -1
        while longest > max_length:
            if keep == 0:
                raise _no_room(max_length - room, longest - room)
            if keep < 0:
                keep = len(encode_plain(tokenizer, [texts[index]])[0])
            keep = max(0, keep - (longest - max_length))
            fitted[index] = cut_text(tokenizer, texts[index], keep, truncate)
            ids[index] = item = _encode_all(tokenizer, family, [frames[index]], [fitted[index]])[0]
            longest = length(item)
            truncated_N[index] = True
    if frames:
        _check_bos(tokenizer, family, frames[0], ids)
    counts = {"truncated": int(truncated_N.sum()), "special_text": sum(special)}
    first = frames[0].before + texts[0] + frames[0].after if texts else ""
    return FittedPrompts(ids, untruncated_N, truncated_N, counts, first, fitted)


def _encode_all(
    tokenizer: Any, family: Family, frames: Sequence[PromptFrame], texts: Sequence[str]
) -> list[list[list[int]]]:
    """For each text the ids of prompt, prompt + first answer, ...: each tokenised as one string.

    The frames have the same number of answers, and all of them have markup or none has.
    """
    if not texts:
        return []
    width = 1 + len(frames[0].answers)
    strings = [
        frame.before + text + frame.after + end
        for frame, text in zip(frames, texts, strict=True)
        for end in ("", *frame.answers)
    ]
    if frames[0].has_markup:
        # Special tokens are read as such; those in the texts have been escaped.
        flat = tokenizer(
            strings,
            add_special_tokens=family.kind == "encoder",  # [CLS] and [SEP]; chat templates write their own
            split_special_tokens=False,
            verbose=False,
        )["input_ids"]
    else:
        flat = encode_plain(tokenizer, strings)
    flat = [normalise_bos(ids, tokenizer, family) for ids in flat]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _check_bos(tokenizer: Any, family: Family, frame: PromptFrame, ids: list[list[list[int]]]) -> None:
    bos = tokenizer.bos_token_id
    if family.bos != "one" or bos is None or bos == tokenizer.eos_token_id:
        return
    expected = count_bos_tokens(tokenizer, family)
    count = ids[0][0].count(bos) if ids else expected
    if count != expected:
        raise ModelError(
            "tokenizer",
            f"the prompt has {count} BOS tokens ({tokenizer.bos_token}); the model was trained with "
            f"{expected}.",
            do="Set encode.chat: never, or fix the chat template." if frame.has_markup else "",
        )


def check_words(words: Sequence[str], tokens: Sequence[tuple[int, ...]]) -> None:
    """Refuse labels whose words the model cannot tell apart; `tokens` are the words' ids.

    Raises: RecipeError if two words are the same tokens, or one begins with the other (the longer
    could then never score higher).
    """
    for index, ids in enumerate(tokens):
        if not ids:
            raise RecipeError("label words", f'the word "{words[index]}" adds no token.')
        for longer in range(len(tokens)):
            if longer == index or tokens[longer][: len(ids)] != ids:
                continue
            if tokens[longer] == ids:
                problem = f'"{words[index]}" and "{words[longer]}" are the same tokens.'
            else:
                problem = f'"{words[longer]}" begins with "{words[index]}", so it could never score higher.'
            raise RecipeError("label words", problem, do="Give the labels different words.")


def tokenize_mask_words(tokenizer: Any, frame: PromptFrame, words: Sequence[str]) -> list[int]:
    """The token of each word at the mask. Raises: RecipeError if it is not one token, or not unique."""
    mask = tokenizer.mask_token
    text = frame.before + "it" + frame.after
    masked = tokenizer([text], split_special_tokens=False)["input_ids"][0]
    position = masked.index(tokenizer.mask_token_id)
    rest = masked[:position] + masked[position + 1 :]
    tokens: list[int] = []
    too_long: list[str] = []
    for word in words:
        ids = tokenizer([text.replace(mask, word)], split_special_tokens=False)["input_ids"][0]
        if len(ids) != len(masked) or ids[:position] + ids[position + 1 :] != rest:
            too_long.append(f'"{word}" ({max(1, len(ids) - len(masked) + 1)} tokens)')
        tokens.append(ids[position])
    if too_long:
        problem = f"{', '.join(too_long)} cannot replace the mask."
        allowed = "A word there must be one token of the model's vocabulary."
        raise RecipeError("cloze words", problem, allowed, "Choose shorter or more common words.")
    _check_mask_tokens(words, tokens, tokenizer.unk_token_id)
    return tokens


def _check_mask_tokens(words: Sequence[str], tokens: Sequence[int], unk_token_id: int | None) -> None:
    unknown = [word for word, token in zip(words, tokens, strict=True) if token == unk_token_id]
    if unknown or len(set(tokens)) < len(tokens):
        names = ", ".join(f'"{word}"' for word in unknown or words)
        problem = f"{names}: " + ("not in the vocabulary." if unknown else "two are the same token.")
        raise RecipeError("cloze words", problem, do="Choose different words, all in the model's vocabulary.")
