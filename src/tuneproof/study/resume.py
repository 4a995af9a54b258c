"""Whether a study's folder belongs to this plan: its arms are resumed, refused, accepted or restarted.

In: a plan, a policy. Out: finished arms; an error that names the differences.
Knows nothing of: how an arm runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuneproof.arms.memory_plan import MemoryPlan, with_settings
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.record.changes import (
    ChangeLog,
    arm_folders,
    find_differences,
    join_differences,
    read_memory_settings,
)
from tuneproof.record.file_shapes import read_object
from tuneproof.record.study_folder import ARM, FORMAT, SPLITS, format_error, study_format
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.plan import Plan

ALL = "all"


@dataclass(frozen=True)
class ResumePolicy:
    """What to do where an arm differs from what its folder holds.

    restart: arms (names, folders or "all") that are moved aside and start again. accept: keep the others
    as they are. extend: arms (names or "all") that go on for as many epochs as they were trained.
    """

    restart: tuple[str, ...] = ()
    accept: bool = False
    extend: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangedArm:
    """An arm whose folder depends on other facts, with the differences."""

    run: ArmRun
    differences: list[str]


def is_finished(run: ArmRun) -> bool:
    """Whether the arm is finished; `refuse_changes` has checked that it is this one."""
    file = run.folder / ARM
    return file.is_file() and read_object(file)["status"] == "done"


def arms_to_restart(plan: Plan, policy: ResumePolicy) -> list[ArmRun]:
    """The arms that the policy restarts.

    Raises: RecipeError for a name that no arm has.
    """
    for name in policy.restart:
        if name != ALL and not any(_is_named(run, name) for run in plan.arms):
            names = list(dict.fromkeys(run.arm.name for run in plan.arms))
            raise RecipeError(
                "--restart", f"{name!r} is not an arm of this study.", do=did_you_mean(name, [*names, ALL])
            )
    return [run for run in plan.arms if any(_is_named(run, name) for name in policy.restart)]


def _is_named(run: ArmRun, name: str) -> bool:
    return name in (ALL, run.arm.name, run.folder.name, run.label)


def refuse_other_items(plan: Plan, policy: ResumePolicy) -> None:
    """Raise RecipeError if the folder holds a study with different items or in another format.

    Restarting every arm is always allowed.
    """
    file = plan.folder / SPLITS
    if ALL in policy.restart or not file.is_file():
        return
    if study_format(plan.folder) != FORMAT:
        raise format_error(plan.folder)
    old = read_object(file).get("fingerprints") or {}
    new = plan.study.splits.report.get("fingerprints") or {}
    if old != new:
        parts = [part for part in new if old.get(part) != new[part]]
        raise RecipeError(
            str(plan.folder),
            f"holds a study with different items: the items or labels of {', '.join(parts)} differ.",
            "You can add arms, models and seeds to a study; its items stay the same.",
            "Name another folder with --out, or run every arm again with --restart all.",
        )


def changed_arms(plan: Plan, restarted: Sequence[ArmRun]) -> list[ChangedArm]:
    """The arms whose folders depend on other facts, where that was not accepted before."""
    log, changed = ChangeLog(plan.folder), []
    for run in plan.arms:
        if run in restarted or run.impossible:
            continue
        accepted = log.accepted(run.folder, run.fingerprint)
        differences = find_differences(run.folder, run.facts, accepted)
        if differences:
            changed.append(ChangedArm(run, differences))
    return changed


def refusal(changed: Sequence[ChangedArm]) -> RecipeError:
    """The error that names what differs in the first arm, and what to do."""
    first = changed[0]
    state = "a finished arm" if is_finished(first.run) else "an unfinished arm"
    others = f" ({len(changed) - 1} more arms differ.)" if len(changed) > 1 else ""
    return RecipeError(
        str(first.run.folder),
        f"is {state} with other settings: {join_differences(first.differences)}.{others}",
        do=f"Run it again with --restart {first.run.arm.name} (the old one is moved aside), keep it with "
        "--accept-change (recorded), give the arm another name, or name another folder with --out.",
    )


def apply_policy(plan: Plan, restarted: Sequence[ArmRun], accepted: Sequence[ChangedArm]) -> list[str]:
    """Move restarted arms aside and record accepted changes. Returns messages about it."""
    log, messages = ChangeLog(plan.folder), []
    folders = {run.folder: find_differences(run.folder, run.facts) for run in restarted}
    if restarted and len(restarted) == len(plan.arms):  # arms of earlier recipes, too
        folders |= {folder: [] for folder in arm_folders(plan.folder) if folder not in folders}
    for folder, differences in folders.items():
        if folder.is_dir():
            moved = log.restart(folder, differences)
            messages.append(f"{folder.name} restarts; its earlier files are in {moved}.")
    for arm in accepted:
        log.accept(arm.run.folder, arm.run.facts, arm.differences)
        messages.append(f"{arm.run.label} is kept, although {join_differences(arm.differences)}.")
    return messages


def as_started(run: ArmRun, plan: MemoryPlan) -> MemoryPlan:
    """The memory settings with which an unfinished arm started: another micro-batch gives other bits."""
    settings = read_memory_settings(run.folder)
    if not settings or settings == plan.chosen:
        return plan
    return replace(plan, study=with_settings(plan.study, settings), chosen=settings)
