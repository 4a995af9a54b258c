"""SST-2: phrases of film reviews, negative or positive.

In: GLUE's train and dev files, or the hub. Out: rows grouped by parent sentence, a prompt.
Knows nothing of: splits, models, scores.

GLUE's train part holds full sentences, and their phrases as separate items. A random split therefore
tests on pieces of the training texts: 98.8 % of the held-out phrases at 80:20. The parent sentences
are not in the file; containment recovers them (6,885 of SST's 6,920).
"""

from collections.abc import Sequence
from dataclasses import replace

from tuneproof.tasks.public_data import read_labelled_rows, with_groups
from tuneproof.tasks.sentiment import LABEL_ALIASES, LABELS, METRICS, sentiment_prompt
from tuneproof.tasks.spans import find_parents, find_span_overlap
from tuneproof.tasks.task import Overlap, PublicSource, Rows, Task, TaskOptions

MIN_LEAKING_WORDS = 3  # shorter train phrases ("the film") occur in any sentence
_SOURCE = PublicSource(
    name="SST-2 in GLUE",
    hub="stanfordnlp/sst2",
    revision="8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb",
    licence="no licence is stated; for research, see https://nlp.stanford.edu/sentiment",
    train_files=("glue_train", "train"),
    test_files=("glue_dev", "dev", "validation"),
    hub_test="validation",
    text="sentence",
)


class Sst2Options(TaskOptions):
    """Where SST-2 is read from."""

    path: str | None = None
    """A folder with glue_train and glue_dev (or train and dev or validation) as .parquet, .csv, .tsv, .jsonl
    or .json, columns sentence and label. Default: the hub."""


def read(options: Sst2Options) -> Rows:
    """GLUE train as train, GLUE dev (872 sentences) as test; the group is the parent sentence.

    GLUE's own test part has no labels and is not read.
    Raises: DataError for missing files and malformed rows.
    """
    rows = read_labelled_rows(_SOURCE, LABELS, options.path, LABEL_ALIASES)
    train = rows.parts["train"]
    parents = find_parents([item.text for item in train])
    grouped = with_groups(train, [train[parent].id for parent in parents])
    return replace(rows, parts={**rows.parts, "train": grouped}, grouped=True)


def overlaps(train_texts: Sequence[str], held_texts: Sequence[str]) -> Overlap:
    """A train text leaks a held-out text that it contains, or whose phrase of 3 words or more it is."""
    return find_span_overlap(train_texts, held_texts, MIN_LEAKING_WORDS)


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
    licence=_SOURCE.licence,
    source=_SOURCE,
    overlaps=overlaps,
)
