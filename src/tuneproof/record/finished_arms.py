"""The finished arms of a study with their predictions, and its recipe.

In: a study's directory. Out: each arm with all its seeds. Knows nothing of: comparisons, verdicts, models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record import study_folder


@dataclass(frozen=True)
class FinishedArm:
    """All finished seeds of one arm of one model; `seeds` is [None] if the arm is deterministic."""

    arm: str
    model: str | None
    kind: str
    runs: list[AnyPredictions]
    seeds: list[int | None]

    @property
    def has_chance(self) -> bool:
        """Whether the arm varies with the seed."""
        return None not in self.seeds

    @property
    def own_model(self) -> bool:
        """Whether it has no model of the study: none, or a finished one of its own."""
        return self.model is None or self.kind == "finished"

    def about(self) -> dict[str, Any]:
        """The arm's identity in comparisons.json."""
        return {"arm": self.arm, "model": self.model, "kind": self.kind, "seeds": len(self.runs)}

    def name(self, with_model: bool) -> str:
        """The arm's name, with its model if the study has several."""
        return f"{self.model} {self.arm}" if with_model and self.model else self.arm

    def on_sample(self, size: int | None) -> "FinishedArm":
        """The arm under its name on a sample of train; None: all of train."""
        return self if size is None else replace(self, arm=f"{self.arm} on {size:,} items")


def finished_arms(
    records: Sequence[study_folder.ArmRecord], file: str = study_folder.PREDICTIONS
) -> list[FinishedArm]:
    """The finished arms, each with all its seeds, in the recipe's order; file: that of their predictions."""
    arms: dict[tuple[str, str | None], FinishedArm] = {}
    for record in records:
        if record.about["status"] == "done":
            key = (record.about["arm"], record.about.get("model"))
            arm = arms.setdefault(key, FinishedArm(*key, record.about.get("kind") or "", [], []))
            arm.seeds.append(record.about.get("seed"))
            arm.runs.append(read_predictions(record.folder / file))
    return list(arms.values())


def read_study_recipe(folder: Path) -> Recipe:
    """The recipe in a study's folder.

    Raises: RunError if the study's format is older and its recipe is no longer valid.
    """
    path = folder / study_folder.RECIPE
    try:
        return _parse_once(path, path.read_bytes() if path.is_file() else b"")
    except RecipeError as error:
        if study_folder.study_format(folder) == study_folder.FORMAT:
            raise
        raise study_folder.format_error(folder) from error


@lru_cache(maxsize=16)
def _parse_once(path: Path, _content: bytes) -> Recipe:
    """The recipe of a file with this content, which every part of a report reads."""
    return read_recipe(path)
