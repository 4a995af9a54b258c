"""Small studies for tests: an own file of sixty rows, a tiny random model, a recipe.

In: a folder. Out: a recipe that runs in seconds. Knows nothing of: what is asserted.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tuneproof.arms.event import Event
from tuneproof.recipe import Recipe, recipe_from
from tuneproof.study import events_of

WHO = ("She", "My friend", "The critic", "Nobody", "A tired viewer")
WHAT = ("movie", "film", "story", "wonderful plot", "terrible ending", "music")
HOW = {"negative": "bad", "positive": "very good", "mixed": "not great at all"}


def rows_of(labels: Sequence[str], count: int = 60) -> list[tuple[str, str]]:
    """(text, label), sorted by label; the last words alone tell the label."""
    pairs = [(who, what) for what in WHAT for who in WHO]
    rows = []
    for label in labels:
        for place in range(count // len(labels)):
            who, what = pairs[place % len(pairs)]
            more = "again " * (place // len(pairs))
            rows.append((f"{who} watched the {what} {more}and said it was {HOW[label]}.", label))
    return rows


def write_rows(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """A CSV with the columns text and label."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def small_recipe(
    folder: Path,
    models: Sequence[Any],
    arms: Sequence[Any],
    labels: Sequence[str] = ("negative", "positive"),
    out: str = "study",
    **sections: Any,
) -> Recipe:
    """A recipe over the sixty rows; sections are merged into quick defaults."""
    path = folder / f"rows-{len(labels)}.csv"
    if not path.exists():
        write_rows(path, rows_of(labels))
    values: dict[str, Any] = {
        "task": {"labels": {"path": str(path), "labels": list(labels)}},
        "models": [str(model) if isinstance(model, Path) else model for model in models],
        "arms": list(arms),
        "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
        "encode": {"max_length": 224},
        "train": {"epochs": 2, "batch_size": 8, "schedule": "constant", "warmup_share": 0},
        "score": {"draws": 200},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    for name, section in sections.items():
        old = values.get(name)
        values[name] = {**old, **section} if isinstance(old, dict) else section
    return recipe_from(values)


def follow(recipe: Recipe) -> list[Event]:
    """Everything that happens."""
    return list(events_of(recipe))


def follow_until(recipe: Recipe, into: list[Event]) -> Iterator[Event]:
    """Events, also kept in `into` where the study raises."""
    for event in events_of(recipe):
        into.append(event)
        yield event


def arm_of(recipe: Recipe, name: str) -> dict[str, Any]:
    """arm.json of the first folder whose name ends so (before the seed)."""
    return json.loads((folder_of(recipe, name) / "arm.json").read_text("utf-8"))


def folder_of(recipe: Recipe, name: str, seed: int | None = None) -> Path:
    """The arm's folder."""
    ends = f"{name}.seed{seed}" if seed is not None else name
    found = [
        path
        for path in sorted((Path(recipe.out) / "arms").iterdir())
        if path.name == ends
        or path.name.endswith(f".{ends}")
        or (seed is None and f".{name}.seed" in path.name)
    ]
    assert found, f"no folder of {name} in {recipe.out}"
    return found[0]


def steps_of(recipe: Recipe, name: str, seed: int | None = None) -> list[dict[str, Any]]:
    """The lines of steps.jsonl."""
    text = (folder_of(recipe, name, seed) / "steps.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]
