"""A bad input and the parts of the error that answers it: where, problem, allowed, do.

In: arguments, files, expected parts. Out: the case, carried out by the fixture `provoke`.
Knows nothing of: any one room.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from tuneproof.recipe.schema import recipe_schema

ROWS = [
    f"{word} {thing} number {number},{label}"
    for number in range(10)
    for word, label in (("lovely", "positive"), ("dreadful", "negative"))
    for thing in ("film", "plot")
]
GOOD = "review,sentiment\n" + "\n".join(ROWS) + "\n"
TASK = "task: {labels: {path: reviews.csv, text: review, label: sentiment}}\n"
OWN = ["--text", "review", "--label", "sentiment"]
LIBRARY = "<library>"  # words of another package, which may change with its version
Before = Callable[[pytest.MonkeyPatch], None] | None


class Parts(NamedTuple):
    """The four parts of an error."""

    where: str
    problem: str
    allowed: str = ""
    do: str = ""


@dataclass(frozen=True)
class Case:
    """Arguments of the command line, the files in its folder, and the error that must come back."""

    argv: list[str]
    parts: Parts
    code: int = 2
    files: dict[str, str | bytes] = field(default_factory=dict)
    before: Before = None
    first: list[list[str]] = field(default_factory=list)


def recipe(text: str | bytes, parts: Parts, *more: str, code: int = 2) -> Case:
    """`check` of a recipe with this text."""
    return Case(["check", "recipe.yaml", *more], parts, code, {"recipe.yaml": text})


def meaning(setting: str) -> str:
    """How an error explains a setting: 'train.epochs', 'arms.lora.rank'."""
    schemas = [recipe_schema()]
    for name in setting.split("."):
        schemas = [inner[name] for schema in schemas for inner in _properties(schema) if name in inner]
    return f"Meaning: {schemas[0]['description']}"


def _properties(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """The named settings directly below, through lists and alternatives."""
    if "properties" in schema:
        yield schema["properties"]
    for inner in (*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])):
        yield from _properties(inner)


def offline(patch: pytest.MonkeyPatch) -> None:
    """No network."""
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
