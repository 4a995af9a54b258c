"""IMDB: 50,000 film reviews, negative or positive.

In: the train and test files, or the hub. Out: rows and a prompt. Knows nothing of: splits, models, scores.

The files are sorted by label, negatives first: the first hundred rows have one label.
"""

from dataclasses import replace

from tuneproof.tasks.public_data import read_labelled_rows
from tuneproof.tasks.sentiment import LABEL_ALIASES, LABELS, METRICS, sentiment_prompt
from tuneproof.tasks.task import PublicSource, Rows, Task, TaskOptions

_SOURCE = PublicSource(
    name="Large Movie Review Dataset",
    hub="stanfordnlp/imdb",
    revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    licence="no licence is stated; for research, see https://ai.stanford.edu/~amaas/data/sentiment",
)


class ImdbOptions(TaskOptions):
    """Where IMDB is read from."""

    path: str | None = None
    """A folder with train and test as .parquet, .csv, .tsv, .jsonl or .json, columns text and label. Default:
    the hub."""


def read(options: ImdbOptions) -> Rows:
    """25,000 reviews to train on and 25,000 to test on; the unlabelled ones are not read.

    `<br />` becomes a line break, the only change to the text.
    Raises: DataError for missing files and malformed rows.
    """
    rows = read_labelled_rows(_SOURCE, LABELS, options.path, LABEL_ALIASES, id_digits=5)
    parts = {
        part: [replace(item, text=item.text.replace("<br />", "\n")) for item in items]
        for part, items in rows.parts.items()
    }
    return replace(rows, parts=parts, source={**rows.source, "changes": "<br /> became a line break"})


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
    licence=_SOURCE.licence,
    source=_SOURCE,
)
