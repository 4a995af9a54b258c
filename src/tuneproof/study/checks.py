"""What a recipe requests that this machine, its task or its models cannot do, found before anything runs.

In: a recipe and what is known so far, the precision of arms that began before. Out: RecipeError for the
first problem. Knows nothing of: weights, results.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuneproof.context.compute import check_compute, resolve_compute
from tuneproof.context.model_spec import ModelSpec
from tuneproof.data.findings import Finding
from tuneproof.data.splits import Splits
from tuneproof.errors import RecipeError, TuneproofError
from tuneproof.methods.options import generates_text, uses_trainer
from tuneproof.metrics import METRICS
from tuneproof.process_group import launched
from tuneproof.recipe.decision import check_costs, check_named_labels
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARMS, FACTS
from tuneproof.score.verdict import join_names
from tuneproof.train.trackers import check_trackers

# the first whose FSDP2 sums gradients on every backend and shards half-precision weights beside others
OLDEST_FSDP_TORCH = (2, 8)
NO_SHARDS = "cannot be combined with compute.parallel: fsdp: the shards have no common loss scale."
COUNTED_TWICE = (
    "train.class_weights moves the probabilities that decision.costs reads, so that rare labels count twice: "
    "leave one of them out."
)


def _check_parallel(recipe: Recipe) -> None:
    """Raises RecipeError for what sharded weights do not allow."""
    if recipe.compute.parallel != "fsdp":
        return
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_FSDP_TORCH:
        raise RecipeError(
            "compute.parallel",
            f"fsdp needs torch {'.'.join(map(str, OLDEST_FSDP_TORCH))} or newer, and this is {version}.",
            do="Upgrade it with `pip install -U torch`, or write compute: {parallel: ddp}.",
        )
    for arm in recipe.arms:
        if arm.method.quantizes:
            raise RecipeError(
                f"arms: {arm.name}",
                "quantises its weights, which compute.parallel: fsdp cannot shard.",
                do="Write compute: {parallel: ddp}, or use lora.",
            )
    if recipe.compute.precision == "fp16":
        problem = f"fp16 {NO_SHARDS}"
        raise RecipeError("compute.precision", problem, do="Write bf16 or fp32, or compute: {parallel: ddp}.")


def check_chosen_precision(recipe: Recipe, models: Sequence[ModelSpec], machine: Mapping[str, Any]) -> None:
    """Raises RecipeError where the precision that the card and the models choose allows no shards.

    machine: where arms run (see `resolve_compute`); empty: here.
    """
    if not models or recipe.compute.parallel != "fsdp" or recipe.compute.precision != "auto":
        return
    machine = machine or resolve_compute(recipe.compute, models)
    if machine["compute.precision"] == "fp16":
        problem = f"auto is fp16 here, and fp16 {NO_SHARDS}"
        raise RecipeError("compute.precision", problem, do="Write fp32, or compute: {parallel: ddp}.")


def _check_engines(recipe: Recipe) -> None:
    """Raises RecipeError for what the Hugging Face Trainer does not do."""
    arms = [arm for arm in recipe.arms if uses_trainer(arm.options)]
    if not arms:
        return
    conflict, do = "", ""
    if (recipe.train.micro_batch or recipe.train.batch_size) < recipe.train.batch_size:
        conflict = "train.micro_batch"
        do = "Leave it out: the Trainer's accumulation multiplies what a head learns (transformers#47688)."
    elif recipe.compute.memory is not None:
        conflict, do = "compute.memory", "Leave it out: it may choose micro-batches."
    elif recipe.train.nonfinite != "stop":
        conflict, do = "train.nonfinite: skip", "Leave it out, or use engine: loop."
    elif launched():
        conflict, do = "several processes", "Start it without a launcher."
    elif any(getattr(arm.options, "more_epochs", ()) for arm in arms):
        conflict, do = "more_epochs", "Raise epochs, or use engine: loop."
    if conflict:
        raise RecipeError(
            f"arms: {arms[0].name}", f"engine: trainer cannot be combined with {conflict}.", do=do
        )


def began_in_bf16(recipe: Recipe) -> bool:
    """Whether the study's folder holds an arm that began in bf16."""
    for file in Path(recipe.out).glob(f"{ARMS}/*/{FACTS}"):
        with suppress(TuneproofError):  # a damaged file is named when the study is opened
            if (read_object(file).get("facts") or {}).get("compute.precision") == "bf16":
                return True
    return False


def check_machine(recipe: Recipe, here: bool = True) -> None:
    """Raises RecipeError where a requested device or package is missing.

    here: whether arms run on this machine.
    """
    if recipe.models:
        _check_parallel(recipe)
        _check_engines(recipe)
        if here:
            check_compute(recipe.compute, may_emulate=began_in_bf16(recipe))
        check_trackers(recipe.train.trackers)
    for arm in recipe.arms:
        if arm.method.check is not None:
            arm.method.check()


def check_model_names(names: Sequence[str]) -> None:
    """Raises RecipeError where two models have one name."""
    if len(set(names)) < len(names):
        raise RecipeError(
            "models",
            f"two models are called {max(names, key=list(names).count)}.",
            do="Give one a name: {FOLDER: {name: ...}}.",
        )


def check_train_sizes(recipe: Recipe, splits: Splits) -> None:
    """Raises RecipeError for a sample size that train does not allow."""
    available, smallest = len(splits.train), len(splits.labels)
    for size in recipe.train_sizes:
        if not smallest <= size < available:
            raise RecipeError(
                "train_sizes",
                f"{size:,} is not a sample of the {available:,} train items.",
                f"Allowed: {smallest:,} (one item per label) to {available - 1:,}.",
                "Arms on all train items always run.",
            )


def check_metrics(recipe: Recipe, labels: Sequence[str] | None) -> None:
    """Raises RecipeError for a metric that does not fit the task, its labels or the arms.

    labels: None where they are unknown.
    """
    for name in recipe.metrics:
        _check_metric("metrics", name, labels, recipe.task.kind)
    for claim in recipe.claims:
        if claim.metric:
            _check_metric("claim.metric", claim.metric, labels, recipe.task.kind)
            _check_probabilities(claim.metric, [recipe.arm(claim.arm), recipe.arm(claim.over)])


def check_labels(recipe: Recipe, labels: Sequence[str] | None) -> None:
    """Raises RecipeError for class weights or a decision that do not fit the labels.

    labels: None where they are unknown.
    """
    decision, weights = recipe.decision, recipe.train.class_weights
    if decision.threshold is not None:
        _check_threshold(recipe, labels)
    if labels is None:
        return
    named = {"train.class_weights": list(weights) if isinstance(weights, dict) else []}
    for gold, row in (decision.costs or {}).items():
        named |= {"decision.costs": [gold], f"decision.costs.{gold}": list(row)}
        check_named_labels(named, labels)
    check_named_labels(named, labels)
    if decision.costs is not None:
        check_costs(decision.costs, labels)


def _check_threshold(recipe: Recipe, labels: Sequence[str] | None) -> None:
    """Raises RecipeError where dev cannot choose a threshold."""
    name = recipe.decision_metric
    if labels is not None and len(labels) != 2:
        problem = f"dev chooses a threshold for two labels, and there are {len(labels)}."
        raise RecipeError("decision.threshold", problem, do="Write decision: {costs: ...}, or leave it out.")
    _check_metric("decision.metric", name, labels, recipe.task.kind)
    if METRICS[name].needs != "predicted":
        problem = f"{name} does not depend on the threshold."
        raise RecipeError("decision.metric", problem, do="Write decision: {metric: f1}, or recall_macro.")


def unweighted_arms(recipe: Recipe) -> list[Finding]:
    """A finding that names, once, the arms that class weights do not change, or what they do to costs."""
    if recipe.train.class_weights is not None and recipe.decision.costs is not None:
        return [Finding("class_weights", "warning", COUNTED_TWICE)]
    others = [arm.name for arm in recipe.arms if not arm.method.learns_labels]
    if recipe.train.class_weights is None or not others:
        return []
    if len(others) == len(recipe.arms):
        sentence = "train.class_weights changes nothing: no arm learns by a loss in which classes weigh."
        return [Finding("class_weights", "warning", sentence)]
    sentence = f"train.class_weights does not change {join_names(others)}: no such loss is minimised there."
    return [Finding("class_weights", "note", sentence)]


def missing_for_metrics(recipe: Recipe) -> list[Finding]:
    """A warning for each thing that this machine is missing for a metric that will not be scored."""
    checks = [METRICS[name].missing_requirement for name in recipe.metric_names]
    reasons = dict.fromkeys(reason for check in checks if check is not None and (reason := check()))
    return [Finding("metric_not_computed", "warning", reason) for reason in reasons]


def _check_probabilities(name: str, arms: list[Arm]) -> None:
    for arm in arms:
        if METRICS[name].needs == "probabilities" and generates_text(arm.options):
            raise RecipeError(
                "claim.metric",
                f"{name} needs probabilities, and {arm.name} generates text.",
                do="Use accuracy, or scoring: likelihood.",
            )


def _check_metric(where: str, name: str, labels: Sequence[str] | None, kind: str) -> None:
    metric = METRICS[name]
    if metric.kind != kind:
        allowed = [other for other, candidate in METRICS.items() if candidate.kind == kind]
        raise RecipeError(
            where,
            f"{name} is for tasks of {metric.kind}, and this is one of {kind}.",
            f"Allowed: {', '.join(allowed)}.",
        )
    missing = metric.missing_requirement() if metric.missing_requirement is not None else None
    if missing:
        raise RecipeError(where, missing, do="Or use another metric.")
    if metric.binary_only and labels is not None and len(labels) != 2:
        raise RecipeError(
            where,
            f"{name} is for two labels, and there are {len(labels)}.",
            do="Use " + (f"{name}_macro or accuracy." if f"{name}_macro" in METRICS else "accuracy."),
        )
