"""What the sentiment tasks share: labels, words of the prompt, metrics, reading of their files.

In: a folder or a hub data set. Out: its train and test tables; labels as numbers.
Knows nothing of: splits, models, the user's own files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.tables import EXTENSIONS, Table, read_table
from tuneproof.tasks.task import Prompt

LABELS = ("negative", "positive")
METRICS = ("accuracy", "f1", "precision", "recall", "f1_macro", "f1_weighted", "expected_calibration_error")
_LABEL_OF = {**dict.fromkeys(("0", "negative", "neg"), 0), **dict.fromkeys(("1", "positive", "pos"), 1)}


@dataclass(frozen=True)
class Source:
    """Where a public task's rows are: on the hub, or in local files of these names (no ending)."""

    hub: str
    revision: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    hub_test: str


@dataclass(frozen=True)
class Halves:
    """The two parts of a public data set."""

    train: Table
    test: Table


def sentiment_prompt(options: Any, labels: Sequence[str]) -> Prompt:
    """The words around a review; the cloze follows LM-BFF (Gao et al. 2021, table 1)."""
    return Prompt(
        instruction="Decide whether the review is negative or positive.",
        template="Review: {text}\nSentiment:",
        words=LABELS,
        cloze="{text} It was {mask}.",
        cloze_words=("terrible", "great"),
    )


def read_halves(source: Source, path: str | None) -> Halves:
    """The train and test tables, from the folder where one is named, else from the hub.

    Raises: DataError where the folder or a file in it is missing.
    """
    if path is None:
        parts = read_hub(source.hub, source.revision)
        return Halves(parts["train"], parts[source.hub_test])
    folder = Path(path).expanduser()
    if not folder.is_dir():
        found = "is a file, not a folder." if folder.exists() else "is not there."
        raise DataError(str(folder), found, do=f"Name the folder that holds {source.train[0]}.parquet.")
    return Halves(_named(folder, source.train), _named(folder, source.test))


def _named(folder: Path, names: Sequence[str]) -> Table:
    for name in names:
        for stem in (name, f"{name}-00000-of-00001"):
            for ending in EXTENSIONS:
                if (folder / f"{stem}{ending}").is_file():
                    return read_table(folder / f"{stem}{ending}")
    endings = ", ".join(EXTENSIONS)
    raise DataError(
        str(folder),
        f"holds no {' or '.join(names)} file.",
        f"Endings that are read: {endings}.",
        "Name another folder, or leave path out to fetch the data from the hub.",
    )


def label_number(table: Table, index: int, value: Any) -> int:
    """0 for negative, 1 for positive.

    Raises: DataError with the row for anything else.
    """
    number = _LABEL_OF.get(str(value).strip().lower())
    if number is None:
        raise DataError(
            table.at(index),
            f"the label {value!r} is not one of 0 (negative), 1 (positive).",
            do="Mend the row.",
        )
    return number


def text_at(table: Table, index: int, value: Any) -> str:
    """The text, stripped.

    Raises: DataError with the row where it is no text or an empty one.
    """
    if not isinstance(value, str) or not value.strip():
        found = (
            "the text is empty."
            if value in (None, "") or isinstance(value, str)
            else (f"the text is not text but {type(value).__name__}.")
        )
        raise DataError(table.at(index), found, do="Mend the row or take it out.")
    return value.strip()
