"""Finished arms that go on: another cycle of epochs after the last, from the checkpoint that was kept.

In: a recipe, the study's folder. Out: the recipe with more epochs; arms that continue where they ended.
Knows nothing of: how an arm trains.

The log is written first, then the recipe, then the arm's folder moves: killed in between, the next run with
the study's recipe completes it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tuneproof.atomic import make_folder, rename_folder
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.methods.options import TunedOptions, uses_trainer
from tuneproof.recipe.recipe import Arm, Recipe
from tuneproof.record.changes import (
    MORE_EPOCHS,
    ChangeLog,
    adds_epochs_only,
    read_memory_settings,
    write_facts,
)
from tuneproof.record.finished_arms import read_study_recipe
from tuneproof.record.study_folder import ARM, ARMS, CHECKPOINTS, RECIPE, read_study
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.plan import Plan

ALL = "all"
WHERE = "--extend"
Cycles = dict[str, list[int]]  # more_epochs by arm


def extended_cycles(recipe: Recipe, names: Sequence[str]) -> Cycles:
    """The named arms with as many epochs more as they were trained.

    An arm whose last extension is not finished gets no further one: it resumes.

    Raises: RecipeError for an arm that cannot go on.
    """
    folder = Path(recipe.out)
    if not (folder / RECIPE).is_file():
        raise RecipeError(WHERE, f"{folder} holds no study.", do=f"Run it without {WHERE} first.")
    stored = {arm.name: arm for arm in read_study_recipe(folder).arms}
    return {arm.name: _next_cycles(recipe, arm, stored.get(arm.name, arm)) for arm in _named(recipe, names)}


def with_cycles(recipe: Recipe, cycles: Mapping[str, Sequence[int]]) -> Recipe:
    """The recipe with these `more_epochs`."""

    def changed(arm: Arm) -> Arm:
        if arm.name not in cycles:
            return arm
        options = arm.options.model_copy(update={"more_epochs": tuple(cycles[arm.name])})
        return arm.model_copy(update={"options": options})

    return recipe.model_copy(update={"arms": tuple(changed(arm) for arm in recipe.arms)})


def arms_to_extend(plan: Plan, names: Sequence[str]) -> list[ArmRun]:
    """The finished arms to which the plan adds nothing but epochs, where that was requested."""
    log = ChangeLog(plan.folder)
    return [
        run
        for run in plan.arms
        if (run.arm.name in names or ALL in names or log.extension(run.folder, run.fingerprint))
        and adds_epochs_only(run.folder, run.facts)
    ]


def log_extensions(plan: Plan, extended: Sequence[ArmRun]) -> None:
    """Log the extensions that are not logged yet."""
    log = ChangeLog(plan.folder)
    for run in extended:
        if log.extension(run.folder, run.fingerprint) is None:
            log.extend(run.folder, run.arm.name, run.facts)


def move_extended(plan: Plan) -> list[str]:
    """Move the earlier results of extended arms aside and their checkpoints back. Returns messages."""
    log, messages = ChangeLog(plan.folder), []
    for run in plan.arms:
        entry = log.extension(run.folder, run.fingerprint)
        if entry is None:
            continue
        aside = plan.folder / entry["moved_to"]
        if adds_epochs_only(run.folder, run.facts):
            rename_folder(run.folder, aside)
            messages.append(_message(run, entry["moved_to"], (aside / CHECKPOINTS).is_dir()))
        checkpoints = run.folder / CHECKPOINTS
        if (aside / CHECKPOINTS).is_dir() and not checkpoints.exists():
            write_facts(make_folder(run.folder), run.facts, read_memory_settings(aside))
            rename_folder(aside / CHECKPOINTS, checkpoints)
    return messages


def _message(run: ArmRun, moved_to: str, has_checkpoint: bool) -> str:
    start = "goes on from its final checkpoint"
    if not has_checkpoint:
        start = "kept no checkpoint and trains from the start, to the same result,"
    epochs = getattr(run.arm.options, MORE_EPOCHS)[-1]
    return f"{run.label} {start} with {epochs} more epochs; its earlier files are in {moved_to}."


def _named(recipe: Recipe, names: Sequence[str]) -> list[Arm]:
    """Raises: RecipeError for a name that no arm has, and for an arm that is not trained in epochs."""
    trained = {arm.name: arm for arm in recipe.arms if isinstance(arm.options, TunedOptions)}
    if ALL in names:
        return [arm for arm in trained.values() if not uses_trainer(arm.options)]
    every = [arm.name for arm in recipe.arms]
    for name in names:
        if name not in every:
            problem = f"{name!r} is not an arm of this study."
            raise RecipeError(WHERE, problem, do=did_you_mean(name, [*every, ALL]))
        if name not in trained:
            allowed = f"Arms that are: {', '.join(trained) or 'none'}."
            raise RecipeError(WHERE, f"{name} is not trained in epochs.", allowed, "Name one of them.")
    return [trained[name] for name in names]


def _next_cycles(recipe: Recipe, arm: Arm, stored: Arm) -> list[int]:
    """Raises: RecipeError where the arm has not finished, or was stopped early."""
    folder, cycles = Path(recipe.out), list(getattr(stored.options, MORE_EPOCHS, ()))
    done = [
        r.about for r in read_study(folder).arms if (r.about["arm"], r.about["status"]) == (arm.name, "done")
    ]
    finished = [list(about["options"].get(MORE_EPOCHS) or []) for about in done]
    if cycles and (_moved_unfinished(folder, arm.name) or any(each != cycles for each in finished)):
        return cycles
    if not done:
        raise RecipeError(WHERE, f"{arm.name} has not finished.", do=f"Run it without {WHERE} first.")
    curves = [about["chosen"]["evaluations"] for about in done]
    epochs = [curve[-1]["epoch"] for curve in curves if not _is_stopped_early(curve, recipe.train.patience)]
    if not epochs:
        problem = f"{arm.name} was stopped early by train.patience, so that it would not reach more epochs."
        do = f"Run it again with --restart {arm.name} --set train.patience=null."
        raise RecipeError(WHERE, problem, do=do)
    return [*cycles, round(max(epochs))]


def _is_stopped_early(curve: Sequence[Mapping[str, float]], patience: int | None) -> bool:
    losses = [evaluation["dev_loss"] for evaluation in curve]
    return patience is not None and len(losses) - 1 - losses.index(min(losses)) >= patience


def _moved_unfinished(folder: Path, name: str) -> bool:
    """Whether a run of the arm was extended and has not finished since."""
    entries = [e for e in ChangeLog(folder).entries if e["action"] == "extended" and e["name"] == name]
    return not all((folder / ARMS / entry["arm"] / ARM).is_file() for entry in entries)
