"""A file of new texts or questions, read as the study's own file was unless told otherwise.

In: a path, how cells are separated, and the arm's study. Out: a table. Knows nothing of: models, labels.
"""

from dataclasses import dataclass
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.messages import has_messages, with_texts
from tuneproof.tasks.tables import Table, TextFormat, read_table

_OPTIONS = {
    "set delimiter: ": "pass --delimiter ",
    "set quotes: ": "pass --quotes ",
    "quotes: true": "--quotes true",
    "set sheet: ": "pass --sheet ",
}


@dataclass(frozen=True)
class NewFile:
    """A file; `delimiter` and `quotes` None: as in the study; `sheet` None: the only one with content."""

    path: str
    delimiter: str | None = None
    quotes: bool | None = None
    sheet: str | None = None

    def read(self, options: Any) -> Table:
        """The table; `options` are those of the study's task. Raises: DataError with the wrong row."""
        encoding = getattr(options, "encoding", TextFormat.encoding)
        delimiter = self.delimiter or getattr(options, "delimiter", None)
        quotes = getattr(options, "quotes", None) if self.quotes is None else self.quotes
        try:
            table = read_table(self.path, TextFormat(encoding, delimiter, quotes, self.sheet))
            text = getattr(options, "text", "text")
            if has_messages(table, text):
                return with_texts(table, text, getattr(options, "instruction", None))
            return table
        except DataError as error:
            raise DataError(error.where, error.problem, error.allowed, name_options(error.do)) from None


def name_options(advice: str) -> str:
    """Advice on settings of a recipe as advice on options of the command line."""
    for setting, option in _OPTIONS.items():
        advice = advice.replace(setting, option)
    return advice
