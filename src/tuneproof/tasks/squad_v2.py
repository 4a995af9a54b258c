"""SQuAD 2.0: questions about Wikipedia's paragraphs, half of those in dev without an answer.

In: the official JSON, Parquet of the same schema, or the hub. Out: rows and a prompt.
Knows nothing of: splits, models, scores.

The official dev part is the test part here: it reports. Dev, which chooses, is cut from train.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from tuneproof.errors import DataError
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.question_rows import METRICS, question_prompt, same_paragraph
from tuneproof.tasks.questions import LOWERCASE, read_parts, rows_of_parts, rows_of_table
from tuneproof.tasks.tables import Reading
from tuneproof.tasks.task import Rows, Task, TaskOptions

_HUB = "rajpurkar/squad_v2"
_REVISION = "3ffb306f725f7d2ce8394bc1873b24868140c412"
_LICENCE = "CC BY-SA 4.0"
_COLUMNS: dict[str, str | None] = {
    "question": "question",
    "context": "context",
    "answers": "answers",
    "id": "id",
    "title": "title",
}
_ENDINGS = (".json", ".json.gz", ".parquet")
_NAMES = {
    "train": ("train-v2.0", "train", "train-00000-of-00001"),
    "test": ("dev-v2.0", "validation", "validation-00000-of-00001"),
}


class SquadOptions(TaskOptions):
    """Where SQuAD 2.0 is read from."""

    path: str | None = Field(
        None,
        description="A folder with train-v2.0 and dev-v2.0 as .json or .json.gz, or train and "
        "validation as .parquet. Default: the hub.",
    )
    train: str | None = Field(
        None, description="Instead of path: the file to train on, .json, .json.gz or .parquet."
    )
    test: str | None = Field(None, description="The file that reports (with train).")
    lowercase: bool = Field(False, description=LOWERCASE)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test go together")
        if self.path and self.train:
            raise ValueError("name a folder with path, or two files with train and test")
        return self


def _in_folder(path: str) -> dict[str, str]:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        found = "is a file, not a folder." if folder.exists() else "is not there."
        raise DataError(str(folder), found, do="Name the folder of both files, or them with train and test.")
    files = {}
    for part, names in _NAMES.items():
        there = [folder / f"{name}{end}" for name in names for end in _ENDINGS]
        first = next((file for file in there if file.is_file()), None)
        if first is None:
            raise DataError(
                str(folder),
                f"holds no {names[0]} or {names[1]} file.",
                f"Endings that are read: {', '.join(_ENDINGS)}.",
                "Name both files with train and test, or leave path out to fetch them.",
            )
        files[part] = str(first)
    return files


def read(options: SquadOptions) -> Rows:
    """130,319 questions of train and 11,873 of dev, which is the test part.

    Raises: DataError for missing files and malformed rows.
    """
    if options.path is None and options.train is None:
        tables = read_hub(_HUB, _REVISION)
        named = {"train": tables["train"], "test": tables["validation"]}
        parts = {part: rows_of_table(table, _COLUMNS) for part, table in named.items()}
        about = {part: dict(table.about) for part, table in named.items()}
    else:
        if options.path is not None:
            files = _in_folder(options.path)
        else:
            files = {"train": str(options.train), "test": str(options.test)}
        parts, about = read_parts(files, options, _COLUMNS, Reading())
    return rows_of_parts(parts, options, {"name": "SQuAD 2.0", "parts": about, "licence": _LICENCE})


TASK = Task(
    name="squad_v2",
    version=1,
    kind="questions",
    title="SQuAD 2.0: questions that a paragraph answers, or does not",
    options=SquadOptions,
    read=read,
    prompt=question_prompt,
    metrics=METRICS,
    paper="Rajpurkar et al. 2018, arXiv:1806.03822",
    licence=_LICENCE,
    overlaps=same_paragraph,
)
