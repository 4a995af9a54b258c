"""Questions as windows over their contexts, for a head that marks where an answer begins and ends.

In: a tokenizer, a family, questions. Out: ids, the positions of context and gold answer in them.
Knows nothing of: weights, batches, predictions.

Every window starts with the question, so that a causal model has read it. One position, the null
position, means "no answer": the first for an encoder; for a causal model, whose first position has
read nothing, the last, behind the context.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data import tokens
from tuneproof.data.tokens import IntArray
from tuneproof.errors import DataError
from tuneproof.families.family import Family
from tuneproof.tasks.task import Example, Question

if TYPE_CHECKING:
    import torch

MIN_CONTEXT_TOKENS = 16  # of a window


@dataclass(frozen=True)
class WindowTemplate:
    """The tokens of a window: prefix + question + middle + context + suffix.

    `question_template` holds `{question}` once. `token_types` are those of question and context, None
    for a model without them. `null_is_last`: the null position is the last token, else the first.
    """

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    question_template: str
    token_types: tuple[int, int] | None
    null_is_last: bool


@dataclass(frozen=True)
class Context:
    """A context's T tokens and the characters that each covers, without white space at its ends."""

    ids: list[int]
    start_T: list[int]
    end_T: list[int]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last token of the characters start..end, or None if no token covers them."""
        first, last = bisect_right(self.end_T, start), bisect_left(self.start_T, end) - 1
        return (first, last) if first <= last else None


@dataclass(frozen=True)
class Window:
    """One window: context tokens from `first_token` on, at row positions from `context_start` on.

    `item` is the question's index. `gold_positions` are the row positions of the answer's first and
    last token, or the null position twice.
    """

    item: int
    ids: IntArray
    context_start: int
    first_token: int
    context_length: int
    null_position: int
    gold_positions: tuple[int, int]
    token_types: IntArray | None


@dataclass(frozen=True)
class EncodedWindows:
    """N questions in W windows, question by question; `contexts[n]` are the tokens of its context.

    `tokens_N` counts what the model reads in all windows; `split_N`: the question has several;
    `outside_N`: it has gold answers, but no window contains one completely.
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


def build_window_template(tokenizer: Any, family: Family) -> WindowTemplate:
    """The tokenizer's own tokens around question and context; for a causal model, plain words."""
    if family.kind == "decoder":
        begin = (tokenizer.bos_token_id,) * tokens.count_bos_tokens(tokenizer, family)
        end = tokens.encode_plain(tokenizer, ["\nAnswer:"])[0]
        return WindowTemplate(begin, (), tuple(end), "Question: {question}\nContext: ", None, True)
    text = tokens.readable_text(tokenizer)
    pair = tokenizer(text, text, split_special_tokens=True, return_token_type_ids=True)
    ids, sides = pair["input_ids"], pair.sequence_ids(0)
    first, second = sides.index(0), sides.index(1)
    types = pair["token_type_ids"]
    between = first + sides.count(0)
    prefix, middle, suffix = ids[:first], ids[between:second], ids[second + sides.count(1) :]
    token_types = (types[first], types[second])
    return WindowTemplate(tuple(prefix), tuple(middle), tuple(suffix), "{question}", token_types, False)


def encode_contexts(tokenizer: Any, contexts: Sequence[str]) -> list[Context]:
    """Every context as tokens with their characters; equal contexts are tokenised once."""
    unique = list(dict.fromkeys(contexts))
    strings, forbidden = tokens.special_strings(tokenizer), tokens.special_ids(tokenizer)
    encoded_contexts: dict[str, Context] = {}
    options = {**tokens.PLAIN, "return_offsets_mapping": True}
    for start in range(0, len(unique), 1024):
        texts = unique[start : start + 1024]
        encoded = tokenizer(texts, **options)
        for row, text in enumerate(texts):
            ids, offsets = encoded["input_ids"][row], encoded["offset_mapping"][row]
            if tokens.contains_special(text, strings) and not forbidden.isdisjoint(ids):
                escaped = tokenizer([tokens.escape_in_place(text, strings)], **options)
                ids, offsets = escaped["input_ids"][0], escaped["offset_mapping"][0]
            encoded_contexts[text] = _build_context(text, ids, offsets)
    return [encoded_contexts[context] for context in contexts]


def _build_context(text: str, ids: list[int], offsets: Sequence[tuple[int, int]]) -> Context:
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
) -> EncodedWindows:
    """Every question's windows, overlapping by `stride` tokens. Raises: DataError if one has no room."""
    template = build_window_template(tokenizer, family)
    texts = [
        template.question_template.replace("{question}", example.required_question.question)
        for example in examples
    ]
    questions = tokens.encode_plain(tokenizer, texts)
    contexts = encode_contexts(tokenizer, [example.required_question.context for example in examples])
    fixed = len(template.prefix) + len(template.middle) + len(template.suffix)
    windows: list[Window] = []
    count = len(examples)
    tokens_N = np.zeros(count, dtype=np.int64)
    split_N, outside_N = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    for item, example in enumerate(examples):
        room = max_length - fixed - len(questions[item])
        if room < MIN_CONTEXT_TOKENS or (room <= stride and len(contexts[item].ids) > room):
            raise DataError(
                f"question {example.id}",
                f"has {len(questions[item])} tokens, which leaves {max(0, room)} of {max_length} for "
                f"the context; neighbouring windows share {stride}.",
                do="Raise encode.max_length, or lower encode.stride.",
            )
        spans = gold_tokens(example.required_question, contexts[item])
        item_windows = _split_context(item, template, questions[item], contexts[item], spans, room, stride)
        windows += item_windows
        tokens_N[item] = sum(len(window.ids) for window in item_windows)
        split_N[item] = len(item_windows) > 1
        is_inside = any(_contains(window, span) for window in item_windows for span in spans)
        outside_N[item] = bool(example.required_question.golds) and not is_inside
    return EncodedWindows(windows, contexts, tokens_N, split_N, outside_N)


def gold_tokens(question: Question, context: Context) -> list[tuple[int, int]]:
    """First and last context token of every gold answer that the context contains."""
    golds = (gold for gold in question.golds if gold.start >= 0)
    spans = (context.span(gold.start, gold.start + len(gold.text)) for gold in golds)
    return [span for span in spans if span is not None]


def _contains(window: Window, span: tuple[int, int]) -> bool:
    return window.first_token <= span[0] and span[1] < window.first_token + window.context_length


def _split_context(
    item: int,
    template: WindowTemplate,
    question: list[int],
    context: Context,
    spans: Sequence[tuple[int, int]],
    room: int,
    stride: int,
) -> list[Window]:
    head = [*template.prefix, *question, *template.middle]
    windows = []
    first = 0
    while True:
        part = context.ids[first : first + room]
        ids = np.array([*head, *part, *template.suffix], dtype=np.int64)
        null = len(ids) - 1 if template.null_is_last else 0
        types = None
        if template.token_types is not None:
            types = np.full(len(ids), template.token_types[1], dtype=np.int64)
            types[: len(head)] = template.token_types[0]
        window = Window(item, ids, len(head), first, len(part), null, (null, null), types)
        gold = next((span for span in spans if _contains(window, span)), None)
        if gold is not None:
            shift = len(head) - first
            window = replace(window, gold_positions=(gold[0] + shift, gold[1] + shift))
        windows.append(window)
        if first + room >= len(context.ids):
            return windows
        first += room - stride


def span_text(question: Question, context: Context, first: int, last: int) -> str:
    """The characters of the context tokens first..last, as in the context."""
    return question.context[context.start_T[first] : context.end_T[last]]


def collate_windows(windows: Sequence[Window], pad_id: int) -> "dict[str, torch.Tensor]":
    """Right-padded rows [B, T]; `allowed` [B, T] marks where an answer may begin or end, with the null
    position; `null`, `start` and `end` [B] are positions."""
    import torch  # here, so that windows can be built and audited without it

    batch = tokens.pad_batch([window.ids for window in windows], pad_id, "right")
    allowed_BT = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    for row, window in enumerate(windows):
        allowed_BT[row, window.context_start : window.context_start + window.context_length] = True
        allowed_BT[row, window.null_position] = True
    if windows[0].token_types is not None:
        types_BT = torch.zeros_like(batch["input_ids"])
        for row, window in enumerate(windows):
            types_BT[row, : len(window.ids)] = torch.as_tensor(window.token_types)
        batch["token_type_ids"] = types_BT
    return {
        **batch,
        "allowed": allowed_BT,
        "null": torch.tensor([window.null_position for window in windows]),
        "start": torch.tensor([window.gold_positions[0] for window in windows]),
        "end": torch.tensor([window.gold_positions[1] for window in windows]),
    }
