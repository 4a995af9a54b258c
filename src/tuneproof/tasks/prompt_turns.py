"""Instruction, shots and query as one text, or as the turns of a chat.

In: an instruction, (query, answer) shots, a query. Out: a text, or turns.
Knows nothing of: tokenizers, chat templates, servers.
"""

from collections.abc import Sequence

SEPARATOR = "\n\n"  # between instruction, shots and item


def join_prompt(instruction: str, shots: Sequence[tuple[str, str]], query: str) -> tuple[str, str]:
    """The prompt as one text without a space at its end, and the gap before an answer."""
    query = query.rstrip(" ")
    gap = "" if query.endswith("\n") else " "
    blocks = [instruction] if instruction else []
    blocks += [shot_query.rstrip(" ") + gap + answer for shot_query, answer in shots]
    return SEPARATOR.join([*blocks, query]), gap


def chat_turns(instruction: str, shots: Sequence[tuple[str, str]], query: str) -> list[dict[str, str]]:
    """A turn of the user and one of the model for each shot; the instruction opens the first."""
    queries = [*(shot_query for shot_query, _ in shots), query]
    if instruction:
        queries[0] = f"{instruction}{SEPARATOR}{queries[0]}"
    turns = []
    for shot_query, (_, answer) in zip(queries[:-1], shots, strict=True):
        turns.append({"role": "user", "content": shot_query})
        turns.append({"role": "assistant", "content": answer})
    return [*turns, {"role": "user", "content": queries[-1]}]


def fill_question(template: str, question: str, context: str) -> str:
    """The template with both filled in; braces in them stay as they are."""
    before, _, after = template.partition("{context}")
    return before.replace("{question}", question) + context + after.replace("{question}", question)
