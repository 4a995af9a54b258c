"""The typed configuration of a study: read it, check it, fill in the defaults, write it back.

In: a YAML file or plain values. Out: a frozen Recipe, or an error with the line.
Knows nothing of: weights, data, what a setting does.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import tuneproof.settings as settings
from tuneproof.atomic import sha256_of_text
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.methods import METHODS, missing_baselines
from tuneproof.methods.method import Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.tuned_model import TUNED_MODEL
from tuneproof.metrics import METRICS
from tuneproof.recipe.adapter_models import adapter_options, is_adapter
from tuneproof.recipe.decision import DecisionSettings, check_decision_metric, check_label_settings
from tuneproof.recipe.folder_name import folder_name
from tuneproof.recipe.further_tests import further_tests_as_values, read_further_tests
from tuneproof.recipe.search import check_search
from tuneproof.recipe.validate import check_part, format_path, shorten
from tuneproof.recipe.yaml import Document, Keys, dump_yaml, read_yaml
from tuneproof.tasks import TASKS
from tuneproof.tasks.further_test import FurtherTest
from tuneproof.tasks.task import Task, TaskOptions

SECTIONS: dict[str, type[settings.Settings]] = {
    "split": settings.SplitSettings,
    "encode": settings.EncodeSettings,
    "audit": settings.AuditSettings,
    "train": settings.TrainSettings,
    "search": settings.SearchSettings,
    "predict": settings.PredictSettings,
    "decision": DecisionSettings,
    "score": settings.ScoreSettings,
    "compute": settings.ComputeSettings,
    "prices": settings.PriceSettings,
}
KEYS = ("task", "models", "arms", "seeds", "train_sizes", "metrics", "claim", "tests", *SECTIONS, "out")
DEFAULT_SEEDS = (0, 1, 2)  # an arm that involves chance has a spread, which one run does not show
HINTS = {"a task": " Your own file: labels: {path: FILE, text: COLUMN, label: COLUMN}."}


class ModelChoice(settings.Settings):
    """A model of the study."""

    id: str = Field(min_length=1)
    """Short name, hub id or local folder."""
    revision: str | None = None
    """Commit or tag on the hub."""
    name: str | None = Field(None, min_length=1, max_length=60)
    """Name in the report."""


class Arm(BaseModel):
    """A method with its options."""

    model_config = ConfigDict(frozen=True)
    method_name: str
    options: MethodOptions

    @property
    def method(self) -> Method:
        """The method itself."""
        return METHODS[self.method_name]

    @property
    def name(self) -> str:
        """The name of the arm in files and the report."""
        return self.options.name or self.method_name


class Recipe(BaseModel):
    """A whole study. Build it with `read_recipe` or `recipe_from`, which report what is wrong."""

    model_config = ConfigDict(frozen=True)
    task_name: str
    task_options: TaskOptions
    models: tuple[ModelChoice, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    train_sizes: tuple[int, ...]
    metrics: tuple[str, ...]
    claims: tuple[settings.Claim, ...]
    tests: dict[str, FurtherTest]
    split: settings.SplitSettings
    encode: settings.EncodeSettings
    audit: settings.AuditSettings
    train: settings.TrainSettings
    search: settings.SearchSettings
    predict: settings.PredictSettings
    decision: DecisionSettings
    score: settings.ScoreSettings
    compute: settings.ComputeSettings
    prices: settings.PriceSettings
    out: str

    @property
    def task(self) -> Task:
        """The task itself."""
        return TASKS[self.task_name]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Every metric to score: the task's (the first is primary), `metrics` and the claims'."""
        claimed = [claim.metric for claim in self.claims if claim.metric is not None]
        costs = ["mean_cost"] if self.decision.costs is not None else []
        return tuple(dict.fromkeys([*self.task.metrics, *costs, *self.metrics, *claimed]))

    @property
    def decision_metric(self) -> str:
        """The metric by which dev chooses a threshold."""
        claimed = self.claims[0].metric if self.claims else None
        return self.decision.metric or claimed or self.task.metrics[0]

    def arm(self, name: str) -> Arm:
        """The arm with this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def values(self) -> dict[str, Any]:
        """The recipe as plain values, every setting filled in; `recipe_from` takes them back."""
        return {
            "task": {self.task_name: self.task_options.model_dump(mode="json")},
            "models": [
                {m.id: m.model_dump(mode="json", exclude={"id"}, exclude_none=True)}
                if (m.revision or m.name)
                else m.id
                for m in self.models
            ],
            "arms": [{a.method_name: a.options.model_dump(mode="json")} for a in self.arms],
            "seeds": list(self.seeds),
            "train_sizes": list(self.train_sizes),
            "metrics": list(self.metrics),
            "claim": [claim.model_dump(mode="json") for claim in self.claims],
            **further_tests_as_values(self.tests),
            **{name: getattr(self, name).model_dump(mode="json") for name in SECTIONS},
            "out": self.out,
        }

    def text(self) -> str:
        """The recipe as YAML, every setting filled in."""
        return dump_yaml(self.values())


def _name_and_options(raw: Any, document: Document, path: Keys, kind: str) -> tuple[str, Any]:
    """`name` or `{name: {option: value}}`."""
    if isinstance(raw, str) and raw:
        return raw, {}
    if isinstance(raw, Mapping) and len(raw) == 1:
        name, options = next(iter(raw.items()))
        return str(name), options
    problem = f"{format_path(path)} is {shorten(raw)}, not a {kind}."
    raise document.error(path, problem, "Write its name, or {name: {setting: value}}.")


def _check_list(raw: Any, document: Document, key: str) -> list[Any]:
    if isinstance(raw, (list, tuple)):
        return list(raw)
    raise document.error((key,), f"{key} is {shorten(raw)}, not a list.", f"Write {key}: [...].")


def _check_name(name: Any, allowed: Collection[str], document: Document, path: Keys, kind: str) -> None:
    if not isinstance(name, str) or name not in allowed:
        problem = f"{format_path(path)}: {shorten(name)} is not {kind}."
        raise document.error(path, problem, did_you_mean(str(name), allowed) + HINTS.get(kind, ""))


def _read_task(raw: Any, document: Document) -> tuple[str, TaskOptions]:
    name, options = _name_and_options(raw, document, ("task",), "task")
    _check_name(name, TASKS, document, ("task",), "a task")
    return name, check_part(TASKS[name].options, options, document, ("task", name))


def _read_models(
    raw: Any, document: Document, arms: tuple[Arm, ...]
) -> tuple[tuple[ModelChoice, ...], tuple[Arm, ...]]:
    """The models, and the arms with one more for each adapter among the models."""
    choices = []
    for index, item in enumerate(_check_list(raw, document, "models")):
        name, options = _name_and_options(item, document, ("models", index), "model")
        values = {"id": name, **(options if isinstance(options, Mapping) else {"settings": options})}
        choices.append(check_part(ModelChoice, values, document, ("models", index)))
    arms = (*arms, *_adapter_arms(choices, arms))
    models = tuple(choice for choice in choices if not is_adapter(choice.id))
    with_model = [arm.name for arm in arms if arm.method.needs_model]
    if with_model and not models:
        lacking = "models holds adapters alone" if choices else "models is empty"
        problem = f"the arm {with_model[0]} needs a model, but {lacking}."
        raise document.error(
            ("arms",), problem, "Add models: [distilbert] to the recipe, or --models distilbert."
        )
    return models, arms


def _adapter_arms(choices: Sequence[ModelChoice], arms: Sequence[Arm]) -> list[Arm]:
    """An arm for each adapter among the models that no arm evaluates yet."""
    evaluated = {getattr(arm.options, "model", None) for arm in arms}
    added: list[Arm] = []
    for choice in choices:
        if is_adapter(choice.id) and choice.id not in evaluated:
            names = [arm.name for arm in (*arms, *added)]
            options = adapter_options(choice.id, choice.name, choice.revision, names)
            added.append(Arm(method_name=TUNED_MODEL.name, options=options))
    return added


def _read_arms(raw: Any, document: Document, task: Task) -> tuple[Arm, ...]:
    """The listed arms, and in question answering the baselines that every study has."""
    arms: list[Arm] = []
    for index, item in enumerate(_check_list(raw, document, "arms")):
        path = ("arms", index)
        name, options = _name_and_options(item, document, path, "method")
        _check_name(name, METHODS, document, path, "a method")
        options = check_part(METHODS[name].options, options, document, (*path, name))
        arm = Arm(method_name=name, options=_for_task(options, task))
        if arm.name in [earlier.name for earlier in arms]:
            problem = f"arms[{index}]: two arms are called {arm.name!r}."
            raise document.error(path, problem, f"Give one a name: {{{name}: {{name: ...}}}}.")
        arms.append(arm)
    if not arms:
        raise document.error(("arms",), "arms is empty.", f"Allowed: {', '.join(METHODS)}.")
    listed = {name for arm in arms for name in (arm.method_name, arm.name)}
    missing = missing_baselines(listed) if task.kind == "questions" else []
    return (*(arm_from(name, ()) for name in missing), *arms)


def _for_task(options: MethodOptions, task: Task) -> MethodOptions:
    """The options, with the only objective that writes answers where the task asks for these."""
    if task.written and "objective" in type(options).model_fields.keys() - options.model_fields_set:
        return options.model_copy(update={"objective": "words"})
    return options


def arm_from(name: str, overrides: Sequence[str]) -> Arm:
    """One arm with overrides such as "lora.rank=8". Raises: RecipeError that names the setting."""
    document = Document("command line", {name: {}})
    for override in overrides:
        document.override(override)
        stranger = next((key for key in document.values if key != name), None)
        if stranger is not None:
            problem = f"{stranger} is not the requested method, {name}."
            raise RecipeError(f"--set {override}", problem, do=f"Write --set {name}.SETTING=VALUE.")
    options = check_part(METHODS[name].options, document.values[name], document, (name,))
    return Arm(method_name=name, options=options)


def _read_integers(raw: Any, document: Document, key: str, allowed: range, fix: str) -> tuple[int, ...]:
    numbers = _check_list(raw, document, key)
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or number not in allowed:
            raise document.error((key,), f"{key} contains {shorten(number)}.", fix)
    if len(set(numbers)) != len(numbers):
        raise document.error((key,), f"{key} is {numbers}: it has duplicates.", "Write each number once.")
    return tuple(numbers)


def _read_seeds(raw: Any, document: Document) -> tuple[int, ...]:
    fix = "A seed is a whole number from 0 to 2147483647."
    seeds = _read_integers(raw, document, "seeds", range(2**31), fix)
    if not seeds:
        raise document.error(("seeds",), "seeds is empty.", "Write seeds: [0, 1, 2].")
    return seeds


def _read_train_sizes(raw: Any, document: Document) -> tuple[int, ...]:
    """The sizes of train samples that every arm that learns also runs on, smallest first."""
    fix = "A size is a whole number of items, 2 or more."
    return tuple(sorted(_read_integers(raw, document, "train_sizes", range(2, sys.maxsize), fix)))


def _read_metrics(raw: Any, document: Document) -> tuple[str, ...]:
    """Metrics to score besides the task's own; whether they fit the task is checked later."""
    names = _check_list(raw, document, "metrics")
    for index, name in enumerate(names):
        _check_name(name, METRICS, document, ("metrics", index), "a metric")
    return tuple(dict.fromkeys(names))


def default_claim(arms: Sequence[Arm], task: Task) -> tuple[settings.Claim, ...]:
    """The last arm over the strongest cheap one; in question answering over majority."""
    cheap = ("lexical", "few-shot", "zero-shot", "majority")
    for name in cheap if task.kind == "labels" or task.written else ("majority", *cheap):
        for arm in arms[:-1]:
            if arm.method_name == name:
                return (settings.Claim(arm=arms[-1].name, over=arm.name, metric=None),)
    return (settings.Claim(arm=arms[-1].name, over=arms[0].name, metric=None),) if len(arms) > 1 else ()


def _read_claims(raw: Any, document: Document, arms: Sequence[Arm], task: Task) -> tuple[settings.Claim, ...]:
    if raw is None:
        return default_claim(arms, task)
    items: list[tuple[Keys, Any]] = [(("claim",), raw)]
    if isinstance(raw, (list, tuple)):
        items = [(("claim", index), item) for index, item in enumerate(raw)]
    return tuple(_read_claim(item, document, path, [arm.name for arm in arms]) for path, item in items)


def _read_claim(raw: Any, document: Document, path: Keys, arms: Sequence[str]) -> settings.Claim:
    claim = check_part(settings.Claim, raw, document, path)
    _check_name(claim.arm, arms, document, (*path, "arm"), "an arm of this recipe")
    _check_name(claim.over, arms, document, (*path, "over"), "an arm of this recipe")
    if claim.arm == claim.over:
        raise document.error(path, f"claim compares {claim.arm} with itself.", "Name two arms.")
    if claim.metric is not None:
        _check_name(claim.metric, METRICS, document, (*path, "metric"), "a metric")
        if reason := METRICS[claim.metric].incomparable:
            problem = f"arms are not compared by {claim.metric}: {reason}."
            raise document.error((*path, "metric"), problem, "Write metric: brier, or metric: log_loss.")
    return claim


def _read_out(raw: Any, document: Document) -> str:
    """The folder of the study; empty if the recipe does not name it."""
    if raw is not None and (not isinstance(raw, str) or not raw or "\0" in raw):
        raise document.error(("out",), f"out is {shorten(raw)}, not the name of a folder.")
    return raw or ""


def recipe_from(values: Mapping[str, Any], document: Document | None = None) -> Recipe:
    """Check plain values and fill in the defaults. Raises: RecipeError that names the setting."""
    document = document or Document("recipe", dict(values))
    for key in values:
        if key not in KEYS:
            setting = f"Write --set arms.{key}.SETTING=VALUE, or set it in arms: [{{{key}: ...}}]."
            fix = setting if key in METHODS else did_you_mean(str(key), KEYS)
            raise document.error((str(key),), f"{key} is not a key of a recipe.", fix)
    for key in ("task", "arms"):
        if values.get(key) is None:
            raise document.error((), f"{key} is missing.", f"Add {key}: ... to the recipe.")
    task_name, task_options = _read_task(values["task"], document)
    task = TASKS[task_name]
    arms = _read_arms(values["arms"], document, task)
    models, arms = _read_models(values.get("models") or [], document, arms)
    sections: dict[str, Any] = {
        name: check_part(section, values.get(name), document, (name,)) for name, section in SECTIONS.items()
    }
    check_search(sections["search"], {arm.name: arm.options for arm in arms}, document)
    for name in sections["prices"].arms:
        names = [arm.name for arm in arms]
        _check_name(name, names, document, ("prices", "arms", name), "an arm of this recipe")
    recipe = Recipe(
        task_name=task_name,
        task_options=task_options,
        models=models,
        arms=arms,
        seeds=_read_seeds(values.get("seeds", DEFAULT_SEEDS), document),
        train_sizes=_read_train_sizes(values.get("train_sizes") or [], document),
        metrics=_read_metrics(values.get("metrics") or [], document),
        claims=_read_claims(values.get("claim"), document, arms, task),
        tests=read_further_tests(values.get("tests"), document),
        out=_read_out(values.get("out"), document),
        **sections,
    )
    check_label_settings(recipe.decision, recipe.train.class_weights is not None, task, document)
    named = dict.fromkeys(recipe.metrics, "metrics")
    named |= {claim.metric: "claim" for claim in recipe.claims if claim.metric is not None}
    check_decision_metric(recipe.decision, named, document)
    if recipe.out:
        return recipe
    changes_no_arm = {"tests": {}, "prices": settings.PriceSettings.model_validate({})}
    digest = sha256_of_text(recipe.model_copy(update=changes_no_arm).text())[:8]
    names = [choice.name or choice.id for choice in recipe.models]
    arm = recipe.claims[0].arm if recipe.claims else None
    out = folder_name(task_name, getattr(task_options, "path", None), names, arm, digest)
    return recipe.model_copy(update={"out": out})


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; overrides: "split.seed=1". Raises: RecipeError that names file, line and fix."""
    document = read_yaml(Path(path))
    for override in overrides:
        document.override(override)
    return recipe_from(document.values, document)
