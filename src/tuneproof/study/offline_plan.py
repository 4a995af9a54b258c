"""What can be checked of a recipe whose hub is not reached, and the list of what cannot.

In: a recipe. Out: an Outlook, or the first thing that is wrong.
Knows nothing of: weights, how an arm is carried out, files of a study.

Only what the hub alone has is left out. A folder or file that is not there stays an error, and so
does a hub id that the shelf does not know: it may be a mistyped folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.context.model_spec import Ready, make_ready, source_of, why_impossible, why_misfit
from tuneproof.data.audit import Finding, audit_splits, stop_on_errors
from tuneproof.data.splits import Splits, make_splits
from tuneproof.errors import DataUnreachedError, ModelUnreachedError
from tuneproof.families import Family, family_of
from tuneproof.families.models import ModelSource, facts_of
from tuneproof.hub.offline import cache_alone
from tuneproof.models.checkpoint_files import config_from
from tuneproof.recipe.recipe import Arm, ModelChoice, Recipe
from tuneproof.settings import EncodeSettings
from tuneproof.study.plan import (
    check_claims,
    check_machine,
    check_names,
    check_train_sizes,
    each_arm,
    label_of,
    recipe_folder,
    seeds_of,
)
from tuneproof.tasks.task import Rows

OF_DATA = (
    "its rows: texts, labels, ids",
    "its splits: sizes, whole groups, samples of train",
    "the audit of its items: what gives a test item away, duplicates, balance",
)
OF_MODEL = (
    "its files: whether they say what the shelf declares, and the tokenizer is its own",
    "its weights' names: whether the checkpoint holds the heads that the arms ask",
)
OF_BOTH = "the audit of its tokens: what is truncated, the labels' words, the examples in prompts"


@dataclass(frozen=True)
class Declared:
    """A model whose files were not fetched: what the shelf declares of it."""

    name: str
    source: ModelSource
    config: Any
    family: Family

    @property
    def notes(self) -> tuple[str, ...]:
        """What stands beside it."""
        return (f"Not fetched; {self.source.path_or_id} at {self.source.revision} as the shelf has it.",)


@dataclass(frozen=True)
class Foreseen:
    """One arm as far as it is known."""

    arm: Arm
    ready: Ready | Declared | None
    seed: int | None
    impossible: str | None

    @property
    def label(self) -> str:
        """Model, name and seed, as a line shows them."""
        return label_of(self.ready.name if self.ready else None, self.arm.name, self.seed)


@dataclass(frozen=True)
class Outlook:
    """What is known of a study without the hub. `splits`: None where the rows are the hub's.

    `skipped`: a line for each check that needs the hub.
    """

    recipe: Recipe
    folder: Path
    splits: Splits | None
    findings: list[Finding]
    works: list[Foreseen]
    readies: list[Ready | Declared]
    skipped: list[str]


def look_without_hub(recipe: Recipe) -> Outlook:
    """Check all that the recipe, the shelf, the machine, local files and the hub's cache tell.

    Raises: TuneproofError for everything that can be known to be wrong by now.
    """
    check_machine(recipe)
    with cache_alone():
        models = [_model(choice, recipe.encode) for choice in recipe.models]
        rows = _rows(recipe)
    check_names([model.name for model in models])
    task, splits, findings = recipe.task, None, []
    if rows is not None:
        splits = make_splits(task, rows, recipe.split)
        check_train_sizes(recipe, splits)
    labels = splits.labels if splits else task.labels
    check_claims(recipe, labels)
    if splits is not None:
        findings = audit_splits(task, splits)
        stop_on_errors(findings, recipe.audit.allow)
    if labels is not None:
        task.prompt(recipe.task_options, labels)
    works = _works(recipe, models)
    skipped = _skipped(task.name, splits is not None, models)
    return Outlook(recipe, recipe_folder(recipe), splits, findings, works, models, skipped)


def _model(choice: ModelChoice, settings: EncodeSettings) -> Ready | Declared:
    try:
        return make_ready(choice, settings)
    except ModelUnreachedError:
        source = source_of(choice)
        facts = facts_of(source)
        if facts is None:
            raise
        config = config_from(facts.values, source.name)
        return Declared(choice.name or source.name, source, config, family_of(config))


def _rows(recipe: Recipe) -> Rows | None:
    try:
        return recipe.task.read(recipe.task_options)
    except DataUnreachedError:
        return None


def _works(recipe: Recipe, models: Sequence[Ready | Declared]) -> list[Foreseen]:
    """The arms in the order of the recipe.

    Raises: RecipeError where no model of the recipe can do an arm.
    """

    def why(arm: Arm, model: Ready | Declared) -> str | None:
        if isinstance(model, Ready):
            return why_impossible(arm, model, recipe.task.kind)
        return why_misfit(arm, model.name, model.family, model.config, recipe.task.kind)

    return [
        Foreseen(arm, model, seed, reason)
        for arm, model, reason in each_arm(recipe, models, why)
        for seed in seeds_of(arm, recipe, reason)
    ]


def _skipped(task: str, read: bool, models: Sequence[Ready | Declared]) -> list[str]:
    lines = [] if read else [f"{task}: {what}" for what in OF_DATA]
    for model in models:
        if isinstance(model, Declared):
            lines += [f"{model.name}: {what}" for what in OF_MODEL]
        lines.append(f"{model.name}: {OF_BOTH}")
    return lines
