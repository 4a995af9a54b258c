"""The arms of a study as runs: a method with its options, a model, a seed, and what its result depends on.

In: a recipe, models, splits. Out: ArmRuns in the recipe's order.
Knows nothing of: weights, how an arm runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.context.audit_encoding import why_no_cloze
from tuneproof.context.finished_model import why_not_finished
from tuneproof.context.model_spec import ModelSpec, why_impossible
from tuneproof.context.study_data import StudyData
from tuneproof.data.splits import Splits
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.methods.options import TunedOptions
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.recipe.search import SearchSpace, resolve_options, search_space, with_values
from tuneproof.record.changes import MORE_EPOCHS, fingerprint_of
from tuneproof.record.provenance import versions
from tuneproof.record.study_folder import arm_folder

DETERMINISTIC = "compute.deterministic"
# Settings that never change an arm's result.
NEUTRAL_SETTINGS = {
    "compute.disk",
    "compute.memory",  # the settings chosen to fit it are recorded with the arm
    "predict.timing_s",
    "train.trackers",
    "train.checkpoint_minutes",
    "train.self_test",
    "task.labels.sheet",  # what it changes are the items, whose fingerprints are facts
    "task.questions.sheet",
    "task.labels.corrections",
}
CLASS_WEIGHTS = "train.class_weights"
BASELINE_PACKAGES = ("python", "tuneproof", "numpy", "scipy", "scikit-learn")
MODEL_PACKAGES = (*BASELINE_PACKAGES, "torch", "transformers", "tokenizers", "accelerate", "peft")


@dataclass(frozen=True)
class ArmRun:
    """One arm of the study, with its model (None for one that needs none), seed and folder.

    index: from 0. impossible: why this model cannot run it. train_size: items of train that it learns
    from (None: all). facts: everything that its result depends on; `fingerprint` changes with any of them.
    """

    index: int
    arm: Arm
    spec: ModelSpec | None
    seed: int | None
    folder: Path
    impossible: str | None = None
    train_size: int | None = None
    search: SearchSpace | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identifies the facts."""
        return fingerprint_of(self.facts)

    @property
    def random_seed(self) -> int:
        """The seed of random draws; 0 where the method has none of its own."""
        return 0 if self.seed is None else self.seed

    @property
    def label(self) -> str:
        """Model, arm, sample size and seed in one line."""
        parts = [self.spec.name if self.spec else "", self.arm.name]
        parts += [f"on {self.train_size:,} items"] if self.train_size else []
        parts += [f"seed {self.seed}"] if self.seed is not None else []
        return " ".join(part for part in parts if part)


def tuning_text(run: ArmRun, recipe: Recipe) -> str:
    """The run's learning rate and its source, and what dev is to choose; empty where it has none."""
    values = run.search.values if run.search else {}
    parts = [f"{name} from {', '.join(map(str, entries))}" for name, entries in values.items()]
    texts = [f"dev chooses {'; '.join(parts)}"] if parts else []
    if run.spec is not None and isinstance(run.arm.options, TunedOptions) and "learning_rate" not in values:
        is_by_rule = getattr(recipe.arm(run.arm.name).options, "learning_rate", None) is None
        source = f" (by the width of the model, {run.spec.width})" if is_by_rule else ""
        texts.insert(0, f"learning rate {run.arm.options.learning_rate:g}{source}")
    return "; ".join(texts)


def list_arm_runs(
    recipe: Recipe,
    models: Sequence[ModelSpec],
    study: StudyData | None,
    machine: Mapping[str, Any],
    own_models: Mapping[str, ModelSpec] | None = None,
) -> list[ArmRun]:
    """The arms in the order of the recipe: method by method, model by model, seed by seed.

    After them come the arms on samples of train; those have every seed, since the seed draws the sample.
    study: None where the rows are not known. machine: where arms run (see `resolve_compute`). own_models: by
    arm, those of arms that evaluate a finished model.

    Raises: RecipeError where no model of the recipe can run an arm.
    """
    runs: list[ArmRun] = []
    shared = shared_facts(recipe, study.splits, machine) if study is not None else None

    def add(arm: Arm, spec: ModelSpec | None, seed: int | None, reason: str | None, size: int | None) -> None:
        search, arm = _resolve(recipe, arm, spec)
        folder = arm_folder(Path(recipe.out), spec.name if spec else None, arm.name, seed, size)
        is_complete = shared is not None and (spec is None or spec.is_complete)
        sample: dict[str, Any] = {"seed": seed, "train size": size}
        sample |= search.facts if search else {}
        facts = arm_facts(recipe, arm, spec, sample, shared) if is_complete else {}
        runs.append(ArmRun(len(runs), arm, spec, seed, folder, reason, size, search, facts))

    trainable: list[tuple[Arm, ModelSpec | None]] = []
    for arm, spec, reason in _arms_by_model(recipe, models, study, own_models or {}):
        has_seeds = arm.method.chance and not reason
        for seed in recipe.seeds if has_seeds else (None,):
            add(arm, spec, seed, reason, None)
        if arm.method.kind in ("baseline", "tuned") and not reason:
            trainable.append((arm, spec))
    for size in recipe.train_sizes:
        for arm, spec in trainable:
            for seed in recipe.seeds:
                add(arm, spec, seed, None, size)
    return runs


def _arms_by_model(
    recipe: Recipe, models: Sequence[ModelSpec], study: StudyData | None, own_models: Mapping[str, ModelSpec]
) -> Iterator[tuple[Arm, ModelSpec | None, str | None]]:
    """Each arm with each model (None for one that needs none), and why it is impossible, if it is.

    Raises: RecipeError where no model of the recipe can run an arm.
    """
    for arm in recipe.arms:
        if arm.method.kind == "finished":
            own = own_models.get(arm.name)  # None: on a hub that was not reached
            yield arm, own, why_not_finished(own, recipe.task) if own else None
        elif arm.method.needs_model:
            for spec, reason in _with_models(recipe, arm, models, study):
                yield arm, spec, reason
        else:
            yield arm, None, None


def _with_models(
    recipe: Recipe, arm: Arm, models: Sequence[ModelSpec], study: StudyData | None
) -> list[tuple[ModelSpec, str | None]]:
    """Each model, and why it is impossible. Raises: RecipeError where it always is."""
    models, reasons = _chosen_models(arm, models), []
    for spec in models:
        reason = _why_impossible(recipe, arm, spec)
        if reason is None and study is not None and spec.is_complete:
            reason = why_no_cloze(study, arm, spec)
        reasons.append(reason)
    if reasons and all(reasons):
        raise RecipeError(f"arms: {arm.name}", str(reasons[0]))
    return list(zip(models, reasons, strict=True))


def _chosen_models(arm: Arm, models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """The models that the arm names; all, where it names none. Raises: RecipeError where one is not there."""
    names = [spec.name for spec in models]
    chosen = list(getattr(arm.options, "models", ())) or names
    for name in chosen:
        if name not in names:
            problem = f"{name!r} is not a model of this study."
            raise RecipeError(f"arms: {arm.name}: models", problem, did_you_mean(name, names))
    return [spec for spec in models if spec.name in chosen]


def _resolve(recipe: Recipe, arm: Arm, spec: ModelSpec | None) -> tuple[SearchSpace | None, Arm]:
    """What dev is to choose, and the arm with its learning rate as a number."""
    if spec is None:
        return None, arm
    options = resolve_options(arm.method, arm.options, spec.width)
    search = search_space(recipe.search, arm.options, options)
    return search, arm.model_copy(update={"options": options})


def _why_impossible(recipe: Recipe, arm: Arm, spec: ModelSpec) -> str | None:
    """Why the model cannot run the arm, or one of its trials; None: it can."""
    search, arm = _resolve(recipe, arm, spec)
    trials = search.trials if search else []
    arms = [arm.model_copy(update={"options": with_values(arm.options, trial)}) for trial in trials]
    reasons = (why_impossible(variant, spec, recipe.task) for variant in (arm, *arms))
    return next(filter(None, reasons), None)


def shared_facts(recipe: Recipe, splits: Splits, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What every arm's result depends on besides its settings: items, labels, where it runs."""
    fingerprints = splits.report.get("fingerprints") or {}
    items = {f"the items of {part}": str(value) for part, value in fingerprints.items()}
    version = {f"version of the task {recipe.task_name}": recipe.task.version}
    return {"labels": list(splits.labels), **items, **version, **machine}


def arm_facts(
    recipe: Recipe,
    arm: Arm,
    spec: ModelSpec | None,
    sample: Mapping[str, Any],
    shared: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Everything that an arm's result depends on, by name. sample: its seed, train size and search."""
    facts = {**_settings(arm, recipe), "method": arm.method_name, **sample, **arm.method.inputs(arm.options)}
    shared = dict(shared or {})
    packages: tuple[str, ...] = BASELINE_PACKAGES
    if spec is None:
        shared = {name: value for name, value in shared.items() if not name.startswith("compute.")}
    else:
        packages = (*MODEL_PACKAGES, *(("bitsandbytes",) if arm.method.quantizes else ()))
        facts["model"] = spec.source.path_or_id
        facts |= {f"the model's {file}": digest for file, digest in spec.files.items()}
    installed = versions()
    return {**facts, **shared} | {f"version of {name}": installed[name] for name in packages}


def _settings(arm: Arm, recipe: Recipe) -> dict[str, Any]:
    """The settings that an arm's result depends on, by their dotted names."""
    values = recipe.values()
    parts = {
        "baseline": ("split",),
        "system": ("split",),
        "prompt": ("split", "encode", "compute", "predict"),
        "finished": ("split", "encode", "compute", "predict"),
        "tuned": ("split", "encode", "compute", "predict", "train"),
    }[arm.method.kind]
    values["train"].pop("class_weights")
    if arm.method.apply is None and arm.method.kind == "tuned":
        parts = tuple(part for part in parts if part != "train")
    settings = {f"{part}.{key}": value for part in parts for key, value in values[part].items()}
    settings |= _label_settings(arm, recipe)
    task = values["task"][recipe.task_name]
    settings |= {f"task.{recipe.task_name}.{key}": value for key, value in task.items()}
    options = arm.options.model_dump(mode="json")
    options = {key: value for key, value in options.items() if key not in arm.method.neutral}
    settings |= {f"{arm.method_name}.{key}": value for key, value in options.items()}
    settings.pop(f"{arm.method_name}.models", None)  # which models it also runs on changes no result
    for name in (f"{arm.method_name}.{MORE_EPOCHS}", DETERMINISTIC):
        if not settings.get(name):
            settings.pop(name, None)  # as before it existed
    return {name: value for name, value in settings.items() if name not in NEUTRAL_SETTINGS}


def _label_settings(arm: Arm, recipe: Recipe) -> dict[str, Any]:
    """Class weights, where the arm learns by them, and the decision; nothing where they are not set."""
    weights, decision = recipe.train.class_weights, recipe.decision
    settings: dict[str, Any] = {}
    if weights is not None and arm.method.learns_labels:
        settings[CLASS_WEIGHTS] = weights
    if decision.is_set:
        settings |= {f"decision.{key}": value for key, value in decision.model_dump(mode="json").items()}
    if decision.threshold is not None:
        settings["decision.metric"] = recipe.decision_metric
    return settings
