"""Conversations as rows: files of `messages`, as hosted fine-tuning takes them.

In: tables with a column `messages`. Out: the same with a text and a label or an answer in each row, and the
instruction. Knows nothing of: labels' names, prompts, splits.

The last turn is the assistant's: the label or the answer. The turns before it are the text; those of the
system are the instruction, or stand before the text where the file has several.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.errors import DataError
from tuneproof.tasks.tables import Table

MESSAGES = "messages"
SYSTEM_ROLES = ("system", "developer")
ROLES = (*SYSTEM_ROLES, "user", "assistant")
GAP = "\n\n"
MIN_ANSWERS = 20  # from which on mostly different last turns are no labels
MAX_FIRST_LINE = 1_000_000  # bytes


@dataclass(frozen=True)
class Conversation:
    """A row: what the system says, the text, and the assistant's last turn; "" where there is none."""

    system: str
    text: str
    last: str


def starts_with_messages(path: Path) -> bool:
    """Whether the first line of a file is a row with messages."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline(MAX_FIRST_LINE)
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and MESSAGES in row


def has_messages(table: Table, text: str) -> bool:
    """Whether the rows are conversations; a column of texts goes before."""
    return MESSAGES in table.columns and text not in table.columns


def read_conversations(
    tables: Mapping[str, Table], text: str, last: str, is_label: bool = True
) -> tuple[dict[str, Table], str | None]:
    """The tables with the columns `text` and `last`, and the instruction of all rows, if there is one.

    last: the column of the assistant's last turns. is_label: whether these are labels; else answers.

    Raises: DataError with the row of a conversation that has no text or no last turn.
    """
    rows = {part: _complete(table, "label" if is_label else "answer") for part, table in tables.items()}
    if is_label:
        _refuse_answers(tables, rows)
    systems = {row.system for part in rows.values() for row in part}
    instruction = systems.pop() if len(systems) == 1 else None
    names = (text, last)
    converted = {
        part: _with_columns(table, rows[part], names, instruction is None) for part, table in tables.items()
    }
    return converted, instruction or None


def _refuse_answers(tables: Mapping[str, Table], rows: Mapping[str, Sequence[Conversation]]) -> None:
    """Raises: DataError where the last turns are texts of their own, which no classifier learns."""
    labels = [row.last for part in rows.values() for row in part]
    different = len(set(labels))
    if len(labels) < MIN_ANSWERS or 2 * different <= len(labels):
        return
    problem = f"{different:,} of its {len(labels):,} last turns are different texts: answers, not labels."
    allowed = "The task labels takes the last turn as a label."
    do = "Add --answers for written answers (in a recipe: the task answers), or end with a label."
    raise DataError(next(iter(tables.values())).name, problem, allowed, do)


def _complete(table: Table, name: str) -> list[Conversation]:
    """The table's conversations; `name`: what the last turn is. Raises: DataError where one lacks it."""
    rows = [_conversation(table, index) for index in range(len(table.numbers))]
    incomplete = [index for index, row in enumerate(rows) if not row.last]
    if incomplete:
        listed = table.list_rows(incomplete)
        problem = f"the conversation does not end with the assistant's turn ({listed})."
        raise DataError(table.name, problem, f"The last turn is the {name}.", "Add it, or remove the row.")
    return rows


def with_texts(table: Table, text: str, instruction: str | None) -> Table:
    """A table of new conversations with the column `text`; a last turn of the assistant is not read.

    instruction: the study's, which is not repeated in the texts.
    """
    rows = [_conversation(table, index) for index in range(len(table.numbers))]
    texts = [_text_of(row, is_separate=row.system != (instruction or "")) for row in rows]
    return replace(table, columns={text: texts})


def _with_columns(table: Table, rows: Sequence[Conversation], names: tuple[str, str], several: bool) -> Table:
    others = {name: table.columns[name] for name in table.columns if name != MESSAGES}
    texts = [_text_of(row, several) for row in rows]
    return replace(table, columns={**others, names[0]: texts, names[1]: [row.last for row in rows]})


def _text_of(row: Conversation, is_separate: bool) -> str:
    return f"{row.system}{GAP}{row.text}" if is_separate and row.system else row.text


def _conversation(table: Table, index: int) -> Conversation:
    """Raises: DataError where a turn is not text, or its role is not known."""
    turns = _turns(table, index)
    system = GAP.join(text for role, text in turns if role in SYSTEM_ROLES)
    turns = [(role, text) for role, text in turns if role not in SYSTEM_ROLES]
    last = turns.pop()[1] if turns and turns[-1][0] == "assistant" else ""
    if not turns:
        raise DataError(table.locate(index), "the conversation has no turn of the user.", do="Add it.")
    if len(turns) == 1:
        return Conversation(system, turns[0][1], last)
    return Conversation(system, "\n".join(f"{role}: {text}" for role, text in turns), last)


def _turns(table: Table, index: int) -> list[tuple[str, str]]:
    value = table.columns[MESSAGES][index]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        do = 'Write [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].'
        raise DataError(table.locate(index), "messages is not a list of turns.", do=do)
    return [_turn(table.locate(index), turn) for turn in value]


def _turn(where: str, turn: Mapping[str, Any]) -> tuple[str, str]:
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        problem = f"a turn has the role {role!r:.40}."
        raise DataError(where, problem, f"Roles: {', '.join(ROLES)}.", "Remove the row, or tool calls in it.")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        parts = [text for text in texts if isinstance(text, str)]
        content = "\n".join(parts) if parts and len(parts) == len(texts) else None
    if not isinstance(content, str):
        raise DataError(where, f"the content of a turn of the {role} is not text.", do="Remove the row.")
    return str(role), content.strip()
