"""The words around a text, put together once, and a text cut until the whole fits.

In: a tokenizer, the words of a prompt, shots. Out: ids of prompt and prompt with answer, counts.
Knows nothing of: labels of items, weights, predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
    """What stands before and after the text, how each label goes on, whether it holds markup."""

    before: str
    after: str
    answers: tuple[str, ...]
    markup: bool


@dataclass(frozen=True)
class Fitted:
    """N items: `ids[n]` are the ids of the prompt and of the prompt with each answer after it."""

    ids: list[list[list[int]]]
    truncated_N: NDArray[np.bool_]
    counts: dict[str, int]
    first: str


def prompt_frame(
    tokenizer: Any, prompt: Prompt, shots: Sequence[Example], chat: Literal["auto", "never"]
) -> Frame:
    """Instruction, shots and template, through the chat template where there is one and it may be used.

    With a chat template each shot is a turn of the user and one of the model; the instruction
    opens the first.
    """
    if chat == "auto" and tokenizer.chat_template:
        return _chat_frame(tokenizer, prompt, shots)
    asked = prompt.template.rstrip(" ")
    gap = "" if asked.endswith("\n") else " "
    blocks = [prompt.instruction] if prompt.instruction else []
    blocks += [
        asked.replace("{text}", shot.text) + gap + prompt.words[shot.label] for shot in shots
    ]
    before, _, after = BETWEEN.join([*blocks, asked.replace("{text}", SLOT)]).rpartition(SLOT)
    return Frame(before, after, tuple(gap + word for word in prompt.words), markup=False)


def _chat_frame(tokenizer: Any, prompt: Prompt, shots: Sequence[Example]) -> Frame:
    strings = special_strings(tokenizer)
    asked = [prompt.template.replace("{text}", defuse(shot.text, strings)) for shot in shots]
    asked.append(prompt.template.replace("{text}", SLOT))
    if prompt.instruction:
        asked[0] = f"{prompt.instruction}{BETWEEN}{asked[0]}"
    turns = []
    for shot, question in zip(shots, asked[:-1], strict=True):
        turns.append({"role": "user", "content": question})
        turns.append({"role": "assistant", "content": prompt.words[shot.label]})
    turns.append({"role": "user", "content": asked[-1]})
    whole = _render(tokenizer, turns, answer_follows=True)
    before, slot, after = whole.rpartition(SLOT)
    if not slot:
        raise ModelError(
            "tokenizer", "its chat template drops the user's text.", do="Set encode.chat: never."
        )
    answers = []
    for word in prompt.words:
        told = _render(tokenizer, [*turns, {"role": "assistant", "content": word}], False)
        rest = told[len(whole) :] if told.startswith(whole) else ""
        place = rest.find(word)
        answers.append(rest[: place + len(word)] if place >= 0 else word)
    return Frame(before, after, tuple(answers), markup=True)


def _render(tokenizer: Any, turns: list[dict[str, str]], answer_follows: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answer_follows
            )
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise ModelError(
            "tokenizer", f"its chat template failed: {error}.", do="Set encode.chat: never."
        ) from None


def fit_frame(
    tokenizer: Any,
    family: Family,
    frame: Frame,
    examples: Sequence[Example],
    max_length: int,
    truncate: Cut,
) -> Fitted:
    """The frame around every text, with and without each answer, in at most `max_length` tokens.

    Raises: RecipeError where the frame alone does not fit; ModelError where the begin token is
    not there exactly as often as it should be.
    """
    strings = special_strings(tokenizer)
    empty = max(map(len, _encode_all(tokenizer, family, frame, [""])[0]))
    if empty > max_length:
        raise RecipeError(
            "encode.max_length",
            f"{max_length} tokens, but the prompt without its text already has {empty}.",
            do=f"Raise it to more than {empty}, shorten the prompt, or use fewer shots.",
        )
    special = [holds_special(example.text, strings) for example in examples]
    texts = [
        defuse(example.text, strings) if frame.markup and held else example.text
        for example, held in zip(examples, special, strict=True)
    ]
    ids = _encode_all(tokenizer, family, frame, texts)
    truncated_N = np.zeros(len(texts), dtype=bool)
    for index, item in enumerate(ids):
        longest = max(map(len, item))
        keep = -1
        while longest > max_length:
            if keep < 0:
                keep = len(encode_plain(tokenizer, [texts[index]])[0])
            keep = max(0, keep - (longest - max_length))
            short = cut_text(tokenizer, texts[index], keep, truncate)
            ids[index] = item = _encode_all(tokenizer, family, frame, [short])[0]
            longest = max(map(len, item))
            truncated_N[index] = True
    _check_begin(tokenizer, family, frame, ids)
    counts = {"truncated": int(truncated_N.sum()), "special_text": sum(special)}
    first = frame.before + texts[0] + frame.after if texts else ""
    return Fitted(ids, truncated_N, counts, first)


def _encode_all(
    tokenizer: Any, family: Family, frame: Frame, texts: Sequence[str]
) -> list[list[list[int]]]:
    """For each text the ids of prompt, prompt + first answer, ...: each tokenised as one string."""
    if not texts:
        return []
    asked = [frame.before + text + frame.after for text in texts]
    ends = ("", *frame.answers)
    strings = [whole + end for whole in asked for end in ends]
    if frame.markup:
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
    return [flat[start : start + len(ends)] for start in range(0, len(flat), len(ends))]


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
                found = (
                    f'"{words[place]}" begins "{words[other]}", so the longer could never score '
                    "higher."
                )
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
        if len(ids) != len(asked) or ids[:place] + ids[place + 1 :] != (
            asked[:place] + asked[place + 1 :]
        ):
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
