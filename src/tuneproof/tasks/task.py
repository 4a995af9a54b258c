"""What a task is: where rows come from, the prompt, labels, groups, metrics.

In: nothing. Out: the types that every task fills in. Knows nothing of: models, splits, scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from tuneproof.settings import DescribedModel


def contains_once(*fields: str) -> AfterValidator:
    """A check that a setting contains each field, such as {text}, once."""

    def check(template: str) -> str:
        if any(template.count(field) != 1 for field in fields):
            raise ValueError(f"it must contain {' and '.join(fields)} once{' each' * (len(fields) > 1)}")
        return template

    return AfterValidator(check)


class TaskOptions(DescribedModel):
    """Settings of a task; every task subclasses it with its own fields."""


@dataclass(frozen=True)
class PublicSource:
    """A public data set: where it is on the hub, and what its files and columns are called.

    `train_files` and `test_files` are file names without their ending, tried in order; `hub_test` is
    the part on the hub that reports. `text` and `label` are the columns of a task of kind "labels".
    """

    name: str
    hub: str
    revision: str
    licence: str
    train_files: tuple[str, ...] = ("train",)
    test_files: tuple[str, ...] = ("test",)
    hub_test: str = "test"
    text: str = "text"
    label: str = "label"


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """One accepted answer: `context[start:start + len(text)]`, or start -1 if the context does not hold it.

    `start_from` says where the start comes from: the "source", which gave the right one; "moved" from a
    wrong one to the nearest occurrence; "searched", as the source gave none; "absent", not in the context.
    """

    text: str
    start: int
    start_from: Literal["source", "moved", "searched", "absent"] = "source"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context. `golds` are the accepted answers; with none it is unanswerable.

    `paragraph` identifies the context: equal for equal contexts. In a task of written answers `question` is
    empty and `context` is the whole text to answer; its golds stand nowhere in it.
    """

    question: str
    context: str
    golds: tuple[GoldAnswer, ...]
    paragraph: str

    @property
    def answers(self) -> tuple[str, ...]:
        """The accepted answers' texts."""
        return tuple(gold.text for gold in self.golds)


@dataclass(frozen=True, slots=True)
class Example:
    """One item. `label` indexes the task's labels; items of one `group` stay on one side of a split.

    `values` are the item's entries in `Rows.columns`, by which the report slices the scores.
    In a task of questions, `question` holds the item, `text` is the question on one line followed by the
    context (of written answers the context alone), and the labels are answerable and unanswerable.
    """

    id: str
    text: str
    label: int
    group: str
    values: tuple[str, ...] = ()
    question: Question | None = None

    @property
    def required_question(self) -> Question:
        """The question of an item in a task of questions."""
        assert self.question is not None, "an item in a task of labels has no question"
        return self.question


@dataclass(frozen=True)
class Remark:
    """What reading changed, or what looks wrong in the rows; the audit shows it as a finding."""

    name: str
    level: Literal["note", "warning"]
    message: str
    count: int


@dataclass(frozen=True)
class Rows:
    """What a task reads: its parts, its labels, and where they come from.

    `parts` is {"all": [...]}, or the source's own parts: "train", "test" and perhaps "dev".
    `source` holds path or hub id, revision, sha256 and licence.
    `dropped` counts the rows that were left out, by reason.
    `grouped` is true if the groups mean something (otherwise every item is its own group).
    `columns` names the further columns by which the report slices the scores.
    `remarks` become findings of the audit. `corrected`: by id, the right label of items with a wrong
    one, which it replaces after the split. `instruction`: the prompt's, where the source holds one.
    """

    parts: Mapping[str, Sequence[Example]]
    labels: tuple[str, ...]
    source: Mapping[str, Any]
    dropped: Mapping[str, int] = field(default_factory=dict)
    grouped: bool = False
    columns: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    instruction: str | None = None
    corrected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """The prompt for an item.

    `template` and `cloze` hold `{text}` once; `cloze` also holds `{mask}` once. In the order of the
    labels, `words` are what a decoder continues with, `cloze_words` what an encoder puts at the mask.
    """

    instruction: str
    template: str
    words: tuple[str, ...]
    cloze: str
    cloze_words: tuple[str, ...]


@dataclass(frozen=True)
class QuestionPrompt:
    """The prompt for a question; `template` holds `{context}` and `{question}` once each.

    `no_answer` is what a model says if the context does not hold the answer. Of written answers `template`
    holds `{context}` alone, and `no_answer` is empty: every text has an answer.
    """

    instruction: str
    template: str
    no_answer: str


@dataclass(frozen=True)
class Overlap:
    """How T train texts leak H held-out texts.

    `leaks_T`: this train text leaks some held-out text.
    `leaked_by_H`: the index of one train text that leaks this held-out text, or -1.
    `contained_H`: a train text contains this whole held-out text.
    """

    leaks_T: NDArray[np.bool_]
    leaked_by_H: NDArray[np.int64]
    contained_H: NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """One task. `kind` is what its items ask for: a label, or an answer in a context.

    `read(options)` returns the rows, `prompt(options, labels)` the prompt. The first of `metrics` is
    the primary one; those defined for two labels only are left out for more. `source`: the public
    data set that it reads. `overlaps(train_texts, held_texts)` finds leaks beyond equal normalised
    texts; None: there are no others. `labels`: set if the task fixes them, None if the file does.
    `written`: answers are texts of their own, never pieces of a context.
    """

    name: str
    version: int
    kind: Literal["labels", "questions"]
    title: str
    options: type[TaskOptions]
    read: Callable[[Any], Rows]
    prompt: Callable[[Any, Sequence[str]], Prompt | QuestionPrompt]
    metrics: tuple[str, ...]
    paper: str
    licence: str
    source: PublicSource | None = None
    overlaps: Callable[[Sequence[str], Sequence[str]], Overlap] | None = None
    labels: tuple[str, ...] | None = None
    written: bool = False
