"""Small studies of questions for tests: eighty rows, a tiny random model, a recipe.

In: a folder. Out: a recipe that runs in seconds. Knows nothing of: what is asserted.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.recipe.recipe import Recipe, recipe_from

WHO = ("She", "My friend", "The critic", "Nobody", "A tired viewer")
WHAT = ("movie", "film", "story", "music")
HOW = ("great", "bad", "very good", "not good at all")


def question_rows(count: int = 80) -> list[dict[str, Any]]:
    """Two questions about each context, the second without an answer; twenty titles."""
    rows = []
    for number in range(count // 2):
        who, what = WHO[number % 5], WHAT[number % 4]
        how = HOW[(number // 5) % 4]
        again = "again " * (number // 20)
        context = f"{who} watched the {what} {again}and said it was {how} ."
        for place, asked in enumerate(("What was watched", "What was reviewed")):
            rows.append(
                {
                    "id": f"q{number}-{place}",
                    "title": f"title {number // 2}",
                    "context": context,
                    "question": f"{asked} by number {number}?",
                    "answers": [] if place else [what],
                }
            )
    return rows


def write_questions(path: Path, rows: Sequence[dict[str, Any]] | None = None) -> Path:
    """JSONL with the columns id, title, context, question, answers."""
    lines = [json.dumps(row) for row in (question_rows() if rows is None else rows)]
    path.write_text("\n".join(lines), "utf-8")
    return path


def question_recipe(
    folder: Path, models: Sequence[Any], arms: Sequence[Any], out: str = "study", **sections: Any
) -> Recipe:
    """A recipe over the eighty questions; sections are merged into quick defaults."""
    path = folder / "questions.jsonl"
    if not path.exists():
        write_questions(path)
    values: dict[str, Any] = {
        "task": {"questions": {"path": str(path), "title": "title", "id": "id"}},
        "models": [str(model) if isinstance(model, Path) else model for model in models],
        "arms": list(arms),
        "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
        "encode": {"max_length": 700, "stride": 8, "answer_tokens": 24},
        "train": {"epochs": 2, "batch_size": 8, "schedule": "constant", "warmup_share": 0},
        "score": {"draws": 200},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    for name, section in sections.items():
        old = values.get(name)
        values[name] = {**old, **section} if isinstance(old, dict) else section
    return recipe_from(values)
