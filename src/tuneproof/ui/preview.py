"""What is in a dropped file: its columns, ten rows, and which column is what. Run in a process of its own.

In: a path. Out: plain values, printed as JSON. Knows nothing of: studies, HTTP.

Tables are read as a study reads them; of a large text file only its first rows are.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError, TuneproofError
from tuneproof.redact import json_text
from tuneproof.tasks.messages import starts_with_messages
from tuneproof.tasks.squad_file import is_squad_file
from tuneproof.tasks.tables import Table, read_table

HEAD_BYTES = 2 << 20  # of a text file with a row on each line
ROWS, CELL = 10, 300  # shown; characters of a cell
MAX_LABELS = 50
ONE_A_LINE = (".csv", ".tsv", ".jsonl")
LABEL_NAMES = ("label", "labels", "class", "category", "sentiment", "target", "intent", "topic", "y")
TEXT_NAMES = ("text", "sentence", "review", "question", "content", "message", "body", "comment", "title")
SQUAD = {"question": "question", "context": "context", "answers": "answers"}


def preview(path: Path) -> dict[str, Any]:
    """Kind, columns with their facts, ten rows, and the guessed columns.

    kind: "labels", "questions", "answers" or "messages". partial: only the first rows were read.
    guess: the column of each role ("text", "label"; None where no column fits).

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
    table, partial = _read_head(path)
    columns = [_column(name, values) for name, values in table.columns.items()]
    names = {column["name"] for column in columns}
    kind = "labels"
    if starts_with_messages(path) or "messages" in names:
        kind = "messages"
    elif {"question", "context"} <= names:
        kind = "questions"
    elif {"text", "answer"} <= names and "label" not in names:
        kind = "answers"
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


def _count(table: Table) -> int:
    return min(ROWS, len(table.numbers))


def _read_head(path: Path) -> tuple[Table, bool]:
    """The table, and whether it is its first rows alone."""
    if path.suffix.lower() not in ONE_A_LINE or path.stat().st_size <= HEAD_BYTES:
        return read_table(path), False
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    start, end, _ = head.rpartition(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / path.name
        part.write_bytes(start + end)
        try:
            return read_table(part), True
        except DataError:  # a quoted cell may go on beyond the head
            return read_table(path), False


def _column(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """A column's name, mean length, distinct values and, where they are few, each with its count."""
    texts = ["" if value is None else str(value) for value in values]
    counts = Counter(texts)
    few = len(counts) <= MAX_LABELS and len(counts) < max(3, len(texts) // 2)
    labels = [[_cell(value), n] for value, n in counts.most_common()] if few else []
    mean = sum(map(len, texts)) / max(1, len(texts))
    return {"name": name, "mean_length": mean, "distinct": len(counts), "labels": labels}


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= CELL else f"{text[:CELL]}…"


def _guess(columns: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """By name, else the longest texts and the fewest distinct values."""
    by_text = sorted(columns, key=lambda c: (_rank(c, TEXT_NAMES), bool(c["labels"]), -c["mean_length"]))
    text = by_text[0]["name"] if by_text else None
    labels = [c for c in columns if c["name"] != text and (len(c["labels"]) > 1 or _rank(c, LABEL_NAMES) < 3)]
    labels.sort(key=lambda c: (_rank(c, LABEL_NAMES), c["distinct"]))
    return {"text": text, "label": labels[0]["name"] if labels else None}


def _rank(column: Mapping[str, Any], names: Sequence[str]) -> int:
    name = str(column["name"]).strip().lower()
    return names.index(name) if name in names else len(names)


def main() -> None:
    """Print the preview of the file in the first argument, or the error, as JSON."""
    try:
        values = preview(Path(sys.argv[1]))
    except TuneproofError as error:
        parts = ("where", "problem", "allowed", "do")
        values = {"error": {name: getattr(error, name) for name in parts}}
    print(json_text(values))


if __name__ == "__main__":
    main()
