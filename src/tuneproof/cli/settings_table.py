"""All settings as a table: name, default, meaning; and those that a recipe changes.

In: the declared settings, a recipe. Out: lines of text. Knows nothing of: what a setting does.

A pipe gets one line for each setting, so that it can be searched; a terminal gets wrapped lines.
"""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tuneproof.methods import METHODS
from tuneproof.recipe.changed_settings import changed_settings
from tuneproof.recipe.recipe import DEFAULT_SEEDS, SECTIONS, ModelChoice, Recipe
from tuneproof.settings import Claim
from tuneproof.tasks import TASKS

Row = tuple[str, str, str]  # name, default, meaning
NAME_WIDTH, DEFAULT_WIDTH = 30, 16
TOP: tuple[Row, ...] = (
    ("task", "required", "A task's name, or {NAME: {SETTING: VALUE}}; `tuneproof show tasks`."),
    ("models", "[]", "Short names, hub ids or folders; `tuneproof show models`."),
    ("arms", "required", "Methods, or {METHOD: {SETTING: VALUE}}; `tuneproof show methods`."),
    ("seeds", json.dumps(DEFAULT_SEEDS), "Seeds of the arms that involve chance."),
    ("train_sizes", "[]", "Every arm that learns also runs on samples of train of these sizes."),
    ("metrics", "[]", "Metrics to score besides the task's own; `tuneproof show metrics`."),
    ("tests", "{}", "Further test files by name: every arm is scored there too."),
    ("out", "by its content", "The folder of the study."),
)
ENDING = (
    "Set one with --set NAME=VALUE, e.g. --set train.epochs=1 or --set arms.lora.rank=8, or in a recipe. "
    "`tuneproof check` prints those that differ from the defaults."
)


def setting_rows() -> dict[str, list[Row]]:
    """Every setting below the title of its part: the recipe, its sections, the tasks, the methods."""
    rows = {"A recipe": [*TOP, *_rows(Claim, "claim"), *_rows(ModelChoice, "models.ID")]}
    for name, section in SECTIONS.items():
        first_sentence = re.split(r"(?<!et al)\. ", " ".join((section.__doc__ or name).split()))[0]
        rows[first_sentence.rstrip(".")] = list(_rows(section, name))
    for name in ("labels", "questions"):
        title = f"--set task.{name}.NAME=VALUE: {TASKS[name].title}"
        rows[title] = list(_rows(TASKS[name].options, f"task.{name}"))
    rows["Methods: --set arms.ARM.NAME=VALUE"] = _method_rows()
    return rows


def settings_text(section: str | None = None) -> str:
    """The table, of one section alone if it is named."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    blocks = []
    for title, rows in setting_rows().items():
        if section is None or all(name.startswith(f"{section}.") for name, *_ in rows):
            blocks.append("\n".join([title, *(_line(row, width) for row in rows)]))
    return "\n\n".join([*blocks, ENDING])


def _rows(options: type[BaseModel], prefix: str) -> Iterator[Row]:
    for name, field in options.model_fields.items():
        default = (
            "required" if field.is_required() else default_text(field.get_default(call_default_factory=True))
        )
        yield f"{prefix}.{name}", default, field.description or ""


def default_text(value: Any) -> str:
    """A default as a recipe spells it; a dash for none."""
    if value is None or isinstance(value, str):
        return "-" if value is None else value
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)


def _method_rows() -> list[Row]:
    """A setting that means the same for several methods once, with their names."""
    methods: dict[Row, list[str]] = {}
    for name, method in METHODS.items():
        for row in _rows(method.options, "ARM"):
            methods.setdefault(row, []).append(name)
    names = {row: "all" if len(users) == len(METHODS) else ", ".join(users) for row, users in methods.items()}
    return [(name, default, f"{meaning} [{used}]") for (name, default, meaning), used in names.items()]


def _line(row: Row, width: int | None) -> str:
    name, default, meaning = row
    lead = f"  {name:<{NAME_WIDTH}} {default:<{DEFAULT_WIDTH}} "
    if width is None or width < len(lead) + 20:
        return f"{lead}{meaning}"
    indent = " " * (NAME_WIDTH + DEFAULT_WIDTH + 4)
    return "\n".join(textwrap.wrap(f"{lead}{meaning}", width, subsequent_indent=indent)) or lead


def changed_lines(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """A title and a line for every setting that differs from its default."""
    for row, change in enumerate(changed_settings(recipe)):
        default = "" if change.default in (None, [], {}) else f" (default {default_text(change.default)})"
        yield ("" if row else "Changed"), f"{change.name} = {default_text(change.value)}{default}"


def changed_values(recipe: Recipe) -> dict[str, Any]:
    """The settings that differ from their defaults, by name."""
    return {change.name: change.value for change in changed_settings(recipe)}
