"""Small studies of questions for tests: eighty rows, a tiny random model, a recipe.

In: a folder. Out: a recipe that runs in seconds. Knows nothing of: what is asserted.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tiny_models import tiny_model
from tuneproof.recipe.recipe import Recipe, recipe_from

PEOPLE = ("She", "My friend", "The critic", "Nobody", "A tired viewer")
THINGS = ("movie", "film", "story", "music")
OPINIONS = ("great", "bad", "very good", "not good at all")


def question_rows(count: int = 80) -> list[dict[str, Any]]:
    """Two questions about each context, the second without an answer; twenty titles."""
    rows = []
    for number in range(count // 2):
        person, thing = PEOPLE[number % 5], THINGS[number % 4]
        opinion = OPINIONS[(number // 5) % 4]
        again = "again " * (number // 20)
        context = f"{person} watched the {thing} {again}and said it was {opinion} ."
        for index, start in enumerate(("What was watched", "What was reviewed")):
            rows.append(
                {
                    "id": f"q{number}-{index}",
                    "title": f"title {number // 2}",
                    "context": context,
                    "question": f"{start} by number {number}?",
                    "answers": [] if index else [thing],
                }
            )
    return rows


def question_models(root: Path, kinds: Sequence[str]) -> dict[str, Path]:
    """Tiny models by kind; those with rotary positions have as many as the prompts need."""
    folders = {kind: tiny_model(root / kind, kind) for kind in kinds}
    for kind in {"llama", "mistral", "gemma2"} & set(kinds):
        file = folders[kind] / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": 1024}))
    return folders


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
        "seeds": [0],
        "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
        "encode": {"max_length": 700, "stride": 8, "answer_tokens": 24},
        "train": {"epochs": 2, "batch_size": 8, "schedule": "constant", "warmup_share": 0},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    for name, section in sections.items():
        old = values.get(name)
        values[name] = {**old, **section} if isinstance(old, dict) else section
    return recipe_from(values)
