"""The main path: recipe → rows → splits → audit → arms → scores → comparisons → report.

In: a recipe. Out: a study's directory, event by event.
Knows nothing of: how an arm of a kind works, how anything is shown.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import Any

from tuneproof.arms.baseline import run_baseline
from tuneproof.arms.memory_plan import Foresight, foresee
from tuneproof.arms.save import score_again, write_items, write_outcome
from tuneproof.atomic import read_json, write_json, write_text
from tuneproof.context.model_spec import make_compute
from tuneproof.context.monitor import ArmBegun, ArmEnded, Running, Said, StageBegun, StudyEnded
from tuneproof.context.study_data import Outcome, Shared
from tuneproof.data.audit import looked_for
from tuneproof.data.splits import PARTS
from tuneproof.errors import (
    DataUnreachedError,
    ModelUnreachedError,
    RecipeError,
    RunError,
    StoppedError,
    TuneproofError,
)
from tuneproof.memory.usage import begin_peak, peak_bytes, resident_bytes
from tuneproof.metrics import METRICS, evaluate
from tuneproof.process_group import Team, present
from tuneproof.recipe.recipe import Recipe
from tuneproof.record.changes import Changes, write_facts
from tuneproof.record.conclude import conclude as conclude_study
from tuneproof.record.provenance import provenance
from tuneproof.record.study_folder import ARM, AUDIT, CHECKPOINTS, JOURNAL, PROVENANCE, RECIPE, SPLITS, STEPS
from tuneproof.redact import redacted
from tuneproof.report.page import render
from tuneproof.study.lock import StudyLock
from tuneproof.study.offline_plan import Outlook, look_without_hub
from tuneproof.study.plan import CHECKED_ITEMS, Plan, Work, look_ahead
from tuneproof.study.resume import Change, as_begun, blocked_works, changed, refusal, to_restart

NO_CHANGE = Change()
UNGUARDED = "The file system keeps no locks: start no second process in this study's folder."


def check(recipe: Recipe) -> Plan | Outlook:
    """What would happen, without loading weights and without writing anything.

    An Outlook where the hub was not reached: it lists the checks that had to be skipped.

    Raises: TuneproofError for everything that can be known to be wrong by now.
    """
    try:
        return look_ahead(recipe, CHECKED_ITEMS)
    except (ModelUnreachedError, DataUnreachedError):
        return look_without_hub(recipe)


def prepare(
    recipe: Recipe,
    command: str | None = None,
    lock: StudyLock | None = None,
    change: Change = NO_CHANGE,
    machine: Mapping[str, Any] | None = None,
) -> Running[Plan]:
    """Plan the study and write what it rests on, under its lock. Returns the Plan.

    machine: where arms are computed, where that is not here.
    """
    yield StageBegun("data and audit", None)
    plan = look_ahead(recipe, machine=machine)
    restarted = to_restart(plan, change)
    _claim_folder(plan, every="all" in change.restart)
    blocked = blocked_works(plan, restarted)  # refused before anything is written
    if blocked and not change.accept:
        raise refusal(blocked)
    if lock is not None:
        lock.take()
        if lock.unguarded:
            yield Said(UNGUARDED, "warning")
    for sentence in changed(plan, restarted, blocked):
        yield Said(sentence)
    score_again(plan.folder, recipe, plan.splits.grouped)
    write_text(plan.folder / RECIPE, recipe.text())
    about = {**provenance(command), "source": dict(plan.rows.source)}
    changes = Changes(plan.folder).entries
    write_json(plan.folder / PROVENANCE, {**about, **({"changes": changes} if changes else {})})
    write_json(plan.folder / SPLITS, plan.splits.report)
    write_items(plan.folder, plan.splits)
    audit = {
        "looked_for": looked_for(plan.recipe.task, bool(plan.readies)),
        "findings": [f.as_json() for f in plan.findings],
    }
    write_json(plan.folder / AUDIT, audit)
    for finding in plan.findings:
        if finding.level != "note":
            yield Said(finding.message, finding.level)
    for ready in plan.readies:
        for note in ready.notes:
            yield Said(f"{ready.name}: {note}")
    return plan


def _claim_folder(plan: Plan, every: bool) -> None:
    """Refuse a folder that holds another study's results; not where every arm begins again."""
    file = plan.folder / SPLITS
    if every or not file.is_file():
        return
    old = read_json(file).get("fingerprints") or {}
    new = plan.splits.report.get("fingerprints") or {}
    if old != new:
        parts = [part for part in new if old.get(part) != new[part]]
        raise RecipeError(
            str(plan.folder),
            f"holds a study on other items: those of {', '.join(parts)}, or their labels, differ.",
            "A study's folder takes more arms, models and seeds, but the same items.",
            "Name another folder with --out, or run every arm again with --restart all.",
        )


def carry_out(plan: Plan, work: Work, told: Sequence[str] = ()) -> Running[bool]:
    """One arm, and its files; `told` goes to its notes.

    Returns whether it went well; a failure is recorded, not raised.
    """
    yield ArmBegun(work.place + 1, len(plan.works), work.label)
    begun = time.perf_counter()
    about: dict[str, Any] = {
        "arm": work.arm.name,
        "method": work.arm.method_name,
        "kind": work.arm.method.kind,
        "model": work.ready.name if work.ready else None,
        "source": work.ready.origin if work.ready else None,
        "sketch": work.ready.sketch if work.ready else None,
        "commit": work.ready.commit if work.ready else None,
        "seed": work.seed,
        "train_size": work.size,
        "order": work.place,
        "options": work.arm.options.model_dump(mode="json"),
        "fingerprint": work.fingerprint,
        "labels": list(plan.splits.labels),
    }
    if work.impossible:
        write_json(work.folder / ARM, {**about, "status": "impossible", "reason": work.impossible})
        yield ArmEnded(work.label, "impossible", work.impossible, 0.0)
        return True
    notes = list(told)
    team = present()
    let_go(plan, work)
    try:
        foresight = as_begun(work, (yield from _foreseen(plan, work)))
        write_facts(work.folder, work.facts, foresight.chosen)
        if work.ready is not None:
            call_others(work, foresight)
        begin_peak()
        resident = resident_bytes()
        outcome: Outcome = yield from _noted(outcome_of(plan, work, foresight.shared), notes)
        if work.size is not None:  # of an arm on a sample the scores matter; its weights are many
            outcome = replace(outcome, save=None)
        seconds = time.perf_counter() - begun
        peaks = peak_bytes()
        memory = foresight.record(peaks, resident)
        ledger = {**outcome.ledger, "memory": memory} if memory else outcome.ledger
        ledger = {**ledger, **outcome.rate()}
        outcome = replace(outcome, notes=[*outcome.notes, *notes], ledger=ledger)
        write_outcome(
            work.folder,
            outcome,
            {
                **about,
                "status": "done",
                "time_s": outcome.time_s,
                "wall_s": seconds,
                "peak_memory_bytes": peaks.get("device", peaks["process"]),
                "peaks": peaks,
            },
            plan.recipe,
            plan.splits.grouped,
        )
        forget_checkpoints(work)
    except StoppedError:
        team.stop()
        raise
    except Exception as error:  # recorded as it is; the other arms do not pay for it
        let_go(plan)
        if team.size > 1 and (team.broken or not isinstance(error, TuneproofError)):
            team.broken = True  # where the others are is not known: the arm goes on from its checkpoint
            raise _torn(team, error) from error
        write_json(work.folder / ARM, {**about, "status": "failed", "reason": _reason(error)})
        if work.ready is not None:
            team.over()
        yield ArmEnded(work.label, "failed", _reason(error), time.perf_counter() - begun)
        return False
    if work.ready is not None:
        team.over()
    yield ArmEnded(work.label, "done", _short(plan, outcome), seconds)
    return True


def let_go(plan: Plan, but_for: Work | None = None) -> None:
    """Free the models that prompt arms were asked of, but the one that `but_for` asks."""
    for ready in plan.readies:
        if but_for is None or ready is not but_for.ready or but_for.arm.method.kind != "prompt":
            ready.asked.clear()


def _torn(team: Team, error: Exception) -> RunError:
    return RunError(
        f"process {team.rank} of {team.size}",
        f"cannot go on with the others: {_reason(error)}",
        do="The same command goes on from the last checkpoint.",
    )


def call_others(work: Work, foresight: Foresight) -> None:
    """Tell the other processes of a team which arm is next, and under which settings."""
    present().say({"place": work.place, "fingerprint": work.fingerprint, "settings": foresight.chosen})


def forget_checkpoints(work: Work) -> None:
    """Remove the checkpoints and journals of an arm that is complete."""
    if (work.folder / JOURNAL).is_dir():
        from tuneproof.models.resume_log import forget_journals

        forget_journals(work.folder / JOURNAL)
    if (work.folder / CHECKPOINTS).is_dir():
        from tuneproof.train.resume import Keeper

        Keeper(work.folder / CHECKPOINTS, work.fingerprint).clear()


def _short(plan: Plan, outcome: Outcome) -> str:
    """The task's first metric of the arm, for the line that ends it."""
    metric = METRICS[plan.recipe.task.metrics[0]]
    return f"{metric.title.lower()} {evaluate(metric, outcome.test.items):.3f}"


def _reason(error: Exception) -> str:
    if isinstance(error, TuneproofError):
        return str(error)
    place = extract_tb(error.__traceback__)[-1]
    said = redacted(f"{type(error).__name__}: {error}")
    return f"{said} ({Path(place.filename).name}, line {place.lineno})"


def longest_item(plan: Plan) -> int:
    """Tokens of the study's longest item, over all models; of questions the most that are read."""
    if plan.shared.kind == "questions":
        return max(ready.max_length for ready in plan.readies)
    return max(
        int(ready.encode(part, plan.splits.part(part), plan.recipe.encode).tokens_N.max())
        for ready in plan.readies
        for part in PARTS
    )


def _foreseen(plan: Plan, work: Work) -> Running[Foresight]:
    """What the arm shares with the others, and the settings under which it fits. Returns the Foresight."""
    shared = plan.shared
    if work.size is not None:
        shared = shared.sampled(work.size, work.seed or 0)
    if work.ready is None:
        return Foresight(shared)
    if not plan.compute:
        plan.compute.append(make_compute(plan.recipe.compute, longest_item(plan)))
        yield Said(plan.compute[0].sentence)
    if plan.recipe.compute.memory is None:
        return Foresight(shared)
    yield StageBegun("memory", None)
    found = foresee(shared, work.arm, work.ready, plan.compute[0], work.seed or 0)
    if found.sentence:
        yield Said(f"{work.label}: {found.sentence}")
    return found


def _noted(running: Running[Outcome], notes: list[str]) -> Running[Outcome]:
    """The same, what belongs to the record kept in `notes`. Returns the Outcome."""
    step = running.__next__
    while True:
        try:
            event = step()
        except StopIteration as end:
            return end.value
        if isinstance(event, Said) and event.noted:
            notes.append(event.text)
        step = running.__next__
        try:
            yield event
        except StoppedError as error:  # the arm keeps what it has before it stops
            step = partial(running.throw, error)


def outcome_of(plan: Plan, work: Work, shared: Shared) -> Running[Outcome]:
    """The arm by the kind of its method; its leader writes. Returns the Outcome."""
    if work.ready is None:
        return (yield from run_baseline(shared, work.arm))
    from tuneproof.arms.prompted import run_prompted
    from tuneproof.arms.tuned import run_tuned
    from tuneproof.models.resume_log import Journals
    from tuneproof.train.resume import Keeper

    asked = (shared, work.arm, work.ready, plan.compute[0], work.seed or 0)
    kept = Journals(work.folder / JOURNAL, work.fingerprint)
    if work.arm.method.kind == "prompt":
        with kept:
            return (yield from run_prompted(*asked, kept))

    minutes = shared.recipe.train.checkpoint_minutes
    keeper = Keeper(
        work.folder / CHECKPOINTS,
        work.fingerprint,
        Changes(plan.folder).accepted(work.folder, work.fingerprint),
        every_s=None if minutes is None else 60 * minutes,
    )
    with kept:
        return (yield from run_tuned(*asked, work.folder / STEPS, keeper, kept))


def conclude(plan: Plan) -> Running[StudyEnded]:
    """Comparisons, verdict and report, from the study's files alone. Returns StudyEnded."""
    yield StageBegun("compare and report", None)
    verdict = conclude_study(plan.folder)
    reports = render(plan.folder)
    return StudyEnded(verdict, str(plan.folder), str(reports.html))


def compare_folders(a: Path, b: Path, metric: str | None) -> list[dict[str, Any]]:
    """Two arms, or every arm that two studies share, on the same items.

    Raises: RunError where there is nothing to compare or the items differ.
    """
    from tuneproof.record.conclude import compare_arms, compare_studies

    if (a / ARM).is_file() and (b / ARM).is_file():
        return [compare_arms(a, b, metric)]
    return compare_studies(a, b, metric)
