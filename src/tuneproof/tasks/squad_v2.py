"""SQuAD 2.0: questions about Wikipedia's paragraphs, half of those in dev unanswerable.

In: the official JSON, Parquet of the same schema, or the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.

The official dev part is the test part here. Our dev part is cut from train.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from tuneproof.tasks.public_data import find_files, read_tables
from tuneproof.tasks.question_columns import QuestionColumns, read_question_rows
from tuneproof.tasks.question_rows import METRICS, find_shared_paragraphs, question_prompt
from tuneproof.tasks.questions import LOWERCASE, build_rows, read_parts
from tuneproof.tasks.tables import TextFormat
from tuneproof.tasks.task import PublicSource, Rows, Task, TaskOptions

_SOURCE = PublicSource(
    name="SQuAD 2.0",
    hub="rajpurkar/squad_v2",
    revision="3ffb306f725f7d2ce8394bc1873b24868140c412",
    licence="CC BY-SA 4.0",
    train_files=("train-v2.0", "train"),
    test_files=("dev-v2.0", "validation"),
    hub_test="validation",
)
_COLUMNS = QuestionColumns(id="id", title="title")
_ENDINGS = (".json", ".json.gz", ".parquet")


class SquadOptions(TaskOptions):
    """Where SQuAD 2.0 is read from."""

    path: str | None = None
    """A folder with train-v2.0 and dev-v2.0 as .json or .json.gz, or train and validation as .parquet.
    Default: the hub."""
    train: str | None = None
    """Instead of path: the file for train, .json, .json.gz or .parquet."""
    test: str | None = None
    """The file for test, which reports; needs train."""
    lowercase: bool = Field(False, description=LOWERCASE)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("set both train and test, or neither")
        if self.path and self.train:
            raise ValueError("name either a folder with path, or two files with train and test")
        return self


def read(options: SquadOptions) -> Rows:
    """130,319 questions of train, 11,873 of dev as test. Raises: DataError for missing or malformed files."""
    if options.path is None and options.train is None:
        tables = read_tables(_SOURCE, None)
        parts = {part: read_question_rows(table, _COLUMNS) for part, table in tables.items()}
        about = {part: dict(table.about) for part, table in tables.items()}
    else:
        if options.path is not None:
            files = find_files(_SOURCE, options.path, _ENDINGS)
        else:
            files = {"train": Path(str(options.train)), "test": Path(str(options.test))}
        parts, about = read_parts(files, _COLUMNS, TextFormat())
    source = {"name": _SOURCE.name, "parts": about, "licence": _SOURCE.licence}
    return build_rows(parts, options.lowercase, source)


TASK = Task(
    name="squad_v2",
    version=1,
    kind="questions",
    title="SQuAD 2.0: questions on a paragraph, some of them unanswerable",
    options=SquadOptions,
    read=read,
    prompt=question_prompt,
    metrics=METRICS,
    paper="Rajpurkar et al. 2018, arXiv:1806.03822",
    licence=_SOURCE.licence,
    source=_SOURCE,
    overlaps=find_shared_paragraphs,
)
