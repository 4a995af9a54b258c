"""What a task is: where rows come from, the words of the prompt, labels, groups, metrics.

In: nothing. Out: the types that every task on the shelf fills in.
Knows nothing of: models, splits, scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict


class TaskOptions(BaseModel):
    """Settings of a task; every task's options are a subclass with its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Gold:
    """One accepted answer: `context[start:start + len(text)]`, or start -1 where it does not stand there.

    `found` says where the start comes from: "given" by the source and right; "moved" to the nearest
    place where the answer stands; "searched", since none was given; "absent".
    """

    text: str
    start: int
    found: Literal["given", "moved", "searched", "absent"] = "given"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context. `golds` are the accepted answers, none: it cannot be answered.

    `paragraph` names the context: equal for equal contexts.
    """

    question: str
    context: str
    golds: tuple[Gold, ...]
    paragraph: str

    @property
    def answers(self) -> tuple[str, ...]:
        """The accepted answers' texts."""
        return tuple(gold.text for gold in self.golds)


@dataclass(frozen=True, slots=True)
class Example:
    """One item. `label` indexes the task's labels; items of one `group` stay on one side of a split.

    `values` are the item's in the task's own columns (`Rows.columns`), by which the report slices.
    Of a task of questions `question` holds the item; `text` is then the question on one line with the
    context after it, and the labels are answerable and unanswerable.
    """

    id: str
    text: str
    label: int
    group: str
    values: tuple[str, ...] = ()
    question: Question | None = None

    @property
    def asked(self) -> Question:
        """The question of a task of questions."""
        assert self.question is not None, "an item of a task of labels has no question"
        return self.question


@dataclass(frozen=True)
class Rows:
    """What a task reads: its parts, its labels, and where they came from.

    `parts` is {"all": [...]}, or the source's own parts: "train", "test" and perhaps "dev".
    `source` says path or hub id, revision, sha256 and licence.
    `dropped` counts the rows that were left out, by reason.
    `grouped` is true where the groups mean something (otherwise every item is its own group).
    `columns` name the further columns by which the report slices the scores.
    """

    parts: Mapping[str, Sequence[Example]]
    labels: tuple[str, ...]
    source: Mapping[str, Any]
    dropped: Mapping[str, int] = field(default_factory=dict)
    grouped: bool = False
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """The words around an item.

    `template` and `cloze` hold `{text}` once; `cloze` holds `{mask}` once as well.
    `words` are what a decoder continues with, in the order of the labels; `cloze_words`
    what an encoder puts at the mask.
    """

    instruction: str
    template: str
    words: tuple[str, ...]
    cloze: str
    cloze_words: tuple[str, ...]


@dataclass(frozen=True)
class QuestionPrompt:
    """The words around a question; `template` holds `{context}` and `{question}` once each.

    `no_answer` is what a model says where the context holds no answer.
    """

    instruction: str
    template: str
    no_answer: str


@dataclass(frozen=True)
class Overlap:
    """What T train texts give away of H held-out texts.

    `gives_T`: this train text gives some held-out text away.
    `given_by_H`: one train text that gives this held-out text away, or -1.
    `piece_H`: this held-out text is a piece of a train text (it stands whole inside it).
    """

    gives_T: NDArray[np.bool_]
    given_by_H: NDArray[np.int64]
    piece_H: NDArray[np.bool_]


@dataclass(frozen=True)
class Task:
    """One item of the shelf. `kind` says what its items ask for: a label, or an answer in a context.

    `read(options)` gives the rows, `prompt(options, labels)` the words around them. Of `metrics`
    the first is the primary one; those for two labels alone are left out where there are more.
    `overlaps(train_texts, held_texts)` says what gives a held-out text away beyond the equality
    of the normalised texts; None: nothing else does. `labels`: where they are the task's own and
    not the file's.
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
    overlaps: Callable[[Sequence[str], Sequence[str]], Overlap] | None = None
    labels: tuple[str, ...] | None = None
