"""Texts as tokens: plain encoding, truncation, padding, and tokens as people read them.

In: a tokenizer and texts. Out: ids, truncated texts, padded tensors.
Knows nothing of: labels, prompts, models' weights.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import ModelError
from tuneproof.families.family import Family

if TYPE_CHECKING:
    import torch

BRACKETED = re.compile(r"<\S+>|\[\S+\]")
MAX_PROBES = 1000  # tokens of a vocabulary that are tried as texts
IntArray = NDArray[np.int64]
TruncateSide = Literal["end", "start", "middle"]
PLAIN = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}  # of a tokenizer


@dataclass(frozen=True)
class TokenView:
    """A token as a person reads it, and whether the loss counts it."""

    token: str
    supervised: bool


@dataclass(frozen=True)
class _Markup:
    """What only markup may produce: tokens by id, and the strings that are read as such, longest first."""

    tokens: dict[int, str]
    strings: tuple[str, ...]


# Thousands of added tokens take longer to read than a short text takes in a model, so each tokenizer's are
# read once, and again where its vocabulary, chat template or special tokens have changed.
_MARKUP: WeakKeyDictionary[Any, tuple[tuple[Any, ...], _Markup]] = WeakKeyDictionary()


def _markup_of(tokenizer: Any) -> _Markup:
    version = len(tokenizer), str(tokenizer.chat_template or ""), tuple(tokenizer.all_special_tokens)
    cached = _MARKUP.get(tokenizer)
    if cached is None or cached[0] != version:
        cached = _MARKUP[tokenizer] = version, _read_markup(tokenizer)
    return cached[1]


def _read_markup(tokenizer: Any) -> _Markup:
    """The added tokens that are special, or that the chat template writes and that look like tags.

    Some models do not mark the tags of their turns as special. Runs of spaces and words are not markup.
    """
    template = str(tokenizer.chat_template or "")
    tokens = {
        i: str(token)
        for i, token in tokenizer.added_tokens_decoder.items()
        if token.special or (str(token) in template and BRACKETED.fullmatch(str(token)))
    }
    strings = filter(_break_up, {*tokens.values(), *tokenizer.all_special_tokens})
    return _Markup(tokens, tuple(sorted(strings, key=lambda token: (-len(token), token))))


def special_strings(tokenizer: Any) -> tuple[str, ...]:
    """The strings that the tokenizer reads as special tokens or as tags of a turn, longest first.

    Not those that no space breaks up, such as the ! that pads in CLIP: in a text they are text.
    """
    return _markup_of(tokenizer).strings


def _break_up(special: str) -> str:
    """The string with the first inserted space by which it no longer contains itself; empty: none does."""
    broken = (f"{special[:at]} {special[at:]}" for at in range(1, len(special)))
    return next((text for text in broken if special not in text), "")


def contains_special(text: str, specials: Sequence[str]) -> bool:
    """Whether a text contains the string of a special token, such as </s> or [MASK]."""
    first_characters = _first_characters(tuple(specials))  # few texts hold one, some vocabularies thousands
    return any(character in text for character in first_characters) and any(
        special in text for special in specials
    )


@lru_cache(maxsize=8)
def _first_characters(specials: tuple[str, ...]) -> str:
    return "".join({special[0] for special in specials if special})


def escape_special(text: str, specials: Sequence[str]) -> str:
    """Insert a space into every special token's string, so that it is read as text."""
    while contains_special(text, specials):
        for special in specials:
            text = text.replace(special, _break_up(special))
    return text


def escape_in_place(text: str, specials: Sequence[str]) -> str:
    """As `escape_special`, with a space in place of a character, so that no offset moves."""
    while contains_special(text, specials):
        for special in specials:
            at = next(index for index in range(1, len(special)) if special[index] != " ")
            text = text.replace(special, f"{special[:at]} {special[at + 1 :]}")
    return text


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids that only markup may produce: those of special tokens, except the unknown token."""
    ids = {*_markup_of(tokenizer).tokens, *tokenizer.all_special_ids}
    return frozenset(ids - {tokenizer.unk_token_id})


def encode_plain(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Ids of the texts without added tokens; what looks like a special token is plain text."""
    if not texts:
        return []
    ids = tokenizer(list(texts), **PLAIN)["input_ids"]
    strings, forbidden = special_strings(tokenizer), special_ids(tokenizer)
    for index, text in enumerate(texts):
        # If the vocabulary contains the string itself (unigram models), it has to be broken up.
        if contains_special(text, strings) and not forbidden.isdisjoint(ids[index]):
            ids[index] = tokenizer([escape_special(text, strings)], **PLAIN)["input_ids"][0]
    return ids


def unknown_id(tokenizer: Any) -> int:
    """The token of what the vocabulary does not hold; -1: there is none."""
    if tokenizer.unk_token_id is not None:
        return int(tokenizer.unk_token_id)
    model = tokenizer.backend_tokenizer.model
    token = getattr(model, "unk_token", None)
    unknown = getattr(model, "unk_id", None) if token is None else model.token_to_id(token)
    return -1 if unknown is None else int(unknown)


def readable_text(tokenizer: Any) -> str:
    """A short text that gives tokens: "a", or the first of the vocabulary's own.

    Raises: ModelError where no token of the vocabulary is ever read.
    """
    own = (tokenizer.convert_ids_to_tokens(i) for i in range(min(MAX_PROBES, len(tokenizer))))
    for text in chain(("a", "A", "1"), filter(None, own)):
        if tokenizer([text], **PLAIN)["input_ids"][0]:
            return str(text)
    problem = "it makes no token of any text, not even of its own tokens."
    raise ModelError("tokenizer", problem, do="Save the model's own tokenizer into its folder.")


def tokens_around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text. Raises: as `readable_text`."""
    text = [readable_text(tokenizer)]
    encoded = tokenizer(text, split_special_tokens=True, return_special_tokens_mask=True)
    ids, marks = encoded["input_ids"][0], encoded["special_tokens_mask"][0]
    return ids[: marks.index(0)], ids[len(marks) - marks[::-1].index(0) :]


def count_bos_tokens(tokenizer: Any, family: Family) -> int:
    """How many BOS tokens an input must have: one or none."""
    if tokenizer.bos_token_id is None:
        return 0
    if family.bos == "one":
        return 1
    return int(tokenizer.bos_token_id in tokenizer("a")["input_ids"][:1])


def normalise_bos(ids: list[int], tokenizer: Any, family: Family) -> list[int]:
    """The ids with exactly as many leading BOS tokens as the model was trained with."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    start = 0
    while start < len(ids) and ids[start] == bos:
        start += 1
    expected = count_bos_tokens(tokenizer, family)
    return ids if start == expected else [bos] * expected + ids[start:]


def slices_to_keep(length: int, keep: int, side: TruncateSide) -> tuple[slice, slice]:
    """Head and tail that remain of `length` tokens. Source: Sun et al. 2019, arXiv:1905.05583, 5.3.1."""
    if keep >= length:
        return slice(0, length), slice(length, length)
    head = {"end": keep, "start": 0, "middle": keep // 4}[side]
    return slice(0, head), slice(length - (keep - head), length)


def cut_text(tokenizer: Any, text: str, keep: int, side: TruncateSide) -> str:
    """The text truncated to about `keep` of its tokens, at the characters where the tokens end."""
    if keep <= 0:
        return ""
    offsets = tokenizer([text], **PLAIN, return_offsets_mapping=True)["offset_mapping"][0]
    if keep >= len(offsets):
        return text
    head, tail = slices_to_keep(len(offsets), keep, side)
    first = text[: offsets[head.stop - 1][1]] if head.stop > head.start else ""
    last = text[offsets[tail.start][0] :] if tail.stop > tail.start else ""
    return f"{first} {last}" if first and last else first or last


def pad_batch(ids: Sequence[Any], pad_id: int, side: Literal["left", "right"]) -> "dict[str, torch.Tensor]":
    """Rows of different lengths as one batch: input_ids, attention_mask, position_ids, all [B, T].

    Positions count real tokens from 0 on either side; on padding they are 0.
    """
    import torch  # here, so that texts can be encoded and audited without it

    longest = max(len(row) for row in ids)
    input_ids_BT = torch.full((len(ids), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(ids), longest), dtype=torch.long)
    for index, row in enumerate(ids):
        columns = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        input_ids_BT[index, columns] = torch.as_tensor(row, dtype=torch.long)
        mask_BT[index, columns] = 1
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0) * mask_BT
    return {"input_ids": input_ids_BT, "attention_mask": mask_BT, "position_ids": positions_BT}


def show_tokens(
    tokenizer: Any, ids: Sequence[int], supervised: Sequence[bool] | None = None
) -> list[TokenView]:
    """Each token as a string, with spaces and line ends visible, and whether the loss counts it."""
    marks = [False] * len(ids) if supervised is None else [bool(mark) for mark in supervised]
    pieces = tokenizer.convert_ids_to_tokens([int(i) for i in ids])
    return [TokenView(str(piece), mark) for piece, mark in zip(pieces, marks, strict=True)]
