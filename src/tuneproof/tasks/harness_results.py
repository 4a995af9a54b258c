"""The results of evaluation harnesses as plain tables: lm-evaluation-harness, promptfoo, SQuAD's script.

In: a path. Out: a table with the columns of the items and of the predictions.
Knows nothing of: labels, golds, which column is matched.

- lm-evaluation-harness, samples_*.jsonl (`--log_samples`): `doc` becomes doc.<key>, the first filtered
  response `predicted`; the log-likelihoods of choices become choice.<i>, in the task's own order.
- promptfoo, the JSON of `promptfoo eval --output`: `vars` becomes vars.<key>, the output `predicted`.
- SQuAD's official script: one object of id → answer.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.size_limits import check_cells, check_json
from tuneproof.tasks.tables import Table, TextFormat, read_table
from tuneproof.tasks.text_file import decode, read_bytes

LM_EVAL_KEYS = {"doc", "filtered_resps"}
MAX_LISTED = 6


def read_results(
    path: str | Path, text_format: TextFormat | None = None, provider: str | None = None
) -> Table:
    """The file as a table; results of a harness are flattened.

    provider: of promptfoo's results, which system's rows to read.

    Raises: DataError where the file is damaged, or holds several providers and none is named.
    """
    table = _read_object(Path(path).expanduser(), text_format or TextFormat(), provider)
    if table is None:
        table = read_table(path, text_format)
    return _flatten_samples(table) if set(table.columns) >= LM_EVAL_KEYS else table


def _read_object(path: Path, text_format: TextFormat, provider: str | None) -> Table | None:
    """The table of a JSON file that holds one object; None for all other files."""
    if path.suffix.lower() != ".json":
        return None
    file = read_bytes(path)
    text = decode(file, text_format.encoding)
    check_json(file.name, text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None  # read_table says what is wrong
    about = {"path": str(path), "sha256": file.sha256}
    if not isinstance(content, dict) or isinstance(content.get("data"), list):
        return None
    if all(isinstance(value, str) for value in content.values()):
        columns = {"id": list(content), "predicted": list(content.values())}
        return Table(file.name, columns, range(1, len(content) + 1), about=about)
    results = _promptfoo_results(content)
    if results is None:
        problem = "is one object, but neither id → prediction nor results of promptfoo."
        raise DataError(file.name, problem, do="Write a list of objects, or JSONL.")
    rows = _of_provider(file.name, results, provider)
    check_cells(file.name, len(rows) * len({name for row in rows for name in row}))
    return _as_table(file.name, rows, range(1, len(rows) + 1), "result", about)


def _promptfoo_results(content: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The list of results: `results.results`, or `results` in older files."""
    inner = content.get("results")
    if isinstance(inner, dict):
        inner = inner.get("results")
    if isinstance(inner, list) and all(isinstance(entry, dict) for entry in inner):
        return inner
    return None


def _of_provider(
    name: str, results: Sequence[Mapping[str, Any]], provider: str | None
) -> list[dict[str, Any]]:
    """The rows of one provider and prompt. Raises: DataError where there are several and none is named."""
    rows = [_promptfoo_row(entry) for entry in results]
    systems = list(dict.fromkeys(str(row["provider"]) for row in rows))
    if provider is not None and provider not in systems:
        listed = f"Its providers: {', '.join(systems[:MAX_LISTED])}."
        raise DataError(name, f"has no provider {provider!r}.", listed, "Correct given.provider.")
    if provider is None and len(systems) > 1:
        problem = f"holds the results of {len(systems)} providers."
        listed = f"They are {', '.join(systems[:MAX_LISTED])}."
        raise DataError(name, problem, listed, "Name one with given.provider, and write one arm for each.")
    return [row for row in rows if provider in (None, row["provider"])]


def _promptfoo_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One result: its variables, its output (None where the request failed) and its tokens."""
    response = entry.get("response")
    response = response if isinstance(response, dict) else {}
    usage = response.get("tokenUsage")
    usage = usage if isinstance(usage, dict) else {}
    system = entry.get("provider")
    identity = system.get("label") or system.get("id") if isinstance(system, dict) else system
    prompt = entry.get("promptIdx")
    variables = entry.get("vars")
    return {
        **_prefixed("vars", variables if isinstance(variables, dict) else {}),
        "provider": f"{identity}, prompt {prompt}" if prompt else str(identity),
        "predicted": _as_text(response.get("output")),
        "input_tokens": usage.get("prompt"),
        "output_tokens": usage.get("completion"),
    }


def _flatten_samples(table: Table) -> Table:
    """lm-evaluation-harness's samples, a row an item."""
    rows = []
    for index, (doc, replies) in enumerate(
        zip(table.columns["doc"], table.columns["filtered_resps"], strict=True)
    ):
        if not isinstance(doc, dict) or not isinstance(replies, list):
            problem = "is no sample of lm-evaluation-harness: doc is no object, or filtered_resps no list."
            raise DataError(table.locate(index), problem, do="Write the file again with --log_samples.")
        rows.append({**_prefixed("doc", doc), **_reply(replies)})
    for name in ("doc_id", "target"):
        if name in table.columns:
            rows = [{**row, name: value} for row, value in zip(rows, table.columns[name], strict=True)]
    return _as_table(table.name, rows, table.numbers, table.noun, table.about)


def _reply(replies: Sequence[Any]) -> dict[str, Any]:
    """A written response, or the log-likelihood of every choice."""
    scores = [_log_likelihood(reply) for reply in replies]
    if len(replies) > 1 and None not in scores:
        return {f"choice.{index}": score for index, score in enumerate(scores)}
    first = replies[0] if replies else None
    return {"predicted": _as_text(first[0] if isinstance(first, list) and first else first)}


def _log_likelihood(reply: Any) -> float | None:
    """The first entry of [log-likelihood, is greedy]."""
    value = reply[0] if isinstance(reply, list) and len(reply) == 2 else reply
    try:
        return float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        return None


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _as_text(value: Any) -> str | None:
    """A reply as text; an object or a list as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _as_table(
    name: str, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], noun: str, about: Mapping[str, Any]
) -> Table:
    names = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in names}
    return Table(name, columns, numbers, noun, about=about)
