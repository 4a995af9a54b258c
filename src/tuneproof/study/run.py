"""The main path: recipe → plan → folder → arms → comparisons → report.

In: a recipe, a monitor. Out: a study's folder with its report.
Knows nothing of: how an arm of any kind works, how anything is shown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuneproof.arms.save import score_again, write_items
from tuneproof.atomic import read_json, write_json, write_text
from tuneproof.context.monitor import ArmFinished, Monitor, StudyFinished
from tuneproof.data.audit import list_checks
from tuneproof.data.splits import PARTS
from tuneproof.errors import RecipeError, RunError, TuneproofError, did_you_mean
from tuneproof.process_group import ProcessGroup, current_group, join
from tuneproof.recipe.recipe import Recipe
from tuneproof.record.changes import ChangeLog
from tuneproof.record.conclude import conclude
from tuneproof.record.provenance import provenance
from tuneproof.record.registration import register
from tuneproof.record.study_folder import ARM, AUDIT, PROVENANCE, RECIPE, SPLITS, refuse_foreign
from tuneproof.report.page import render
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.arm_session import ArmSession, add_tests, remove_checkpoints, run_arm
from tuneproof.study.extend import arms_to_extend, extended_cycles, log_extensions, move_extended, with_cycles
from tuneproof.study.folder_check import refuse_links, remove_half_written, remove_workers_of_before
from tuneproof.study.forecast import announce_forecast
from tuneproof.study.lock import StudyLock
from tuneproof.study.plan import Plan, plan_study
from tuneproof.study.resume import (
    ResumePolicy,
    apply_policy,
    arms_to_restart,
    changed_arms,
    is_finished,
    refusal,
    refuse_other_items,
)
from tuneproof.study.worker_rank import follow_main_process

HERE, RAY = "here", "ray"
NO_LOCKS = "The file system has no locks. Start no second process in this study's folder."
RESUME = ResumePolicy()


def run_study(
    recipe: Recipe,
    monitor: Monitor | None = None,
    resume: ResumePolicy = RESUME,
    on: str = HERE,
    command: str | None = None,
) -> StudyFinished | None:
    """Run every arm of a study on the same items and write its report; finished arms are skipped.

    on: "here", or "ray" for a Ray cluster. Returns None in a process that is not the main one.

    Raises: TuneproofError where the study cannot start or an arm failed; StoppedError where it is stopped.
    """
    monitor, group = monitor or Monitor(), join(recipe.compute.device)
    if not group.is_main:
        follow_main_process(_extended(recipe, resume, group), group)
        return None
    refuse_foreign(Path(recipe.out))
    failed, remote = list[ArmRun](), list[ArmRun]()
    with _stopping_with(group), StudyLock(Path(recipe.out)) as lock, _cluster(recipe, on) as cluster:
        monitor.stage("data and audit")
        plan = plan_study(_extended(recipe, resume, group), machine=cluster.machine if cluster else None)
        open_folder(plan, resume, lock, monitor, command)
        session = ArmSession(plan, monitor)
        announce_forecast(session, here=cluster is None)
        for run in plan.arms:
            lock.check()
            if is_finished(run):
                skip(run, session)
            elif cluster and not run.impossible and run.arm.method.kind != "system":
                remote.append(run)
            elif not run_arm(session, run):
                failed.append(run)
        if cluster:
            failed += cluster.run_arms(plan, remote, monitor)
        session.release_models()
        failures, arms = [(run.label, run.folder) for run in failed], len(plan.arms)
        del plan, session, run, failed, remote  # of a million items 300 MB: the report reads files alone
        finished = write_report(Path(recipe.out), lock, monitor)
    return _finish(finished, failures, arms, monitor)


def open_folder(
    plan: Plan, resume: ResumePolicy, lock: StudyLock, monitor: Monitor, command: str | None = None
) -> None:
    """Lock the study's folder and write what the study is based on: recipe, provenance, splits, audit.

    command: recorded in the provenance.

    Raises: RecipeError where the folder's arms differ from the plan and the policy does not cover it.
    """
    restarted, extended = arms_to_restart(plan, resume), arms_to_extend(plan, resume.extend)
    refuse_other_items(plan, resume)
    changed = changed_arms(plan, [*restarted, *extended])  # refused before anything is written
    if changed and not resume.accept:
        raise refusal(changed)
    lock.take()
    refuse_links(plan.folder)
    remove_half_written(plan.folder)
    remove_workers_of_before(plan.folder, current_group().world_size)
    if lock.unguarded:
        monitor.message(NO_LOCKS, "warning")
    for sentence in apply_policy(plan, restarted, changed):
        monitor.message(sentence)
    folder, splits = plan.folder, plan.study.splits
    log_extensions(plan, extended)
    score_again(folder, plan.recipe, splits.clustered)
    write_text(folder / RECIPE, plan.recipe.text())
    register(folder, plan.recipe)
    for sentence in move_extended(plan):
        monitor.message(sentence)
    changes = ChangeLog(folder).entries
    origin = {**provenance(command), "source": dict(plan.source)}
    write_json(folder / PROVENANCE, {**origin, **({"changes": changes} if changes else {})})
    tests = plan.study.tests
    further = {"tests": {test.name: test.report for test in tests}} if tests else {}
    ids = {part: [item.id for item in splits.part(part)] for part in PARTS}
    write_json(folder / SPLITS, {**splits.report, "ids": ids, **further})
    write_items(folder, splits, tests)
    audit = {
        "checks": list_checks(plan.recipe.task, bool(plan.models)),
        "findings": [finding.as_json() for finding in plan.findings],
    }
    write_json(folder / AUDIT, audit)
    for finding in plan.findings:
        if finding.level != "note":
            monitor.message(finding.message, finding.level)
    for spec in plan.models:
        for note in spec.notes:
            monitor.message(f"{spec.name}: {note}")
        for detail in spec.details:
            monitor.message(f"{spec.name}: {detail}", "detail")


def skip(run: ArmRun, session: ArmSession) -> None:
    """Report an arm that is finished already, and score it on further test sets that are new."""
    remove_checkpoints(run)
    line = f"already finished ({run.index + 1} of {len(session.plan.arms)})"
    session.monitor.notify(ArmFinished(run.label, "skipped", line, 0.0))
    add_tests(session, run)


def write_report(folder: Path, lock: StudyLock, monitor: Monitor) -> StudyFinished:
    """Compare the arms and write the report, from the study's files alone."""
    lock.check()
    monitor.stage("compare and report")
    verdict = conclude(folder)
    return StudyFinished(verdict, str(folder), str(render(folder).html))


def _finish(
    finished: StudyFinished, failures: Sequence[tuple[str, Path]], arms: int, monitor: Monitor
) -> StudyFinished:
    monitor.notify(finished)
    if not failures:
        return finished
    reason = str(read_json(failures[0][1] / ARM)["reason"]).rstrip(".")
    raise RunError(
        finished.folder,
        f"{len(failures)} of {arms} arms failed: {', '.join(label for label, _ in failures)}. "
        f"The first error: {reason}.",
        do="The report gives each reason; the same command tries these arms again.",
    )


def _extended(recipe: Recipe, resume: ResumePolicy, group: ProcessGroup) -> Recipe:
    """The recipe with the epochs that the policy adds, the same in every process.

    Raises: RecipeError for an arm that cannot go on, or a policy that contradicts itself.
    """
    if not resume.extend:
        return recipe
    for option, is_set in (("--restart", bool(resume.restart)), ("--accept-change", resume.accept)):
        if is_set:
            raise RecipeError("--extend", f"cannot be combined with {option}.", do="Use one of them.")
    return with_cycles(recipe, group.broadcast(group.is_main and extended_cycles(recipe, resume.extend)))


@contextmanager
def _cluster(recipe: Recipe, on: str) -> Iterator[Any]:
    """The Ray cluster while the study runs; None where it runs here."""
    if on not in (HERE, RAY):
        raise RecipeError("on", f"{on!r} is not supported.", do=did_you_mean(on, (HERE, RAY)))
    if on == HERE:
        yield None
        return
    from tuneproof.study.ray_cluster import join_cluster, leave_cluster

    try:
        yield join_cluster(recipe)
    finally:
        leave_cluster()


@contextmanager
def _stopping_with(group: ProcessGroup) -> Iterator[None]:
    """The other processes end when this one does, or stop when it does."""
    try:
        yield
        group.broadcast()
    except BaseException as error:
        if isinstance(error, TuneproofError) and not group.broken:
            group.stop()
        raise
