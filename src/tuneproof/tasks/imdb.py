"""IMDB: 50,000 film reviews, negative or positive.

In: the train and test files, or the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.

The files are sorted by label, negatives first, so the first hundred rows are of one class.
"""

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
from tuneproof.tasks.tables import Table
from tuneproof.tasks.task import Example, Rows, Task, TaskOptions

_SOURCE = Source(
    hub="stanfordnlp/imdb",
    revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    train=("train",),
    test=("test",),
    hub_test="test",
)
_LICENCE = "no licence is stated; for research, see https://ai.stanford.edu/~amaas/data/sentiment"


class ImdbOptions(TaskOptions):
    """Where IMDB is read from."""

    path: str | None = Field(
        None,
        description="A folder with train and test as .parquet, .csv, .tsv, .jsonl or .json, "
        "columns text and label. Default: the hub.",
    )


def _examples(table: Table, part: str) -> list[Example]:
    labels = table.column("label", "label")
    items = []
    for index, value in enumerate(table.column("text", "text")):
        name = f"{part}-{index:05d}"
        text = text_at(table, index, value).replace("<br />", "\n")
        items.append(Example(name, text, label_number(table, index, labels[index]), name))
    return items


def read(options: ImdbOptions) -> Rows:
    """25,000 reviews to train on and 25,000 to test on; the unlabelled ones are not read.

    Ids are the part and the row from 0, e.g. train-00123. `<br />` becomes a line break, the only
    change to the text. Raises: DataError for missing files and malformed rows.
    """
    halves = read_halves(_SOURCE, options.path)
    about = {"train": dict(halves.train.about), "test": dict(halves.test.about)}
    return Rows(
        parts={"train": _examples(halves.train, "train"), "test": _examples(halves.test, "test")},
        labels=LABELS,
        source={
            "name": "Large Movie Review Dataset",
            "parts": about,
            "licence": _LICENCE,
            "changes": "<br /> became a line break",
        },
    )


TASK = Task(
    name="imdb",
    version=1,
    kind="labels",
    title="IMDB: sentiment of film reviews",
    options=ImdbOptions,
    read=read,
    prompt=sentiment_prompt,
    labels=LABELS,
    metrics=METRICS,
    paper="Maas et al. 2011, Learning Word Vectors for Sentiment Analysis",
    licence=_LICENCE,
)
