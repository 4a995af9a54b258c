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
class Example:
    """One item. `label` indexes the task's labels; items of one `group` stay on one side of a split.

    `values` are the item's in the task's own columns (`Rows.columns`), by which the report slices.
    """

    id: str
    text: str
    label: int
    group: str
    values: tuple[str, ...] = ()


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
    """One item of the shelf.

    `read(options)` gives the rows, `prompt(options, labels)` the words around them. Of `metrics`
    the first is the primary one; those for two labels alone are left out where there are more.
    `overlaps(train_texts, held_texts)` says what gives a held-out text away beyond the equality
    of the normalised texts; None: nothing else does. `labels`: where they are the task's own and
    not the file's.
    """

    name: str
    version: int
    kind: Literal["labels"]
    title: str
    options: type[TaskOptions]
    read: Callable[[Any], Rows]
    prompt: Callable[[Any, Sequence[str]], Prompt]
    metrics: tuple[str, ...]
    paper: str
    licence: str
    overlaps: Callable[[Sequence[str], Sequence[str]], Overlap] | None = None
    labels: tuple[str, ...] | None = None
