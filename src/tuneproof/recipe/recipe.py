"""The one typed configuration of a study: read, check, fill in, print back.

In: a YAML file or plain values. Out: a frozen Recipe, or an error with the line.
Knows nothing of: models' weights, data, how a setting is carried out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tuneproof.atomic import sha256_of_text
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.methods import METHODS, lacking_baselines
from tuneproof.methods.method import Method, MethodOptions
from tuneproof.metrics import METRICS
from tuneproof.recipe.validate import check_part, dotted, error_at, shorten
from tuneproof.recipe.yaml import Document, dump_yaml, read_yaml
from tuneproof.settings import (
    AuditSettings,
    Claim,
    ComputeSettings,
    EncodeSettings,
    PredictSettings,
    ScoreSettings,
    Settings,
    SplitSettings,
    TrainSettings,
)
from tuneproof.tasks import TASKS
from tuneproof.tasks.task import Task, TaskOptions

SECTIONS: dict[str, type[Settings]] = {
    "split": SplitSettings,
    "encode": EncodeSettings,
    "audit": AuditSettings,
    "train": TrainSettings,
    "predict": PredictSettings,
    "score": ScoreSettings,
    "compute": ComputeSettings,
}
KEYS = ("task", "models", "arms", "seeds", "train_sizes", "claim", *SECTIONS, "out")


class ModelChoice(Settings):
    """A model of the study: shelf name, hub id or local folder."""

    id: str = Field(min_length=1, description="Shelf name, hub id or local folder.")
    revision: str | None = Field(None, description="Commit or tag on the hub.")
    name: str | None = Field(None, min_length=1, max_length=60, description="What the report calls it.")


class Arm(BaseModel):
    """A method with its options."""

    model_config = ConfigDict(frozen=True)
    method_name: str
    options: MethodOptions

    @property
    def method(self) -> Method:
        """The method on the shelf."""
        return METHODS[self.method_name]

    @property
    def name(self) -> str:
        """What the arm is called."""
        return self.options.name or self.method_name


class Recipe(BaseModel):
    """The whole study. Build it with `read_recipe` or `recipe_from`, which name what is wrong."""

    model_config = ConfigDict(frozen=True)
    task_name: str
    task_options: TaskOptions
    models: tuple[ModelChoice, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    train_sizes: tuple[int, ...]
    claims: tuple[Claim, ...]
    split: SplitSettings
    encode: EncodeSettings
    audit: AuditSettings
    train: TrainSettings
    predict: PredictSettings
    score: ScoreSettings
    compute: ComputeSettings
    out: str

    @property
    def task(self) -> Task:
        """The task on the shelf."""
        return TASKS[self.task_name]

    def arm(self, name: str) -> Arm:
        """The arm of that name."""
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
            "claim": [claim.model_dump(mode="json") for claim in self.claims],
            **{name: getattr(self, name).model_dump(mode="json") for name in SECTIONS},
            "out": self.out,
        }

    def text(self) -> str:
        """The recipe as YAML, every setting filled in."""
        return dump_yaml(self.values())


def _chosen(raw: Any, document: Document, path: tuple[str | int, ...], what: str) -> tuple[str, Any]:
    """`name` or `{name: {option: value}}`."""
    if isinstance(raw, str) and raw:
        return raw, {}
    if isinstance(raw, Mapping) and len(raw) == 1:
        name, options = next(iter(raw.items()))
        return str(name), options
    raise error_at(
        document,
        path,
        f"{dotted(path)} is {shorten(raw)}, not a {what}.",
        "Write its name, or {name: {setting: value}}.",
    )


def _list(raw: Any, document: Document, key: str) -> list[Any]:
    if isinstance(raw, (list, tuple)):
        return list(raw)
    raise error_at(document, (key,), f"{key} is {shorten(raw)}, not a list.", f"Write {key}: [...].")


def _task(raw: Any, document: Document) -> tuple[str, TaskOptions]:
    name, options = _chosen(raw, document, ("task",), "task")
    if name not in TASKS:
        raise error_at(
            document,
            ("task",),
            f"task: {name!r} is not a task.",
            did_you_mean(name, TASKS) + " Your own file: labels: {path: FILE, text: COLUMN, label: COLUMN}.",
        )
    return name, check_part(TASKS[name].options, options, document, ("task", name))


def _models(raw: Any, document: Document) -> tuple[ModelChoice, ...]:
    choices = []
    for place, item in enumerate(_list(raw, document, "models")):
        name, options = _chosen(item, document, ("models", place), "model")
        values = {"id": name, **(options if isinstance(options, Mapping) else {"settings": options})}
        choices.append(check_part(ModelChoice, values, document, ("models", place)))
    return tuple(choices)


def _arms(raw: Any, document: Document) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    for place, item in enumerate(_list(raw, document, "arms")):
        name, options = _chosen(item, document, ("arms", place), "method")
        if name not in METHODS:
            raise error_at(
                document,
                ("arms", place),
                f"arms[{place}]: {name!r} is not a method.",
                did_you_mean(name, METHODS),
            )
        checked = check_part(METHODS[name].options, options, document, ("arms", place, name))
        arm = Arm(method_name=name, options=checked)
        if arm.name in [other.name for other in arms]:
            raise error_at(
                document,
                ("arms", place),
                f"arms[{place}]: two arms are called {arm.name!r}.",
                f"Give one a name: {{{name}: {{name: ...}}}}.",
            )
        arms.append(arm)
    if not arms:
        raise error_at(document, ("arms",), "arms is empty.", f"Allowed: {', '.join(METHODS)}.")
    return tuple(arms)


def arm_from(name: str, changes: Sequence[str]) -> Arm:
    """One arm of a method on the shelf, with changes such as "lora.rank=8".

    Raises: RecipeError naming the setting, what was found, what is allowed.
    """
    document = Document("command line", {name: {}})
    for change in changes:
        document.change(change)
        other = next((key for key in document.values if key != name), None)
        if other is not None:
            raise RecipeError(
                f"--set {change}",
                f"{other} is not {name}, the method that is asked for.",
                do=f"Write --set {name}.SETTING=VALUE.",
            )
    options = check_part(METHODS[name].options, document.values[name], document, (name,))
    return Arm(method_name=name, options=options)


def _added(arms: tuple[Arm, ...], task: Task) -> tuple[Arm, ...]:
    """The baselines that a task of questions has whether they are asked for or not."""
    there = {name for arm in arms for name in (arm.method_name, arm.name)}
    names = lacking_baselines(there) if task.kind == "questions" else ()
    return tuple(Arm(method_name=n, options=METHODS[n].options.model_validate({})) for n in names)


def _seeds(raw: Any, document: Document) -> tuple[int, ...]:
    seeds = _list(raw, document, "seeds")
    for seed in seeds:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31:
            raise error_at(
                document,
                ("seeds",),
                f"seeds holds {shorten(seed)}.",
                "A seed is a whole number from 0 to 2147483647.",
            )
    if not seeds or len(set(seeds)) != len(seeds):
        raise error_at(
            document, ("seeds",), f"seeds is {seeds}: empty, or one twice.", "Write seeds: [0, 1, 2]."
        )
    return tuple(seeds)


def _train_sizes(raw: Any, document: Document) -> tuple[int, ...]:
    """Sizes of train at which every arm that learns is run besides the whole of it, smallest first."""
    sizes = _list(raw, document, "train_sizes")
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 2:
            raise error_at(
                document,
                ("train_sizes",),
                f"train_sizes holds {shorten(size)}.",
                "A size is a whole number of items, 2 or more.",
            )
    if len(set(sizes)) != len(sizes):
        raise error_at(
            document,
            ("train_sizes",),
            f"train_sizes is {sizes}: one stands there twice.",
            "Write train_sizes: [50, 200, 800].",
        )
    return tuple(sorted(sizes))


def default_claim(arms: Sequence[Arm], task: Task) -> tuple[Claim, ...]:
    """The last arm over the first of lexical, few-shot, zero-shot, majority; of questions of majority."""
    last, names = arms[-1].name, ("lexical", "few-shot", "zero-shot", "majority")
    for name in names if task.kind == "labels" else ("majority", *names):
        for arm in arms[:-1]:
            if arm.method_name == name:
                return (Claim(arm=last, over=arm.name, metric=None),)
    return (Claim(arm=last, over=arms[0].name, metric=None),) if len(arms) > 1 else ()


def _claims(raw: Any, document: Document, arms: Sequence[Arm], task: Task) -> tuple[Claim, ...]:
    if raw is None:
        return default_claim(arms, task)
    names = [arm.name for arm in arms]
    claims = []
    for place, item in enumerate(raw if isinstance(raw, (list, tuple)) else [raw]):
        path: tuple[str | int, ...] = ("claim", place) if isinstance(raw, (list, tuple)) else ("claim",)
        claim = check_part(Claim, item, document, path)
        for key in ("arm", "over"):
            if getattr(claim, key) not in names:
                raise error_at(
                    document,
                    (*path, key),
                    f"claim.{key}: {getattr(claim, key)!r} is not an arm of this recipe.",
                    did_you_mean(getattr(claim, key), names),
                )
        if claim.arm == claim.over:
            raise error_at(document, path, f"claim compares {claim.arm} with itself.", "Name two arms.")
        if claim.metric is not None and claim.metric not in METRICS:
            raise error_at(
                document,
                (*path, "metric"),
                f"claim.metric: {claim.metric!r} is not a metric.",
                did_you_mean(claim.metric, METRICS),
            )
        claims.append(claim)
    return tuple(claims)


def recipe_from(values: Mapping[str, Any], document: Document | None = None) -> Recipe:
    """Check plain values and fill in the defaults.

    Raises: RecipeError naming the setting, what was found, what is allowed.
    """
    document = document or Document("recipe", dict(values))
    for key in values:
        if key not in KEYS:
            raise error_at(
                document, (str(key),), f"{key} is not a part of a recipe.", did_you_mean(str(key), KEYS)
            )
    for key in ("task", "arms"):
        if values.get(key) is None:
            raise error_at(document, (), f"{key} is missing.", f"Add {key}: ... to the recipe.")
    task_name, task_options = _task(values["task"], document)
    arms = _arms(values["arms"], document)
    arms = (*_added(arms, TASKS[task_name]), *arms)
    models = _models(values.get("models") or [], document)
    if not models and any(arm.method.kind != "baseline" for arm in arms):
        needy = next(arm.name for arm in arms if arm.method.kind != "baseline")
        raise error_at(
            document,
            ("arms",),
            f"the arm {needy} needs a model and models is empty.",
            "Write models: [distilbert], a hub id or a local folder.",
        )
    sections: dict[str, Any] = {
        name: check_part(section, values.get(name), document, (name,)) for name, section in SECTIONS.items()
    }
    out = values.get("out")
    if out is not None and (not isinstance(out, str) or not out or "\0" in out):
        raise error_at(document, ("out",), f"out is {shorten(out)}, not a folder's name.")
    recipe = Recipe(
        task_name=task_name,
        task_options=task_options,
        models=models,
        arms=arms,
        seeds=_seeds(values.get("seeds", [0]), document),
        train_sizes=_train_sizes(values.get("train_sizes") or [], document),
        claims=_claims(values.get("claim"), document, arms, TASKS[task_name]),
        out=out or "",
        **sections,
    )
    if not out:
        digest = sha256_of_text(recipe.text())[:8]
        recipe = recipe.model_copy(update={"out": str(Path("studies") / f"{task_name}-{digest}")})
    return recipe


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe's file; `changes` are like "split.train_size=500".

    Raises: RecipeError naming the file, the line and the way out.
    """
    document = read_yaml(Path(path))
    for change in changes:
        document.change(change)
    return recipe_from(document.values, document)
