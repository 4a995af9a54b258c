"""The recipe that the arguments of `run` and `check` describe: a file, or the short form.

In: parsed arguments. Out: a Recipe, or an error that names the option. Knows nothing of: how a study is run.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.recipe.recipe import Recipe, read_recipe, recipe_from
from tuneproof.recipe.yaml import Document, parse_value
from tuneproof.tasks import TASKS
from tuneproof.tasks.messages import starts_with_messages

FILE_TASKS = ("labels", "questions", "answers")  # tasks that the path of a file stands for
FILE_OPTIONS = ("text", "label", "id", "group", "test", "dev", "slices", "sheet")
LABEL_OPTIONS = ("text", "label", "group")


def split_list(text: str | None) -> list[str]:
    """The entries of "a,b"; none without a text."""
    return [entry.strip() for entry in (text or "").split(",") if entry.strip()]


def recipe_from_args(args: argparse.Namespace) -> Recipe:
    """The recipe in the file, or of the options. Raises: RecipeError if they do not describe a study."""
    if args.source.endswith((".yaml", ".yml")):
        return _recipe_from_file(args)
    values: dict[str, Any] = {"task": _task(args)}
    if not args.arms:
        do = "Write, for example, --arms majority,lexical,head; `tuneproof show methods` lists all."
        raise RecipeError("--arms", "no arms given.", do=do)
    values["models"] = _models(args.models)
    values["arms"] = split_list(args.arms)
    if args.seeds:
        values["seeds"] = [parse_value(seed, "--seeds") for seed in split_list(args.seeds)]
    if args.out:
        values["out"] = args.out
    document = Document("command line", values)
    for override in args.overrides:
        document.override(override)
    return recipe_from(document.values, document)


def demo_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe of the demo study."""
    from tuneproof.tasks.demo_task import DEMO_RECIPE

    return read_recipe(DEMO_RECIPE, [f"out={json.dumps(args.out)}"])


def _models(text: str | None) -> list[str]:
    """The entries of `--models`. Raises: RecipeError if the text is an existing path with a comma in it."""
    if text and "," in text and os.path.exists(text):
        problem = f"the path {text} contains a comma, and commas separate models."
        raise RecipeError("--models", problem, do="Name the model in a recipe (.yaml): models: [PATH].")
    return split_list(text)


def _recipe_from_file(args: argparse.Namespace) -> Recipe:
    for name in ("models", "arms", "seeds", *FILE_OPTIONS):
        if getattr(args, name):
            problem = f"a recipe cannot be combined with --{name}."
            raise RecipeError(args.source, problem, do="Edit the recipe, or change one setting with --set.")
    out = [f"out={json.dumps(args.out)}"] if args.out else []
    return read_recipe(args.source, [*args.overrides, *out])


def _task(args: argparse.Namespace) -> Any:
    """The value of `task` in the recipe."""
    columns = {name: value for name in FILE_OPTIONS if (value := getattr(args, name)) is not None}
    tasks = [name for name in TASKS if name not in FILE_TASKS]
    if args.source in tasks:
        own = [*columns, *(name for name in FILE_TASKS[1:] if getattr(args, name))]
        _refuse(own, f"applies to your own file, but {args.source} is a task.", "Remove the option.")
        return args.source
    if not Path(args.source).exists():
        problem = "is not a recipe (.yaml), a task or an existing file."
        raise RecipeError(args.source, problem, do=did_you_mean(args.source, tasks))
    return _file_task(args, columns)


def _file_task(args: argparse.Namespace, columns: dict[str, Any]) -> dict[str, Any]:
    """The task of labels, questions or written answers in the user's own file."""
    if "slices" in columns:
        columns["slices"] = split_list(args.slices)
    if args.questions:
        fix = "Name the columns with --set task.questions.question=COLUMN."
        _refuse(
            [name for name in LABEL_OPTIONS if name in columns], "cannot be combined with --questions.", fix
        )
        return {"questions": {"path": args.source, **columns}}
    if args.answers:
        fix = "Name the column of answers with --set task.answers.answer=COLUMN."
        _refuse(
            [name for name in ("label", "slices") if name in columns],
            "cannot be combined with --answers.",
            fix,
        )
        return {"answers": {"path": args.source, **columns}}
    for name in ("text", "label"):
        if name not in columns and not starts_with_messages(Path(args.source)):
            raise RecipeError(args.source, f"no {name} column given.", do=f"Add --{name} COLUMN.")
    return {"labels": {"path": args.source, **columns}}


def _refuse(names: Sequence[str], problem: str, fix: str) -> None:
    """Refuse the first of these options."""
    if names:
        raise RecipeError(f"--{names[0]}", problem, do=fix)
