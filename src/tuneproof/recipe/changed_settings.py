"""The settings of a recipe that differ from their defaults.

In: a recipe. Out: names as `--set` takes them, with values and defaults.
Knows nothing of: what a setting does, files.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from tuneproof.recipe.recipe import DEFAULT_SEEDS, SECTIONS, Recipe


class ChangedSetting(NamedTuple):
    """A setting with its value and its default; `default` is None where there is none."""

    name: str
    value: Any
    default: Any


def changed_settings(recipe: Recipe) -> list[ChangedSetting]:
    """All but the task's path: the task's, the arms', then those of the stages."""
    changed = list(_changes(f"task.{recipe.task_name}", recipe.task_options, without=("path",)))
    for arm in recipe.arms:
        changed += _changes(f"arms.{arm.name}", arm.options, without=("name",))
    if recipe.seeds != DEFAULT_SEEDS:
        changed.append(ChangedSetting("seeds", list(recipe.seeds), list(DEFAULT_SEEDS)))
    for name in ("train_sizes", "metrics"):
        if value := getattr(recipe, name):
            changed.append(ChangedSetting(name, list(value), []))
    for name in SECTIONS:
        changed += _changes(name, getattr(recipe, name))
    return changed


def _changes(prefix: str, options: BaseModel, without: tuple[str, ...] = ()) -> Iterator[ChangedSetting]:
    """The fields that are not as by default, and what was added to them."""
    values = options.model_dump(mode="json")
    fields = type(options).model_fields
    defaults = type(options).model_construct().model_dump(mode="json")
    for name, value in values.items():
        default = defaults.get(name) if name in fields else None
        if name not in without and value != default:
            yield ChangedSetting(f"{prefix}.{name}", value, default)
