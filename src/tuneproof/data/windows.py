"""Questions as windows over their contexts, for a head that marks where an answer begins and ends.

In: a tokenizer, a family, questions. Out: ids, where context stands in them, where the gold stands.
Knows nothing of: weights, batches, predictions.

The question stands before the context in every window, so that a causal model has read it. What says
"no answer" is one position, the null slot: the first for an encoder; for a causal model, whose first
position has read nothing, the last, behind the context.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.tokens import (
    IntArray,
    begin_tokens,
    encode_plain,
    holds_special,
    pad_batch,
    special_ids,
    special_strings,
)
from tuneproof.errors import DataError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, Question

if TYPE_CHECKING:
    import torch

LEAST_ROOM = 16  # context tokens that a window must have


@dataclass(frozen=True)
class Around:
    """The tokens around question and context: prefix + question + middle + context + suffix.

    `asked` is the question's text with its words around it, `{question}` once. `types` are the token
    types of the two halves, which a model without them leaves aside. `null_last`: the null slot is the
    last token, else the first.
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    asked: str
    types: tuple[int, int] | None
    null_last: bool


@dataclass(frozen=True)
class Context:
    """A context's T tokens and the characters that each covers, white space at its ends left out."""

    ids: list[int]
    start_T: list[int]
    end_T: list[int]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of the characters start..end, or None where they cover none."""
        first, last = bisect_right(self.end_T, start), bisect_left(self.start_T, end) - 1
        return (first, last) if first <= last else None


@dataclass(frozen=True)
class Window:
    """One window: `first` is the context token that stands at place `at` of the row, `size` how many.

    `gold` are the places in the row of the answer's first and last token, or the null slot twice.
    """

    item: int
    ids: IntArray
    at: int
    first: int
    size: int
    null: int
    gold: tuple[int, int]
    types: IntArray | None


@dataclass(frozen=True)
class Windows:
    """N questions in W windows, question by question; `contexts[n]` are the tokens of its context.

    `tokens_N` counts what the model reads over all windows; `split_N` are questions with several;
    `outside_N` those with golds of which none stands in a window whole.
    """

    windows: list[Window]
    contexts: list[Context]
    tokens_N: IntArray
    split_N: NDArray[np.bool_]
    outside_N: NDArray[np.bool_]

    @property
    def lengths_W(self) -> IntArray:
        """Tokens of every window."""
        return np.array([len(window.ids) for window in self.windows], dtype=np.int64)


def around(tokenizer: Any, family: Family) -> Around:
    """What the tokenizer, or plain words for a causal model, puts around question and context."""
    if family.kind == "decoder":
        begin = (tokenizer.bos_token_id,) * begin_tokens(tokenizer, family)
        end = encode_plain(tokenizer, ["\nAnswer:"])[0]
        return Around(begin, (), tuple(end), "Question: {question}\nContext: ", None, True)
    pair = tokenizer("a", "b", split_special_tokens=True, return_token_type_ids=True)
    ids, sides = pair["input_ids"], pair.sequence_ids(0)
    first, second = sides.index(0), sides.index(1)
    types = pair["token_type_ids"]
    between = first + sides.count(0)
    return Around(
        prefix=tuple(ids[:first]),
        middle=tuple(ids[between:second]),
        suffix=tuple(ids[second + sides.count(1) :]),
        asked="{question}",
        types=(types[first], types[second]),
        null_last=False,
    )


def read_contexts(tokenizer: Any, contexts: Sequence[str]) -> list[Context]:
    """Every context as tokens with their characters; equal ones are read once."""
    unique = list(dict.fromkeys(contexts))
    strings, forbidden = special_strings(tokenizer), special_ids(tokenizer)
    found: dict[str, Context] = {}
    options = {
        "add_special_tokens": False,
        "split_special_tokens": True,
        "verbose": False,
        "return_offsets_mapping": True,
    }
    for start in range(0, len(unique), 1024):
        texts = unique[start : start + 1024]
        encoded = tokenizer(texts, **options)
        for place, text in enumerate(texts):
            ids, offsets = encoded["input_ids"][place], encoded["offset_mapping"][place]
            if holds_special(text, strings) and not forbidden.isdisjoint(ids):
                again = tokenizer([_same_length(text, strings)], **options)
                ids, offsets = again["input_ids"][0], again["offset_mapping"][0]
            found[text] = _context(text, ids, offsets)
    return [found[context] for context in contexts]


def _same_length(text: str, strings: Sequence[str]) -> str:
    """The text with every special token's second character a space: no offset moves."""
    for special in strings:
        text = text.replace(special, f"{special[0]} {special[2:]}")
    return text


def _context(text: str, ids: list[int], offsets: Sequence[tuple[int, int]]) -> Context:
    starts, ends = [], []
    for a, b in offsets:
        while a < b and text[a].isspace():
            a += 1
        while b > a and text[b - 1].isspace():
            b -= 1
        starts.append(a)
        ends.append(b)
    return Context(list(ids), starts, ends)


def encode_windows(
    tokenizer: Any, family: Family, examples: Sequence[Example], max_length: int, stride: int
) -> Windows:
    """Every question in as many windows as its context needs; neighbours share `stride` tokens.

    Raises: DataError where a question leaves too little room for its context.
    """
    frame = around(tokenizer, family)
    asked = [frame.asked.replace("{question}", example.asked.question) for example in examples]
    questions = encode_plain(tokenizer, asked)
    contexts = read_contexts(tokenizer, [example.asked.context for example in examples])
    fixed = len(frame.prefix) + len(frame.middle) + len(frame.suffix)
    windows: list[Window] = []
    count = len(examples)
    tokens_N = np.zeros(count, dtype=np.int64)
    split_N, outside_N = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    for item, example in enumerate(examples):
        room = max_length - fixed - len(questions[item])
        if room < LEAST_ROOM or (room <= stride and len(contexts[item].ids) > room):
            raise DataError(
                f"question {example.id}",
                f"with its {len(questions[item])} tokens leaves {max(0, room)} of {max_length} for "
                f"the context, of which neighbouring windows share {stride}.",
                do="Raise encode.max_length, or lower encode.stride.",
            )
        spans = gold_tokens(example.asked, contexts[item])
        made = _windows_of(item, frame, questions[item], contexts[item], spans, room, stride)
        windows += made
        tokens_N[item] = sum(len(window.ids) for window in made)
        split_N[item] = len(made) > 1
        inside = any(_inside(window, span) for window in made for span in spans)
        outside_N[item] = bool(example.asked.golds) and not inside
    return Windows(windows, contexts, tokens_N, split_N, outside_N)


def gold_tokens(asked: Question, context: Context) -> list[tuple[int, int]]:
    """First and last context token of every gold answer that has a place in the context."""
    spans = (context.span(gold.start, gold.start + len(gold.text)) for gold in asked.golds if gold.start >= 0)
    return [span for span in spans if span is not None]


def _inside(window: Window, span: tuple[int, int]) -> bool:
    return window.first <= span[0] and span[1] < window.first + window.size


def _windows_of(
    item: int,
    frame: Around,
    question: list[int],
    context: Context,
    spans: Sequence[tuple[int, int]],
    room: int,
    stride: int,
) -> list[Window]:
    head = [*frame.prefix, *question, *frame.middle]
    made = []
    first = 0
    while True:
        part = context.ids[first : first + room]
        ids = np.array([*head, *part, *frame.suffix], dtype=np.int64)
        null = len(ids) - 1 if frame.null_last else 0
        types = None
        if frame.types is not None:
            types = np.full(len(ids), frame.types[1], dtype=np.int64)
            types[: len(head)] = frame.types[0]
        window = Window(item, ids, len(head), first, len(part), null, (null, null), types)
        gold = next((span for span in spans if _inside(window, span)), None)
        if gold is not None:
            move = len(head) - first
            window = Window(
                item, ids, len(head), first, len(part), null, (gold[0] + move, gold[1] + move), types
            )
        made.append(window)
        if first + room >= len(context.ids):
            return made
        first += room - stride


def span_text(asked: Question, context: Context, first: int, last: int) -> str:
    """The characters of the context tokens first..last, as the context writes them."""
    return asked.context[context.start_T[first] : context.end_T[last]]


def collate_windows(windows: Sequence[Window], pad_id: int) -> "dict[str, torch.Tensor]":
    """Right-padded rows [B, T]; `allowed` [B, T] where an answer may begin or end, the null slot
    among them; `null`, `start` and `end` [B] are places."""
    import torch  # here, so that windows can be made and audited without it

    batch = pad_batch([window.ids for window in windows], pad_id, "right")
    allowed_BT = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    for row, window in enumerate(windows):
        allowed_BT[row, window.at : window.at + window.size] = True
        allowed_BT[row, window.null] = True
    if windows[0].types is not None:
        types_BT = torch.zeros_like(batch["input_ids"])
        for row, window in enumerate(windows):
            types_BT[row, : len(window.ids)] = torch.as_tensor(window.types)
        batch["token_type_ids"] = types_BT
    return {
        **batch,
        "allowed": allowed_BT,
        "null": torch.tensor([window.null for window in windows]),
        "start": torch.tensor([window.gold[0] for window in windows]),
        "end": torch.tensor([window.gold[1] for window in windows]),
    }
