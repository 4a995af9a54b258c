"""Conversations as rows: files of `messages`, as hosted fine-tuning takes them.

In: tables with a column `messages`. Out: the same with a text and a label in each row, and the instruction.
Knows nothing of: labels' names, prompts, splits.

The last turn is the assistant's: the label. The turns before it are the text; those of the system are the
instruction, or stand before the text where the file has several.
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
    """A row: what the system says, what is to be labelled, and the label; "" where there is none."""

    system: str
    text: str
    label: str


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
    tables: Mapping[str, Table], text: str, label: str
) -> tuple[dict[str, Table], str | None]:
    """The tables with the columns `text` and `label`, and the instruction of all rows, if there is one.

    Raises: DataError with the row of a conversation that has no text or no label.
    """
    rows = {part: _labelled(table) for part, table in tables.items()}
    _refuse_answers(tables, rows)
    systems = {row.system for part in rows.values() for row in part}
    instruction = systems.pop() if len(systems) == 1 else None
    names = (text, label)
    converted = {
        part: _with_columns(table, rows[part], names, instruction is None) for part, table in tables.items()
    }
    return converted, instruction or None


def _refuse_answers(tables: Mapping[str, Table], rows: Mapping[str, Sequence[Conversation]]) -> None:
    """Raises: DataError where the last turns are texts of their own, which no classifier learns."""
    labels = [row.label for part in rows.values() for row in part]
    different = len(set(labels))
    if len(labels) < MIN_ANSWERS or 2 * different <= len(labels):
        return
    problem = f"{different:,} of its {len(labels):,} last turns are different texts: answers, not labels."
    allowed = "Of messages, a study reads labels; of answers, those about a context, with a column for each."
    do = "Write columns question, context and answers and use --questions, or a label as the last turn."
    raise DataError(next(iter(tables.values())).name, problem, allowed, do)


def _labelled(table: Table) -> list[Conversation]:
    """The table's conversations. Raises: DataError where one has no label."""
    rows = [_conversation(table, index) for index in range(len(table.numbers))]
    unlabelled = [index for index, row in enumerate(rows) if not row.label]
    if unlabelled:
        listed = table.list_rows(unlabelled)
        problem = f"the conversation does not end with the assistant's turn ({listed})."
        raise DataError(table.name, problem, "The last turn is the label.", "Add it, or remove the row.")
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
    return replace(table, columns={**others, names[0]: texts, names[1]: [row.label for row in rows]})


def _text_of(row: Conversation, is_separate: bool) -> str:
    return f"{row.system}{GAP}{row.text}" if is_separate and row.system else row.text


def _conversation(table: Table, index: int) -> Conversation:
    """Raises: DataError where a turn is not text, or its role is not known."""
    turns = _turns(table, index)
    system = GAP.join(text for role, text in turns if role in SYSTEM_ROLES)
    turns = [(role, text) for role, text in turns if role not in SYSTEM_ROLES]
    label = turns.pop()[1] if turns and turns[-1][0] == "assistant" else ""
    if not turns:
        raise DataError(table.locate(index), "the conversation has no turn of the user.", do="Add it.")
    if len(turns) == 1:
        return Conversation(system, turns[0][1], label)
    return Conversation(system, "\n".join(f"{role}: {text}" for role, text in turns), label)


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
