"""What is in a dropped file: its columns, ten rows, and which column is what. Run in a process of its own.

In: a path, how to read it. Out: plain values, printed as JSON. Knows nothing of: studies, HTTP.

Tables are read as a study reads them; of a large text file only its first rows are.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from operator import itemgetter
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, TuneproofError
from tuneproof.redact import json_text
from tuneproof.tasks.hub import read_hub
from tuneproof.tasks.squad_file import is_squad_file
from tuneproof.tasks.tables import Table, TextFormat, read_table

HEAD_BYTES = 2 << 20  # of a text file with a row on each line
ROWS, CELL = 10, 300  # shown; characters of a cell
MAX_LABELS = 50
ONE_A_LINE = (".csv", ".tsv", ".jsonl")
LABEL_NAMES = (
    *("label", "labels", "class", "category", "sentiment", "target", "intent", "topic", "y"),
    *("verdict", "polarity", "rating", "stars", "kategorie", "klasse"),
)
TEXT_NAMES = ("text", "sentence", "review", "question", "content", "message", "body", "comment", "title")
SQUAD = {"question": "question", "context": "context", "answers": "answers"}


def preview(path: Path, text_format: TextFormat) -> dict[str, Any]:
    """Kind, columns with their facts, ten rows, and the guessed columns.

    kind: "labels", "questions", "answers" or "messages". partial: only the first rows were read.
    guess: the column of each role ("text", "label"; None where none fits, or more than one may).

    Raises: DataError for everything that a file can get wrong.
    """
    if is_squad_file(path):
        return {
            "kind": "questions",
            "squad": True,
            "columns": [],
            "rows": [],
            "guess": SQUAD,
            "partial": False,
        }
    return table_preview(*_read_head(path, text_format))


def table_preview(table: Table, partial: bool) -> dict[str, Any]:
    """The preview of a table; partial: it is the first rows alone."""
    columns = [_column(name, values) for name, values in table.columns.items()]
    kind = _kind({column["name"] for column in columns})
    rows = [[_cell(values[row]) for values in table.columns.values()] for row in range(_count(table))]
    return {
        "kind": kind,
        "squad": False,
        "columns": columns,
        "rows": rows,
        "partial": partial,
        "read_rows": len(table.numbers),
        "guess": SQUAD if kind == "questions" else _guess(columns),
    }


def _kind(names: Set[str]) -> str:
    if "messages" in names and "text" not in names:
        return "messages"
    if {"question", "context"} <= names:
        return "questions"
    return "answers" if {"text", "answer"} <= names and "label" not in names else "labels"


def _count(table: Table) -> int:
    return min(ROWS, len(table.numbers))


def _read_head(path: Path, text_format: TextFormat) -> tuple[Table, bool]:
    """The table, and whether it is its first rows alone."""
    if path.suffix.lower() not in ONE_A_LINE or path.stat().st_size <= HEAD_BYTES:
        return read_table(path, text_format), False
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    start, end, _ = head.rpartition(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        part.write_bytes(start + end)
        try:
            return read_table(part, text_format), True
        except DataError:  # a quoted cell may go on beyond the head; in UTF-16 a line ends elsewhere
            return read_table(path, text_format), False


def _column(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """A column's name, mean length, distinct values and, where these may be labels, each with its count.

    Of a column that is called a label the most frequent ones; more_labels: how many more it has.
    """
    texts = ["" if value is None else str(value) for value in values]
    counts = Counter(texts)
    is_few = len(counts) <= MAX_LABELS and len(counts) < max(3, len(texts) // 2)
    is_label = is_few or _rank(name, LABEL_NAMES) < len(LABEL_NAMES)
    labels = [[_cell(value), n] for value, n in counts.most_common(MAX_LABELS)] if is_label else []
    mean = sum(map(len, texts)) / max(1, len(texts))
    facts = {"name": name, "mean_length": mean, "distinct": len(counts), "labels": labels}
    return {**facts, "more_labels": len(counts) - len(labels) if is_label else 0}


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= CELL else f"{text[:CELL]}…"


def _guess(columns: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """By name; else the longest texts, and the only column of few distinct values."""
    ranked = [(_rank(column["name"], LABEL_NAMES), column) for column in columns]
    called = [column for rank, column in sorted(ranked, key=itemgetter(0)) if rank < len(LABEL_NAMES)]
    texts = [column for column in columns if column not in called]
    texts.sort(key=lambda c: (_rank(c["name"], TEXT_NAMES), bool(c["labels"]), -c["mean_length"]))
    few = [column for column in texts[1:] if len(column["labels"]) > 1]
    labels = called[:1] or few
    text = texts[0]["name"] if texts else None
    return {"text": text, "label": labels[0]["name"] if len(labels) == 1 else None}


def _rank(column: str, names: Sequence[str]) -> int:
    name = str(column).strip().lower()
    return names.index(name) if name in names else len(names)


def text_format_from(options: Mapping[str, Any]) -> TextFormat:
    """How to read the file, of the page's options: encoding, delimiter, quotes ("true", "false"), sheet."""
    chosen = {name: options[name] for name in ("encoding", "delimiter", "sheet") if options.get(name)}
    quotes = {"true": True, "false": False}.get(str(options.get("quotes")).lower())
    return TextFormat(**chosen, quotes=quotes)


def main() -> None:
    """Print the preview of the file in the first argument, or the error, as JSON.

    The second argument, if there is one, is a JSON object of options (`text_format_from`); with `hub`,
    revision and config it names a data set on the hub instead, whose train part is shown.
    """
    options = json.loads((*sys.argv, "{}")[2])
    try:
        if options.get("hub"):
            tables = read_hub(options["hub"], options.get("revision", ""), options.get("config"))
            values = table_preview(tables.get("train") or next(iter(tables.values())), partial=False)
        else:
            values = preview(Path(sys.argv[1]), text_format_from(options))
    except TuneproofError as error:
        parts = ("where", "problem", "allowed", "do")
        values = {"error": {name: getattr(error, name) for name in parts}}
    print(json_text(values))


if __name__ == "__main__":
    main()
