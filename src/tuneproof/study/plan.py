"""What a study will do: its items, models and arms, all known before weights load.

In: a recipe. Out: a Plan, or the first problem. Knows nothing of: weights, how an arm runs.

Offline, everything that the hub alone has is left out and listed. A missing folder or file stays an error,
and so does a hub id that tuneproof does not know: it may be a mistyped folder.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.arms.system import announce_system
from tuneproof.context.audit_encoding import audit_further_texts, audit_prompt, audit_readable, audit_texts
from tuneproof.context.audit_question_encoding import audit_question_arm, audit_windows, reads_spans
from tuneproof.context.compute import for_models, resolve_compute
from tuneproof.context.finished_model import make_finished_spec
from tuneproof.context.model_spec import ModelSpec, declare_model_spec, explain_limit, make_model_spec
from tuneproof.context.study_data import StudyData
from tuneproof.data.audit import Finding, audit_splits, stop_on_errors
from tuneproof.data.compact_items import compact_splits
from tuneproof.data.further_tests import FurtherSet, audit_further_set, make_further_set
from tuneproof.data.splits import Splits, make_splits
from tuneproof.errors import DataUnreachedError, ModelUnreachedError
from tuneproof.hub.offline import cache_only
from tuneproof.methods.options import trains_words
from tuneproof.recipe.recipe import ModelChoice, Recipe
from tuneproof.record.study_folder import CACHE
from tuneproof.settings import EncodeSettings
from tuneproof.study.arm_runs import ArmRun, list_arm_runs
from tuneproof.study.checks import (
    check_chosen_precision,
    check_labels,
    check_machine,
    check_metrics,
    check_model_names,
    check_train_sizes,
    missing_for_metrics,
    unweighted_arms,
)
from tuneproof.tasks.further_test import read_further_test
from tuneproof.tasks.task import Rows

CHECKED_ITEMS = 500  # of each part, when nothing is run
DATA_CHECKS = (
    "rows: texts, labels, ids",
    "splits: sizes, whole groups, samples of train",
    "audit of the items: leaks, duplicates, balance",
)
MODEL_CHECKS = (
    "files: whether they match the declared configuration, and the tokenizer fits them",
    "weight names: whether the checkpoint has the heads that the arms need",
)
TOKEN_CHECK = "audit of the tokens: truncation, label words, examples in prompts"


@dataclass(frozen=True)
class Plan:
    """Everything known before weights load.

    data: None where the rows are on a hub that was not reached. source: where the rows come from.
    skipped: a line for each check that needs the hub.
    """

    recipe: Recipe
    data: StudyData | None
    source: Mapping[str, Any]
    findings: list[Finding]
    arms: list[ArmRun]
    models: list[ModelSpec]
    skipped: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return Path(self.recipe.out)

    @property
    def study(self) -> StudyData:
        """The study data of a plan that can run."""
        assert self.data is not None
        return self.data

    @property
    def splits(self) -> Splits | None:
        """Train, dev and test, where they are known."""
        return self.data.splits if self.data is not None else None


def check(recipe: Recipe) -> Plan:
    """What would happen, without loading weights or writing anything.

    Where the hub is not reached, the plan lists the checks that were skipped.

    Raises: TuneproofError for everything that is already known to be wrong.
    """
    try:
        return plan_study(recipe, CHECKED_ITEMS)
    except (ModelUnreachedError, DataUnreachedError):
        return plan_study(recipe, CHECKED_ITEMS, offline=True)


def plan_study(
    recipe: Recipe,
    audited_items: int | None = None,
    machine: Mapping[str, Any] | None = None,
    offline: bool = False,
) -> Plan:
    """Read the rows, split and audit them, read the models' configurations and tokenizers.

    audited_items: how many items of each part are encoded for the audit (None: all, and the plan can
    run). machine: where arms run, if not here (see `resolve_compute`). offline: use the hub's cache alone.

    Raises: TuneproofError for everything that is already known to be wrong.
    """
    task = recipe.task
    check_machine(recipe, here=machine is None)
    with cache_only() if offline else nullcontext():
        models = [_model_spec(choice, recipe.encode, offline) for choice in recipe.models]
        own = _own_models(recipe, offline)
        check_model_names([spec.name for spec in models])
        rows = _read_rows(recipe, offline)
    recipe = _with_instruction(recipe, rows)
    splits = make_splits(task, rows, recipe.split) if rows is not None else None
    if splits is not None:
        check_train_sizes(recipe, splits)
    labels = splits.labels if splits is not None else task.labels
    check_metrics(recipe, labels)
    check_labels(recipe, labels)
    findings = missing_for_metrics(recipe) + unweighted_arms(recipe)
    findings += audit_splits(task, splits) if splits is not None else []
    stop_on_errors(findings, recipe.audit.allow)  # before the models' tokens are audited
    tests = _read_tests(recipe, splits)
    findings += [finding for further in tests for finding in audit_further_set(further)]
    prompt = task.prompt(recipe.task_options, labels) if labels is not None else None
    data = None
    if splits is not None and prompt is not None:
        splits = compact_splits(splits)
        data = StudyData(recipe, splits, prompt, Path(recipe.out) / CACHE, tests=tests)
    source, rows = rows.source if rows is not None else {}, None  # its items are in the splits
    of_study, models = models, [*models, *own.values()]
    if machine is None:
        machine = resolve_compute(recipe.compute, models) if models and audited_items is None else {}
    else:
        machine = for_models(machine, recipe.compute, models)
    check_chosen_precision(recipe, models, machine)
    arms = list_arm_runs(recipe, of_study, data, machine, own)
    if data is not None:
        findings += _audit_systems(data, arms)
    if data is not None and not offline:
        findings += _audit_tokens(data, arms, models, audited_items)
        stop_on_errors(findings, recipe.audit.allow)
    skipped = _skipped_checks(task.name, splits is not None, models) if offline else ()
    return Plan(recipe, data, source, findings, arms, models, skipped)


def _model_spec(choice: ModelChoice, settings: EncodeSettings, offline: bool) -> ModelSpec:
    try:
        return make_model_spec(choice, settings)
    except ModelUnreachedError:
        declared = declare_model_spec(choice, settings) if offline else None
        if declared is None:
            raise
        return declared


def _own_models(recipe: Recipe, offline: bool) -> dict[str, ModelSpec]:
    """By arm, the model of each arm that evaluates a finished one; offline, those that are here."""
    specs = {}
    for arm in recipe.arms:
        if arm.method.kind == "finished":
            try:
                specs[arm.name] = make_finished_spec(arm.options, recipe.encode)
            except ModelUnreachedError:
                if not offline:
                    raise
    return specs


def _read_rows(recipe: Recipe, offline: bool) -> Rows | None:
    try:
        return recipe.task.read(recipe.task_options)
    except DataUnreachedError:
        if not offline:
            raise
        return None


def _with_instruction(recipe: Recipe, rows: Rows | None) -> Recipe:
    """The recipe with the instruction that the source of the rows holds, unless it has its own."""
    options: Any = recipe.task_options
    if rows is None or not rows.instruction or getattr(options, "instruction", None):
        return recipe
    return recipe.model_copy(
        update={"task_options": options.model_copy(update={"instruction": rows.instruction})}
    )


def _read_tests(recipe: Recipe, splits: Splits | None) -> tuple[FurtherSet, ...]:
    """The further test sets. Raises: DataError for everything that such a file can get wrong."""
    sets: list[FurtherSet] = []
    if splits is None:
        return ()
    for name, settings in recipe.tests.items():
        rows = read_further_test(name, settings, recipe.task.kind, recipe.task_options, splits.labels)
        sets.append(make_further_set(name, recipe.task, rows, splits))
    return tuple(sets)


def _audit_tokens(
    study: StudyData, arms: Sequence[ArmRun], models: Sequence[ModelSpec], audited_items: int | None
) -> list[Finding]:
    """Every model's encoding, and every prompt once: what does not fit is known before weights load."""
    findings = []
    for spec in models:
        runs = [run for run in arms if run.spec is spec and not run.impossible]
        with explain_limit(spec):
            audit = _audit_question_tokens if study.kind == "questions" else _audit_label_tokens
            findings += audit(study, runs, spec, audited_items)
            findings += audit_further_texts(study, spec, audited_items)
    unique = {(finding.name, finding.message): finding for finding in findings}
    return list(unique.values())


def _audit_question_tokens(
    study: StudyData, runs: Sequence[ArmRun], spec: ModelSpec, audited_items: int | None
) -> list[Finding]:
    spans = [run for run in runs if reads_spans(run.arm)]
    findings = audit_windows(study, spec, audited_items) if spans else []
    for run in runs:
        if run not in spans:
            findings += audit_question_arm(study, run.arm, spec, run.random_seed)
    return findings


def _audit_label_tokens(
    study: StudyData, runs: Sequence[ArmRun], spec: ModelSpec, audited_items: int | None
) -> list[Finding]:
    if not runs:
        return []
    is_tuned = any(run.arm.method.kind == "tuned" for run in runs)
    findings = (audit_texts if is_tuned else audit_readable)(study, spec, audited_items)
    for run in runs:
        if run.arm.method.kind == "prompt" or trains_words(run.arm.options):
            findings += audit_prompt(study, run.arm, spec, run.random_seed)
    return findings


def _audit_systems(study: StudyData, arms: Sequence[ArmRun]) -> list[Finding]:
    """What is known of each system made elsewhere before it replies."""
    runs = [run for run in arms if run.arm.method.kind == "system"]
    return [
        finding for run in runs for finding in announce_system(study, run.arm, run.folder, run.random_seed)
    ]


def _skipped_checks(task: str, has_rows: bool, models: Sequence[ModelSpec]) -> tuple[str, ...]:
    lines = [] if has_rows else [f"{task}: {line}" for line in DATA_CHECKS]
    for spec in models:
        if not spec.is_complete:
            lines += [f"{spec.name}: {line}" for line in MODEL_CHECKS]
        lines.append(f"{spec.name}: {TOKEN_CHECK}")
    return tuple(lines)
