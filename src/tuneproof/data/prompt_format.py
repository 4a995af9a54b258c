"""The words around a text, put together once, and a text cut until the whole fits.

In: a tokenizer, the words of a prompt, shots. Out: ids of prompt and prompt with answer, counts.
Knows nothing of: labels of items, weights, predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.chat import fill_in
from tuneproof.data.tokens import (
    Cut,
    begin_once,
    begin_tokens,
    cut_text,
    defuse,
    encode_plain,
    holds_special,
    special_strings,
)
from tuneproof.errors import ModelError, RecipeError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, Prompt

SLOT = "\ue000text\ue000"  # stands for the text while the words around it are put together
BETWEEN = "\n\n"  # between instruction, shots and item


@dataclass(frozen=True)
class Frame:
    """What stands before and after the text, how each answer goes on, whether it holds markup.

    `tail` is what a chat template puts behind an answer.
    """

    before: str
    after: str
    answers: tuple[str, ...]
    markup: bool
    tail: str = ""


@dataclass(frozen=True)
class Fitted:
    """N items: `ids[n]` are the ids of the prompt and of the prompt with each answer after it.

    `kept` are the texts after cutting.
    """

    ids: list[list[list[int]]]
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    first: str
    kept: list[str]


def prompt_frame(
    tokenizer: Any, prompt: Prompt, shots: Sequence[Example], chat: Literal["auto", "never"]
) -> Frame:
    """Instruction, shots and template, through the chat template where there is one and it may be used."""
    told = [(prompt.template.replace("{text}", shot.text), prompt.words[shot.label]) for shot in shots]
    asked = prompt.template.replace("{text}", SLOT)
    return build_frame(tokenizer, prompt.instruction, told, asked, prompt.words, chat)


def build_frame(
    tokenizer: Any,
    instruction: str,
    shots: Sequence[tuple[str, str]],
    asked: str,
    answers: Sequence[str],
    chat: Literal["auto", "never"],
) -> Frame:
    """The frame of an item that is asked by `asked`, which holds SLOT, after (asked, answer) shots.

    With a chat template each shot is a turn of the user and one of the model; the instruction
    opens the first.
    """
    if chat == "auto" and tokenizer.chat_template:
        return _chat_frame(tokenizer, instruction, shots, asked, answers)
    asked = asked.rstrip(" ")
    gap = "" if asked.endswith("\n") else " "
    blocks = [instruction] if instruction else []
    blocks += [question.rstrip(" ") + gap + answer for question, answer in shots]
    before, _, after = BETWEEN.join([*blocks, asked]).rpartition(SLOT)
    return Frame(before, after, tuple(gap + answer for answer in answers), markup=False)


def _chat_frame(
    tokenizer: Any, instruction: str, shots: Sequence[tuple[str, str]], asked: str, answers: Sequence[str]
) -> Frame:
    strings = special_strings(tokenizer)
    questions = [*(defuse(question, strings) for question, _ in shots), asked]
    if instruction:
        questions[0] = f"{instruction}{BETWEEN}{questions[0]}"
    turns = []
    for question, (_, answer) in zip(questions[:-1], shots, strict=True):
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": answer})
    turns.append({"role": "user", "content": questions[-1]})
    whole = fill_in(tokenizer, turns, answer_follows=True)
    before, slot, after = whole.rpartition(SLOT)
    if not slot:
        raise ModelError(
            "tokenizer", "its chat template drops the user's text.", do="Set encode.chat: never."
        )
    ways, tail = [], ""
    for answer in answers:
        told = fill_in(tokenizer, [*turns, {"role": "assistant", "content": answer}], False)
        rest = told[len(whole) :] if told.startswith(whole) else ""
        place = rest.find(answer)
        ways.append(rest[: place + len(answer)] if place >= 0 else answer)
        tail = rest[place + len(answer) :] if place >= 0 else tail
    return Frame(before, after, tuple(ways), markup=True, tail=tail)


def fit_frame(
    tokenizer: Any, family: Family, frame: Frame, examples: Sequence[Example], max_length: int, truncate: Cut
) -> Fitted:
    """The frame around every text, with and without each answer, in at most `max_length` tokens.

    Raises: RecipeError where the frame alone does not fit; ModelError where the begin token is
    not there exactly as often as it should be.
    """
    empty = max(map(len, _encode_all(tokenizer, family, [frame], [""])[0]))
    if empty > max_length:
        raise _no_room(max_length, empty)
    texts = [example.text for example in examples]
    return fit_frames(tokenizer, family, [frame] * len(texts), texts, max_length, truncate)


def _no_room(max_length: int, empty: int) -> RecipeError:
    return RecipeError(
        "encode.max_length",
        f"{max_length} tokens, but the prompt without its text already has {empty}.",
        do=f"Raise it to more than {empty}, shorten the prompt, or use fewer shots.",
    )


def fit_frames(
    tokenizer: Any,
    family: Family,
    frames: Sequence[Frame],
    texts: Sequence[str],
    max_length: int,
    truncate: Cut,
    room: int = 0,
) -> Fitted:
    """A frame around each text, as `fit_frame` does; `room` tokens are kept free behind the prompt
    alone, and the answers may then be of any length.

    Raises: as `fit_frame`.
    """
    strings = special_strings(tokenizer)
    special = [holds_special(text, strings) for text in texts]
    texts = [
        defuse(text, strings) if frame.markup and held else text
        for frame, text, held in zip(frames, texts, special, strict=True)
    ]
    ids = _encode_all(tokenizer, family, frames, texts)
    truncated_N = np.zeros(len(texts), dtype=bool)
    kept = list(texts)

    def length(item: list[list[int]]) -> int:
        return len(item[0]) + room if room else max(map(len, item))

    for index, item in enumerate(ids):
        longest, keep = length(item), -1
        while longest > max_length:
            if keep == 0:
                raise _no_room(max_length - room, longest - room)
            if keep < 0:
                keep = len(encode_plain(tokenizer, [texts[index]])[0])
            keep = max(0, keep - (longest - max_length))
            kept[index] = cut_text(tokenizer, texts[index], keep, truncate)
            ids[index] = item = _encode_all(tokenizer, family, [frames[index]], [kept[index]])[0]
            longest = length(item)
            truncated_N[index] = True
    if frames:
        _check_begin(tokenizer, family, frames[0], ids)
    counts = {"truncated": int(truncated_N.sum()), "special_text": sum(special)}
    first = frames[0].before + texts[0] + frames[0].after if texts else ""
    return Fitted(ids, truncated_N, counts, first, kept)


def _encode_all(
    tokenizer: Any, family: Family, frames: Sequence[Frame], texts: Sequence[str]
) -> list[list[list[int]]]:
    """For each text the ids of prompt, prompt + first answer, ...: each tokenised as one string.

    The frames have equally many answers, and all of them hold markup or none does.
    """
    if not texts:
        return []
    width = 1 + len(frames[0].answers)
    strings = [
        frame.before + text + frame.after + end
        for frame, text in zip(frames, texts, strict=True)
        for end in ("", *frame.answers)
    ]
    if frames[0].markup:
        # Markup is read as special tokens; the texts in it have been defused.
        flat = tokenizer(
            strings,
            add_special_tokens=family.kind == "encoder",  # [CLS] and [SEP]; templates bring theirs
            split_special_tokens=False,
            verbose=False,
        )["input_ids"]
    else:
        flat = encode_plain(tokenizer, strings)
    flat = [begin_once(ids, tokenizer, family) for ids in flat]
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _check_begin(tokenizer: Any, family: Family, frame: Frame, ids: list[list[list[int]]]) -> None:
    bos = tokenizer.bos_token_id
    if family.bos != "one" or bos is None or bos == tokenizer.eos_token_id:
        return
    wanted = begin_tokens(tokenizer, family)
    for item in ids[:1]:
        found = item[0].count(bos)
        if found != wanted:
            raise ModelError(
                "tokenizer",
                f"the prompt has {found} begin tokens ({tokenizer.bos_token}); the model was "
                f"trained with {wanted}.",
                do="Set encode.chat: never, or mend the chat template." if frame.markup else "",
            )


def check_words(words: Sequence[str], ways: Sequence[tuple[int, ...]]) -> None:
    """Refuse labels whose words the model cannot tell apart.

    Raises: RecipeError where two ways to go on are the same tokens, or one begins the other (the
    longer could then never score higher).
    """
    for place, way in enumerate(ways):
        if not way:
            raise RecipeError("label words", f'the word "{words[place]}" adds no token.')
        for other in range(len(ways)):
            if other == place or ways[other][: len(way)] != way:
                continue
            if ways[other] == way:
                found = f'"{words[place]}" and "{words[other]}" are the same tokens.'
            else:
                found = f'"{words[place]}" begins "{words[other]}", so the longer could never score higher.'
            raise RecipeError("label words", found, do="Give the labels words that differ.")


def mask_words(tokenizer: Any, frame: Frame, words: Sequence[str]) -> list[int]:
    """The token that each word is at the mask, tokenised together with the words around it.

    Raises: RecipeError where a word is more than one token there, or two are the same one.
    """
    mask = tokenizer.mask_token
    whole = frame.before + "it" + frame.after
    asked = tokenizer([whole], split_special_tokens=False)["input_ids"][0]
    place = asked.index(tokenizer.mask_token_id)
    found: list[int] = []
    several: list[str] = []
    for word in words:
        filled = whole.replace(mask, word)
        ids = tokenizer([filled], split_special_tokens=False)["input_ids"][0]
        if len(ids) != len(asked) or ids[:place] + ids[place + 1 :] != (asked[:place] + asked[place + 1 :]):
            several.append(f'"{word}" ({max(1, len(ids) - len(asked) + 1)} tokens)')
        found.append(ids[place])
    if several:
        raise RecipeError(
            "cloze words",
            f"{', '.join(several)} cannot stand at the mask.",
            "A word there must be one token of the model's vocabulary.",
            "Choose shorter or more common words.",
        )
    unknown = [w for w, i in zip(words, found, strict=True) if i == tokenizer.unk_token_id]
    if unknown or len(set(found)) < len(found):
        shown = ", ".join(f'"{word}"' for word in unknown or words)
        raise RecipeError(
            "cloze words",
            f"{shown}: " + ("not in the vocabulary." if unknown else "two are the same token."),
            do="Choose words that the model's vocabulary holds and that differ.",
        )
    return found
