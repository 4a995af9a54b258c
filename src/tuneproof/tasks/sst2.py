"""SST-2: phrases of film reviews, negative or positive.

In: GLUE's train and dev files, or the hub. Out: rows in groups of one parent sentence, a prompt.
Knows nothing of: splits, models, scores.

GLUE's train part holds full sentences and their phrases as items of their own, so a random split
tests on pieces of what was trained on: 98.8 % of the held-out phrases at 80:20. The parent
sentences are not in the file; they are found by containment (6,885 of SST's 6,920).
"""

from collections.abc import Sequence

from pydantic import Field

from tuneproof.tasks.sentiment import (
    LABELS,
    METRICS,
    Source,
    label_number,
    read_halves,
    sentiment_prompt,
    text_at,
)
from tuneproof.tasks.spans import parents, span_overlap
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Example, Overlap, Rows, Task, TaskOptions

SHORTEST_GIVEAWAY = 3  # words; shorter train phrases ("the film") stand in any sentence
_SOURCE = Source(
    hub="stanfordnlp/sst2",
    revision="8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb",
    train=("glue_train", "train"),
    test=("glue_dev", "dev", "validation"),
    hub_test="validation",
)
_LICENCE = "no licence is stated; for research, see https://nlp.stanford.edu/sentiment"


class Sst2Options(TaskOptions):
    """Where SST-2 is read from."""

    path: str | None = Field(
        None,
        description="A folder with glue_train and glue_dev (or train and dev or validation) as "
        ".parquet, .csv, .tsv, .jsonl or .json, columns sentence and label. Default: the hub.",
    )


def _examples(table: Table, part: str) -> list[Example]:
    labels = table.column("label", "label")
    items = []
    for index, value in enumerate(table.column("sentence", "text")):
        name = f"{part}-{index:06d}"
        text = text_at(table, index, value)
        items.append(Example(name, text, label_number(table, index, labels[index]), name))
    return items


def read(options: Sst2Options) -> Rows:
    """GLUE train as train, GLUE dev (872 sentences) as test; the group is the parent sentence.

    Ids are the part's name on the hub and the row from 0, e.g. train-000123. GLUE's own test part
    has no labels and is not read. Raises: DataError for missing files and malformed rows.
    """
    halves = read_halves(_SOURCE, options.path)
    train = _examples(halves.train, "train")
    parent = parents([item.text for item in train])
    train = [
        Example(item.id, item.text, item.label, train[parent[index]].id) for index, item in enumerate(train)
    ]
    about = {"train": dict(halves.train.about), "test": dict(halves.test.about)}
    return Rows(
        parts={"train": train, "test": _examples(halves.test, "validation")},
        labels=LABELS,
        source={"name": "SST-2 in GLUE", "parts": about, "licence": _LICENCE},
        grouped=True,
    )


def overlaps(train_texts: Sequence[str], held_texts: Sequence[str]) -> Overlap:
    """A held-out text is given away by a train text that holds it, or that stands in it (3 words up)."""
    return span_overlap(train_texts, held_texts, SHORTEST_GIVEAWAY)


TASK = Task(
    name="sst2",
    version=1,
    kind="labels",
    title="SST-2: sentiment of phrases of film reviews",
    options=Sst2Options,
    read=read,
    prompt=sentiment_prompt,
    labels=LABELS,
    metrics=METRICS,
    paper="Socher et al. 2013, Recursive Deep Models for Semantic Compositionality; "
    "Wang et al. 2019, GLUE, arXiv:1804.07461",
    licence=_LICENCE,
    overlaps=overlaps,
)
