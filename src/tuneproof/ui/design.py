"""What was chosen on the page, as a recipe and as the command that does the same.

In: a design. Out: the recipe's values, a command line. Knows nothing of: HTTP, how recipes are checked.

A design: {name, kind ("labels", "questions", "answers" or a task's name), path, or hub, revision and config
of a data set, columns {role or reading option (encoding, delimiter, sheet): value}, messages (true: the file
is of conversations), models [...], arms [...], seeds [...], settings {name: value}}.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.methods import METHODS
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.recipe.yaml import Document, Keys, parse_value
from tuneproof.record.study_folder import slug

FILE_KINDS = ("labels", "questions", "answers")
Design = Mapping[str, Any]


class PageDocument(Document):
    """Values whose errors name the field of the page."""

    def where(self, path: Keys) -> str:
        """The field: a setting that was changed, a column's role, or the recipe's key."""
        setting = super().where(path)
        names = [part for part in path if isinstance(part, str)]
        if setting.startswith("--set ") or not names:
            return setting
        return names[-1] if names[0] == "task" else names[0]


def study_name(folder: Path, wish: str) -> str:
    """A name for a new study in the folder: the wish, with a number where it is in use."""
    name, number = slug(wish), 2
    while (folder / name).exists():
        name, number = f"{slug(wish)}-{number}", number + 1
    return name


def checked_recipe(folder: Path, design: Design) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a design, checked without its data, and the values that were chosen.

    Raises: RecipeError that names the page's field.
    """
    document = _document(folder, design)
    return recipe_from(document.values, document), document.values


def _document(folder: Path, design: Design) -> Document:
    wish = _text(design, "name")
    if not wish:
        raise RecipeError("name", "the study has no name.", do="Give it one: its folder is called so.")
    if slug(wish) != wish or wish.startswith("."):
        allowed = "Allowed: letters, digits, dots, dashes and underscores, at most 80."
        raise RecipeError("name", f"{wish!r} cannot name a study's folder.", allowed)
    values: dict[str, Any] = {"task": _task(design)}
    if models := _names(design, "models"):
        values["models"] = models
    values["arms"] = _names(design, "arms")
    if not values["arms"]:
        raise RecipeError("arms", "no arm is chosen.", do="Choose at least one.")
    methods = [METHODS[name] for name in values["arms"] if isinstance(name, str) and name in METHODS]
    needy = [method.name for method in methods if method.kind in ("prompt", "tuned")]
    if needy and not models:
        raise RecipeError(
            "models", f"no model is chosen, but {needy[0]} needs one.", do="Choose at least one."
        )
    if seeds := design.get("seeds"):
        values["seeds"] = seeds
    values["out"] = str(folder / wish)
    document = PageDocument("settings", values)
    settings = design.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise RecipeError("settings", "are not NAME=VALUE.")
    for name, value in settings.items():
        if not str(value).strip():
            raise RecipeError(f"--set {name}", "is not NAME=VALUE.", do="Write it like train.epochs=2.")
        first, _, last = name.partition(".")
        if first in ("out", "models", "seeds") or (first == "task" and last.endswith((".path", ".hub"))):
            raise RecipeError(f"--set {name}={value}", "is chosen above.", do="Choose it there.")
        document.override(f"{name}={value}")
    return document


def command_line(folder: Path, design: Design) -> str:
    """The command that runs the same study; of a data set on the hub, the recipe's file is what it runs."""
    if _hub(design):
        return shlex.join(["tuneproof", "run", f"{_text(design, 'name')}.yaml"])
    words = ["tuneproof", "run", _text(design, "path") or _text(design, "kind")]
    columns = _columns(design)
    kind = _text(design, "kind")
    if kind in ("questions", "answers"):
        words.append(f"--{kind}")
    for role, column in columns.items():
        short = role in ("text", "label", "group", "id", "test", "dev", "sheet") and kind != "questions"
        words += [f"--{role}", column] if short else ["--set", f"task.{kind}.{role}={json.dumps(column)}"]
    for option in ("models", "arms", "seeds"):
        if chosen := design.get(option):
            words += [f"--{option}", ",".join(str(entry) for entry in chosen)]
    for name, value in (design.get("settings") or {}).items():
        words += ["--set", f"{name}={value}"]
    return shlex.join([*words, "--out", str(folder / _text(design, "name"))])


def _task(design: Design) -> Any:
    kind = _text(design, "kind")
    if kind not in FILE_KINDS:
        return kind
    path, hub = _text(design, "path"), _hub(design)
    if not (path or hub):
        raise RecipeError("file", "no file is chosen.", do="Drop one on the page, or name its path.")
    columns = _columns(design)
    if kind == "labels" and not design.get("messages"):
        for role in ("text", "label"):
            if not columns.get(role):
                raise RecipeError(role, f"no column is chosen for the {role}.", do="Choose one.")
    return {kind: {**(hub or {"path": path}), **columns}}


def _hub(design: Design) -> dict[str, str]:
    """The data set on the hub, if one was named."""
    values = {name: _text(design, name) for name in ("hub", "revision", "config")}
    return {name: value for name, value in values.items() if value} if values["hub"] else {}


def _columns(design: Design) -> dict[str, str]:
    columns = design.get("columns") or {}
    if not isinstance(columns, Mapping):
        raise RecipeError("columns", "are not {role: column}.")
    return {str(role): str(column) for role, column in columns.items() if column}


def _text(design: Design, name: str) -> str:
    value = design.get(name) or ""
    if not isinstance(value, str):
        raise RecipeError(name, "is no text.")
    return value


def _names(design: Design, name: str) -> list[Any]:
    names = design.get(name) or []
    if not isinstance(names, list):
        raise RecipeError(name, "are not a list.")
    return [parse_value(entry, name) if entry.startswith("{") else entry for entry in map(str, names)]
