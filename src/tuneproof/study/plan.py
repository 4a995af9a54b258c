"""What a study will do: its items, models and arms, all known before weights load.

In: a recipe. Out: a Plan, or the first thing that is wrong.
Knows nothing of: weights, how an arm is carried out, files of a study.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tuneproof.context.audit_encoding import audit_prompt, audit_texts, why_no_cloze
from tuneproof.context.audit_question_encoding import audit_question_arm, audit_windows, reads_spans
from tuneproof.context.model_spec import Compute, Ready, check_compute, make_ready, resolved, why_impossible
from tuneproof.context.monitor import ArmEnded
from tuneproof.context.study_data import Shared
from tuneproof.data.audit import Finding, audit_splits, stop_on_errors
from tuneproof.data.splits import Splits, make_splits
from tuneproof.errors import RecipeError
from tuneproof.process_group import launched
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.record.changes import fingerprint_of
from tuneproof.record.provenance import versions
from tuneproof.record.study_folder import arm_folder
from tuneproof.tasks.task import Rows
from tuneproof.train.trackers import check_trackers

M = TypeVar("M")
CHECKED_ITEMS = 500  # of each part, when nothing is to run


@dataclass(frozen=True)
class Work:
    """One arm of the study: a method with its options, a model (None for a baseline), a seed.

    `size`: it learns from so many items of train; None: from all. `facts`: everything that its outcome
    depends on, by name; `fingerprint` changes with any of them.
    """

    place: int
    arm: Arm
    ready: Ready | None
    seed: int | None
    folder: Path
    fingerprint: str
    impossible: str | None = None
    size: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Model, name, size of a sample of train and seed, as a line shows them."""
        return label_of(self.ready.name if self.ready else None, self.arm.name, self.seed, self.size)

    def skipped(self, of: int) -> ArmEnded:
        """The event of an arm that is there already."""
        return ArmEnded(self.label, "skipped", f"finished before ({self.place + 1} of {of})", 0.0)


@dataclass(frozen=True)
class Plan:
    """Everything known before weights load."""

    recipe: Recipe
    folder: Path
    rows: Rows
    splits: Splits
    findings: list[Finding]
    shared: Shared
    works: list[Work]
    readies: list[Ready]
    compute: list[Compute] = field(default_factory=list)


# Settings under which an arm's outcome is the same to the bit, whatever they are.
CHANGES_NOTHING = {
    "compute.disk",
    "compute.memory",  # what was chosen to fit it is kept with the arm
    "train.trackers",
    "train.checkpoint_minutes",
    "train.self_test",
}
BASELINE_PACKAGES = ("python", "tuneproof", "numpy", "scipy", "scikit-learn")
MODEL_PACKAGES = (*BASELINE_PACKAGES, "torch", "transformers", "tokenizers", "accelerate", "peft")


def settings_of(arm: Arm, recipe: Recipe) -> dict[str, Any]:
    """The settings that an arm's outcome depends on, by their dotted names."""
    values = recipe.values()
    parts = {
        "baseline": ("split",),
        "prompt": ("split", "encode", "compute", "predict"),
        "tuned": ("split", "encode", "compute", "predict", "train"),
    }[arm.method.kind]
    if arm.method.apply is None and arm.method.kind == "tuned":
        parts = tuple(part for part in parts if part != "train")
    found = {f"{part}.{key}": value for part in parts for key, value in values[part].items()}
    found |= {f"task.{recipe.task_name}.{k}": v for k, v in values["task"][recipe.task_name].items()}
    options = arm.options.model_dump(mode="json")
    found |= {f"{arm.method_name}.{key}": value for key, value in options.items()}
    return {name: value for name, value in found.items() if name not in CHANGES_NOTHING}


def study_facts(recipe: Recipe, splits: Splits, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What every arm's outcome depends on besides its settings: items, labels, where it is computed."""
    prints = splits.report.get("fingerprints") or {}
    items = {f"the items of {part}": str(value) for part, value in prints.items()}
    version = {f"version of the task {recipe.task_name}": recipe.task.version}
    return {"labels": list(splits.labels), **items, **version, **machine}


def facts_of(
    arm: Arm,
    ready: Ready | None,
    seed: int | None,
    size: int | None,
    recipe: Recipe,
    whole: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that an arm's outcome depends on, by name; `whole` is what `study_facts` gives."""
    facts = {**settings_of(arm, recipe), "method": arm.method_name, "seed": seed, "train size": size}
    packages: tuple[str, ...] = BASELINE_PACKAGES
    if ready is None:
        whole = {name: value for name, value in whole.items() if not name.startswith("compute.")}
    else:
        packages = (*MODEL_PACKAGES, *(("bitsandbytes",) if arm.method.packs else ()))
        facts["model"] = ready.source.path_or_id
        for line in ready.sketch.split("|"):
            file, _, digest = line.rpartition(" ")
            facts[f"the model's {file}" if file else "the model's commit"] = digest
    known = versions()
    return {**facts, **whole} | {f"version of {name}": known[name] for name in packages}


def list_works(shared: Shared, readies: list[Ready], machine: Mapping[str, Any] | None = None) -> list[Work]:
    """The arms in the order of the recipe: method by method, model by model, seed by seed.

    After them the arms that learn, on samples of train: those have every seed, since the seed
    draws the sample. machine: where arms are computed (see `resolved`), as far as it is known.

    Raises: RecipeError where no model of the recipe can do an arm.
    """
    works: list[Work] = []
    recipe = shared.recipe
    whole = study_facts(recipe, shared.splits, machine or {})

    def add(arm: Arm, ready: Ready | None, seed: int | None, reason: str | None, size: int | None):
        name = ready.name if ready else None
        folder = arm_folder(recipe_folder(recipe), name, arm.name, seed, size)
        facts = facts_of(arm, ready, seed, size, recipe, whole)
        digest = fingerprint_of(facts)
        works.append(Work(len(works), arm, ready, seed, folder, digest, reason, size, facts))

    def why(arm: Arm, ready: Ready) -> str | None:
        return why_impossible(arm, ready, shared.kind) or why_no_cloze(shared, arm, ready)

    able: list[tuple[Arm, Ready | None]] = []
    for arm, ready, reason in each_arm(recipe, readies, why):
        for seed in seeds_of(arm, recipe, reason):
            add(arm, ready, seed, reason, None)
        if arm.method.kind != "prompt" and not reason:
            able.append((arm, ready))
    for size in recipe.train_sizes:
        for arm, ready in able:
            for seed in recipe.seeds:
                add(arm, ready, seed, None, size)
    return works


def each_arm(
    recipe: Recipe, models: Sequence[M], why: Callable[[Arm, M], str | None]
) -> Iterator[tuple[Arm, M | None, str | None]]:
    """Each arm with each model (None: a baseline has none), and why it is impossible, if it is.

    Raises: RecipeError where no model of the recipe can do an arm.
    """
    for arm in recipe.arms:
        if arm.method.kind == "baseline":
            yield arm, None, None
            continue
        reasons = [why(arm, model) for model in models]
        for model, reason in zip(models, reasons, strict=True):
            yield arm, model, reason
        if reasons and all(reasons):
            raise RecipeError(f"arms: {arm.name}", str(reasons[0]))


def seeds_of(arm: Arm, recipe: Recipe, impossible: str | None) -> Sequence[int | None]:
    """The seeds under which an arm runs; None once where chance has no part in it."""
    return recipe.seeds if arm.method.chance and not impossible else (None,)


def label_of(model: str | None, arm: str, seed: int | None, size: int | None = None) -> str:
    """Model, name, size of a sample of train and seed, as a line shows them."""
    parts = [model or "", arm]
    parts += [f"on {size:,} items"] if size else []
    parts += [f"seed {seed}"] if seed is not None else []
    return " ".join(part for part in parts if part)


def _check_parallel(recipe: Recipe) -> None:
    """Raises RecipeError for what does not go with weights that are shared out."""
    if recipe.compute.parallel != "fsdp":
        return
    for arm in recipe.arms:
        if arm.method.packs:
            raise RecipeError(
                f"arms: {arm.name}",
                "packs its weights, and compute.parallel: fsdp shares them out.",
                do="Write compute: {parallel: ddp}, or use lora.",
            )
    if recipe.compute.precision == "fp16":
        raise RecipeError(
            "compute.precision",
            "fp16 is asked for with compute.parallel: fsdp, whose shards have no common scale.",
            do="Write bf16 or fp32, or compute: {parallel: ddp}.",
        )


def _check_engines(recipe: Recipe) -> None:
    """Raises RecipeError for what the Trainer in our loop's place does not do."""
    asked = [arm for arm in recipe.arms if getattr(arm.options, "engine", "loop") == "trainer"]
    if not asked:
        return
    found, do = "", ""
    if (recipe.train.micro_batch or recipe.train.batch_size) < recipe.train.batch_size:
        found = "train.micro_batch"
        do = "Leave it out: the Trainer's accumulation multiplies what a head learns (transformers#47688)."
    elif recipe.compute.memory is not None:
        found, do = "compute.memory", "Leave it out: it may choose micro-batches."
    elif recipe.train.nonfinite != "stop":
        found, do = "train.nonfinite: skip", "Leave it out, or use engine: loop."
    elif launched():
        found, do = "several processes", "Start it without a launcher."
    if found:
        raise RecipeError(f"arms: {asked[0].name}", f"engine: trainer does not go with {found}.", do=do)


def check_machine(recipe: Recipe, here: bool = True) -> None:
    """Raises RecipeError where the recipe asks for a device or a package that is not there.

    here: whether arms are computed on this machine.
    """
    if recipe.models:
        _check_parallel(recipe)
        _check_engines(recipe)
        if here:
            check_compute(recipe.compute)
        check_trackers(recipe.train.trackers)
    for arm in recipe.arms:
        if arm.method.check is not None:
            arm.method.check()


def check_names(names: list[str]) -> None:
    """Raises RecipeError where two models have one name."""
    if len(set(names)) < len(names):
        raise RecipeError(
            "models",
            f"two models are called {max(names, key=names.count)}.",
            do="Give one a name: {FOLDER: {name: ...}}.",
        )


def check_train_sizes(recipe: Recipe, splits: Splits) -> None:
    """Raises RecipeError for a sample that train cannot give."""
    whole, least = len(splits.train), len(splits.labels)
    for size in recipe.train_sizes:
        if not least <= size < whole:
            raise RecipeError(
                "train_sizes",
                f"{size:,} is not a sample of the {whole:,} train items.",
                f"Allowed: {least:,} (an item of each label) to {whole - 1:,}.",
                "The whole of train is always run.",
            )


def recipe_folder(recipe: Recipe) -> Path:
    """The study's folder."""
    return Path(recipe.out)


def look_ahead(
    recipe: Recipe, looked_at: int | None = None, machine: Mapping[str, Any] | None = None
) -> Plan:
    """Read the rows, split and audit them, and make the models ready: all without weights.

    looked_at: how many items of each part are encoded for the audit (None: all). machine: where arms
    are computed, where that is not here (see `resolved`).

    Raises: TuneproofError for everything that can be known to be wrong by now.
    """
    task = recipe.task
    check_machine(recipe, here=machine is None)
    readies = [make_ready(choice, recipe.encode) for choice in recipe.models]
    check_names([ready.name for ready in readies])
    rows = task.read(recipe.task_options)
    splits = make_splits(task, rows, recipe.split)
    check_train_sizes(recipe, splits)
    check_claims(recipe, splits.labels)
    findings = audit_splits(task, splits)
    stop_on_errors(findings, recipe.audit.allow)  # before models are looked at
    prompt = task.prompt(recipe.task_options, splits.labels)
    folder = recipe_folder(recipe)
    shared = Shared(recipe, splits, prompt, folder / "cache")
    if machine is None:
        machine = resolved(recipe.compute) if readies and looked_at is None else {}
    works = list_works(shared, readies, machine)
    findings += _audit_tokens(shared, works, readies, looked_at)
    stop_on_errors(findings, recipe.audit.allow)
    return Plan(recipe, folder, rows, splits, findings, shared, works, readies)


def _audit_tokens(
    shared: Shared, works: list[Work], readies: list[Ready], looked_at: int | None
) -> list[Finding]:
    """Every model's encoding, and every prompt once: what does not fit is known before weights."""
    findings = []
    for ready in readies:
        mine = [w for w in works if w.ready is ready and not w.impossible]
        if shared.kind == "questions":
            spans = [work for work in mine if reads_spans(work.arm)]
            findings += audit_windows(shared, ready, looked_at) if spans else []
            for work in mine:
                if work not in spans:
                    findings += audit_question_arm(shared, work.arm, ready, work.seed or 0)
            continue
        if any(work.arm.method.kind == "tuned" for work in mine):
            findings += audit_texts(shared, ready, looked_at)
        for work in mine:
            prompted = work.arm.method.kind == "prompt"
            if prompted or getattr(work.arm.options, "objective", "") == "words":
                findings += audit_prompt(shared, work.arm, ready, work.seed or 0)
    unique = {(finding.name, finding.message): finding for finding in findings}
    return list(unique.values())


def check_claims(recipe: Recipe, labels: Sequence[str] | None) -> None:
    """Raises RecipeError for a claim whose metric does not fit the task, its labels or the arms.

    labels: None where they are not known.
    """
    for claim in recipe.claims:
        _check_metric(claim.metric, labels, recipe.task.kind)
        _check_probabilities(claim.metric, [recipe.arm(claim.arm), recipe.arm(claim.over)])


def _check_probabilities(name: str | None, arms: list[Arm]) -> None:
    from tuneproof.metrics import METRICS

    for arm in arms:
        generates = getattr(arm.options, "scoring", "") == "generate"
        if name and METRICS[name].needs == "probabilities" and generates:
            raise RecipeError(
                "claim.metric",
                f"{name} needs probabilities, and {arm.name} generates text.",
                do="Use accuracy, or scoring: likelihood.",
            )


def _check_metric(name: str | None, labels: Sequence[str] | None, kind: str) -> None:
    from tuneproof.metrics import METRICS

    if name and METRICS[name].kind != kind:
        fit = [other for other, metric in METRICS.items() if metric.kind == kind]
        raise RecipeError(
            "claim.metric",
            f"{name} is for tasks of {METRICS[name].kind}, and this one is of {kind}.",
            f"Allowed: {', '.join(fit)}.",
        )
    lacks = METRICS[name].lacks if name else None
    if lacks is not None and lacks():
        raise RecipeError("claim.metric", lacks(), do="Or use another metric.")
    if name and METRICS[name].binary_only and labels is not None and len(labels) != 2:
        raise RecipeError(
            "claim.metric",
            f"{name} is for two labels, and there are {len(labels)}.",
            do=f"Use {name}_macro or accuracy.",
        )
