"""A table of bad inputs: what is typed, the exit code, and the exact paragraph that answers it."""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tiny_models import tiny_model, tiny_tokenizer
from tuneproof.cli import main

ROWS = [
    f"{word} {thing} number {number},{label}"
    for number in range(10)
    for word, label in (("lovely", "positive"), ("dreadful", "negative"))
    for thing in ("film", "plot")
]
GOOD = "review,sentiment\n" + "\n".join(ROWS) + "\n"
TASK = "task: {labels: {path: reviews.csv, text: review, label: sentiment}}\n"
OWN = ["--text", "review", "--label", "sentiment"]
RECIPE = ["check", "recipe.yaml"]


@dataclass(frozen=True)
class Case:
    """Words for the command line, the files that lie in the folder, and what must come back."""

    words: list[str]
    sentence: str
    code: int = 2
    files: dict[str, str | bytes] = field(default_factory=dict)
    before: Callable[[pytest.MonkeyPatch], None] | None = None
    slow: bool = False


def recipe(text: str | bytes, sentence: str, *more: str, code: int = 2) -> Case:
    """`check` of a recipe with this text."""
    return Case([*RECIPE, *more], sentence, code, {"recipe.yaml": text})


def arms(text: str, sentence: str, *more: str) -> Case:
    """`check` of a good recipe but for its arms and what follows them; arms stand on line 2."""
    return recipe(f"{TASK}arms: {text}\n", sentence, *more)


def rows(text: str | bytes, sentence: str, *more: str, name: str = "own.csv") -> Case:
    """`check` of an own file with this text."""
    return Case(["check", name, *OWN, "--arms", "majority", *more], sentence, files={name: text})


def model(name: str, sentence: str, *more: str, method: str = "head") -> Case:
    """`check` of good rows with this model."""
    words = ["check", "reviews.csv", *OWN, "--model", name, "--arms", method, *more]
    return Case(words, sentence)


CASES: dict[str, Case] = {}
