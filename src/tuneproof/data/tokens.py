"""Texts as tokens: plain encoding, cutting, padding, and a view of it for people.

In: a tokenizer and texts. Out: ids, shorter texts, padded tensors.
Knows nothing of: labels, prompts, models' weights.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.families.family import Family

if TYPE_CHECKING:
    import torch

BRACKETED = re.compile(r"<\S+>|\[\S+\]")
IntArray = NDArray[np.int64]
Cut = Literal["end", "start", "middle"]


@dataclass(frozen=True)
class ShownToken:
    """A token as a person reads it, and whether the loss sees it."""

    token: str
    supervised: bool


def _added(tokenizer: Any) -> tuple[tuple[int, str, bool], ...]:
    """Every added token: id, string, whether it is called special."""
    return tuple((i, str(t), t.special) for i, t in tokenizer.added_tokens_decoder.items())


@lru_cache(maxsize=8)
def _markup(added: tuple[tuple[int, str, bool], ...], template: str) -> dict[int, str]:
    """The added tokens that are special, or are brackets that the chat template writes all the same.

    Some models call the marks of their turns ordinary tokens; runs of spaces and words are ordinary.
    """
    return {
        i: token
        for i, token, special in added
        if special or (token in template and BRACKETED.fullmatch(token))
    }


def _markup_of(tokenizer: Any) -> dict[int, str]:
    template = tokenizer.chat_template or ""
    return _markup(_added(tokenizer), str(template))


def special_strings(tokenizer: Any) -> tuple[str, ...]:
    """The strings that the tokenizer would read as special tokens or as a turn's marks, longest first."""
    found = {*_markup_of(tokenizer).values(), *tokenizer.all_special_tokens}
    return tuple(sorted(found, key=lambda token: (-len(token), token)))


def holds_special(text: str, specials: Sequence[str]) -> bool:
    """Whether a text holds the string of a special token, such as </s> or [MASK]."""
    return any(special in text for special in specials)


def defuse(text: str, specials: Sequence[str]) -> str:
    """The text with a space put into every special token's string, so that it is read as text."""
    while holds_special(text, specials):
        for special in specials:
            text = text.replace(special, f"{special[0]} {special[1:]}")
    return text


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that only markup may produce: every special token's but the unknown one's."""
    ids = {*_markup_of(tokenizer), *tokenizer.all_special_ids}
    return frozenset(ids - {tokenizer.unk_token_id})


def encode_plain(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of the texts alone, no token added; what looks like a special token is plain text."""
    if not texts:
        return []
    encode = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    ids = tokenizer(list(texts), **encode)["input_ids"]
    strings, forbidden = special_strings(tokenizer), special_ids(tokenizer)
    for index, text in enumerate(texts):
        # A vocabulary that holds the string itself (unigram models) needs it taken apart.
        if holds_special(text, strings) and not forbidden.isdisjoint(ids[index]):
            ids[index] = tokenizer([defuse(text, strings)], **encode)["input_ids"][0]
    return ids


def begin_tokens(tokenizer: Any, family: Family) -> int:
    """How many begin tokens an input must have: one or none."""
    if tokenizer.bos_token_id is None:
        return 0
    if family.bos == "one":
        return 1
    return int(tokenizer.bos_token_id in tokenizer("a")["input_ids"][:1])


def begin_once(ids: list[int], tokenizer: Any, family: Family) -> list[int]:
    """The ids with exactly as many leading begin tokens as the model was trained with."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    wanted = begin_tokens(tokenizer, family)
    return ids if start == wanted else [bos] * wanted + ids[start:]


def keep_of(length: int, keep: int, where: Cut) -> tuple[slice, slice]:
    """Which of `length` tokens stay when `keep` of them may: a head and a tail.

    Source: Sun et al. 2019, arXiv:1905.05583, section 5.3.1 (head and tail; here a quarter and
    three quarters).
    """
    if keep >= length:
        return slice(0, length), slice(length, length)
    head = {"end": keep, "start": 0, "middle": keep // 4}[where]
    return slice(0, head), slice(length - (keep - head), length)


def cut_text(tokenizer: Any, text: str, keep: int, where: Cut) -> str:
    """The text cut to about `keep` of its tokens, at the characters where the tokens end."""
    if keep <= 0:
        return ""
    encoded = tokenizer(
        [text],
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )
    offsets = encoded["offset_mapping"][0]
    if keep >= len(offsets):
        return text
    head, tail = keep_of(len(offsets), keep, where)
    first = text[: offsets[head.stop - 1][1]] if head.stop > head.start else ""
    last = text[offsets[tail.start][0] :] if tail.stop > tail.start else ""
    return f"{first} {last}" if first and last else first or last


def pad_batch(ids: Sequence[Any], pad_id: int, side: Literal["left", "right"]) -> "dict[str, torch.Tensor]":
    """Rows of different lengths as one batch: input_ids, attention_mask, position_ids, all [B, T].

    Positions count real tokens from 0 on either side; on padding they are 0.
    """
    import torch  # here, so that a text can be encoded and audited without it

    longest = max(len(row) for row in ids)
    input_ids_BT = torch.full((len(ids), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(ids), longest), dtype=torch.long)
    for index, row in enumerate(ids):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        input_ids_BT[index, place] = torch.as_tensor(row, dtype=torch.long)
        mask_BT[index, place] = 1
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0) * mask_BT
    return {"input_ids": input_ids_BT, "attention_mask": mask_BT, "position_ids": positions_BT}


def show_tokens(
    tokenizer: Any, ids: Sequence[int], supervised: Sequence[bool] | None = None
) -> list[ShownToken]:
    """Each token as a string, with spaces and line ends visible, and whether the loss sees it."""
    marks = [False] * len(ids) if supervised is None else [bool(mark) for mark in supervised]
    pieces = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    return [ShownToken(str(piece), mark) for piece, mark in zip(pieces, marks, strict=True)]
