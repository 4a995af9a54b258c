"""A table of bad inputs: what is typed, the exit code, and the exact paragraph that answers it."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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
Before = Callable[[pytest.MonkeyPatch], None] | None


@dataclass(frozen=True)
class Case:
    """Words for the command line, the files that lie in the folder, and what must come back."""

    words: list[str]
    sentence: str
    code: int = 2
    files: dict[str, str | bytes] = field(default_factory=dict)
    before: Before = None
    first: list[list[str]] = field(default_factory=list)


def recipe(text: str | bytes, sentence: str, *more: str, code: int = 2) -> Case:
    """`check` of a recipe with this text."""
    return Case([*RECIPE, *more], sentence, code, {"recipe.yaml": text})


def arms(text: str, sentence: str, *more: str) -> Case:
    """`check` of a good recipe but for its arms and what follows them; arms stand on line 2."""
    return recipe(f"{TASK}arms: {text}\n", sentence, *more)


def rows(text: str | bytes, sentence: str, *more: str, name: str = "own.csv") -> Case:
    """`check` of an own file with this text."""
    return Case(["check", name, *OWN, "--arms", "majority", *more], sentence, files={name: text})


def model(
    name: str, sentence: str, *more: str, method: str = "head", before: Before = None
) -> Case:
    """`check` of good rows with this model."""
    words = ["check", "reviews.csv", *OWN, "--model", name, "--arms", method, *more]
    return Case(words, sentence, before=before)


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Nothing can be put into place."""

    def replace(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "replace", replace)


def late_full_disk(patch: pytest.MonkeyPatch) -> None:
    """The disk is full when the predictions come."""
    real = os.replace

    def replace(source: str, target: str) -> None:
        if str(target).endswith("predictions.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    patch.setattr(os, "replace", replace)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """No folder can be made."""

    def mkdir(self: Path, *more: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(Path, "mkdir", mkdir)


def offline(patch: pytest.MonkeyPatch) -> None:
    """No network."""
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def break_recipe(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the recipe of a finished study."""
    Path("one/recipe.yaml").write_text("task: [")


def break_predictions(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the predictions of a finished study."""
    Path("one/arms/majority/predictions.parquet").write_text("task: [")


CASES: dict[str, Case] = {}
