"""SQuAD's own JSON (versions 1.1 and 2.0, plain or gzip) as rows of questions.

In: a path. Out: rows, and a description of the file. Knows nothing of: columns, splits, models.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.question_rows import QuestionRow
from tuneproof.tasks.size_limits import check_json
from tuneproof.tasks.text_file import FileBytes, decode, read_bytes

ENDINGS = (".json", ".json.gz")
HEAD = 1_000_000  # bytes in which the first paragraphs or questions are
MAX_BYTES = 2_000_000_000  # unpacked; SQuAD's train file has 42 million
SHAPE = 'SQuAD has {"data": [{"title": …, "paragraphs": [{"context": …, "qas": […]}]}]}.'


def is_squad_file(path: Path) -> bool:
    """Whether it is a JSON file, and not one of rows of questions instead of paragraphs."""
    if not path.name.lower().endswith(ENDINGS):
        return False
    try:
        with path.expanduser().open("rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError):
        return True  # reading it names the reason
    if head.startswith(b"\x1f\x8b") or b'"paragraphs"' in head:
        return True
    return not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") and b'"question"' not in head


def read_squad(path: str | Path) -> tuple[list[QuestionRow], dict[str, Any]]:
    """Every question, and {path, sha256, rows, version}. Raises: DataError that locates a wrong shape."""
    path = Path(path).expanduser()
    file = read_bytes(path)
    text = decode(_unpacked(file), "utf-8-sig")
    check_json(file.name, text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(file.name, f"is not JSON: {error}.", do=SHAPE) from None
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        problem = "is not SQuAD's JSON."
        raise DataError(file.name, problem, SHAPE, "If it has one object per line, name it .jsonl.")
    rows = list(_rows(file.name, value["data"]))
    if not rows:
        raise DataError(file.name, "contains no question.", SHAPE)
    version = str(value.get("version") or "unknown")
    about = {"path": str(path), "sha256": file.sha256, "rows": len(rows), "version": version}
    return rows, about


def _unpacked(file: FileBytes) -> FileBytes:
    if not file.data.startswith(b"\x1f\x8b"):
        return file
    try:
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(file.data, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise DataError(file.name, f"unpacks to more than {MAX_BYTES:,} bytes.")
        if not unpacker.eof:
            raise EOFError
    except (zlib.error, EOFError, gzip.BadGzipFile):
        raise DataError(file.name, "is damaged: gzip cannot unpack it.", do="Download it again.") from None
    return FileBytes(file.name, data, file.sha256)


def _rows(name: str, articles: list[Any]) -> Iterator[QuestionRow]:
    for a, article in enumerate(articles, 1):
        where = f"{name}, article {a}"
        title = str(_dict(article, where).get("title") or "")
        for p, paragraph in enumerate(_list(article, "paragraphs", where), 1):
            in_paragraph = f"{where}, paragraph {p}"
            context = _text(_dict(paragraph, in_paragraph), "context", in_paragraph)
            for q, question in enumerate(_list(paragraph, "qas", in_paragraph), 1):
                yield _row(f"{in_paragraph}, question {q}", title, context, question)


def _row(where: str, title: str, context: str, question: Any) -> QuestionRow:
    values = _dict(question, where)
    answers = _list(values, "answers", where)
    _check_impossible(where, values, answers)
    texts, starts = [], []
    for value in answers:
        answer = _dict(value, f"{where}, answers")
        if answer.get("text") == "":
            allowed = '"answers": [] with "is_impossible": true is a question without an answer.'
            raise DataError(where, "text is empty in answers.", allowed, "Fill it in, or write it so.")
        texts.append(_text(answer, "text", where))
        start = answer.get("answer_start")
        if start is not None and (isinstance(start, bool) or not isinstance(start, int)):
            problem = f"answer_start is {start!r}."
            raise DataError(where, problem, "It is a number of characters, from 0.")
        starts.append(start)
    identity = values.get("id")
    if identity is None or not str(identity).strip():
        raise DataError(where, "has no id.", do="Give every question an id.")
    return QuestionRow(
        where, str(identity), title, context, _text(values, "question", where), tuple(texts), tuple(starts)
    )


def _check_impossible(where: str, values: Mapping[str, Any], answers: list[Any]) -> None:
    impossible = values.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise DataError(where, f"is_impossible is {impossible!r}.", "Allowed: true, false.")
    if impossible and answers:
        problem = "is_impossible is true, but there are answers."
        raise DataError(where, problem, do="Remove the answers, or set is_impossible to false.")
    if "is_impossible" in values and not impossible and not answers:
        problem = "is_impossible is false, but there is no answer."
        raise DataError(where, problem, do="Add the answer, or set is_impossible to true.")


def _dict(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(where, f"is not an object but {type(value).__name__}.", SHAPE)
    return value


def _list(value: Mapping[str, Any], key: str, where: str) -> list[Any]:
    values = value.get(key)
    if not isinstance(values, list):
        raise DataError(where, f"{key} is missing or not a list.", SHAPE)
    return values


def _text(value: Mapping[str, Any], key: str, where: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text.strip():
        problem = "is missing" if text is None else "is empty" if isinstance(text, str) else "is not text"
        raise DataError(where, f"{key} {problem}.", do="Fill it in, or remove the question.")
    return text
