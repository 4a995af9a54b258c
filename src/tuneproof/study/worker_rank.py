"""The other processes of a group: they take part in every arm of the main process, and leave nothing.

In: the recipe, the main process's broadcasts. Out: nothing but the work done together.
Knows nothing of: how an arm runs, what the main process writes.
"""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneproof.arms.further_tests import predict_further
from tuneproof.arms.memory_plan import with_settings
from tuneproof.context.monitor import Monitor
from tuneproof.errors import RunError, StoppedError
from tuneproof.process_group import FAILED, ArmDismissedError, ProcessGroup
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.arm_session import ArmSession, runner_of
from tuneproof.study.folder_check import worker_folder
from tuneproof.study.plan import plan_study
from tuneproof.study.signals import preserved_signals


def follow_main_process(recipe: Recipe, group: ProcessGroup) -> None:
    """Take part until the main process ends.

    Raises: StoppedError where the main process stops; whatever failed here alone.
    """
    with own_folder(recipe.out, group.rank) as folder, preserved_signals() as handled:
        for each in handled:  # Ctrl-C reaches every process of a terminal; the main one decides
            signal.signal(each, signal.SIG_IGN)
        try:
            plan = plan_study(recipe.model_copy(update={"out": folder}))
        except Exception:
            group.barrier(FAILED)  # the main process found the same and stops, or learns of it
            raise
        session = ArmSession(plan, Monitor())
        while (order := _next_order(group)) is not None:
            if order:
                _take_part(session, order, group)


@contextmanager
def own_folder(out: str, rank: int) -> Iterator[str]:
    """The process's own folder in the study's, removed at the end; a killed run's is removed by the next."""
    folder = worker_folder(Path(out), rank)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _next_order(group: ProcessGroup) -> dict[str, Any] | None:
    """The main process's next arm; empty where it was dismissed before it started, None at the end."""
    try:
        return group.broadcast()
    except ArmDismissedError:
        return {}


def _take_part(session: ArmSession, order: dict[str, Any], group: ProcessGroup) -> None:
    """One arm with the others, to its end or until the main process dismisses it."""
    try:
        _run(session, order, group)
        group.barrier()
    except ArmDismissedError:
        pass
    except StoppedError:
        raise
    except Exception:
        if group.broken:
            raise
        try:
            group.barrier(FAILED)
        except ArmDismissedError:  # it failed in the main process too, which reports it
            return
        raise


def _run(session: ArmSession, order: dict[str, Any], group: ProcessGroup) -> None:
    run = session.plan.arms[order["index"]]
    if run.fingerprint != order["fingerprint"]:
        raise RunError(
            f"process {group.rank}",
            f"sees another {run.label} than the main process: data, model or versions differ.",
            do="Give every machine the same files and packages.",
        )
    session.release_models(run)
    context = session.context(run, session.monitor)
    if order["settings"]:
        context = replace(context, study=with_settings(context.study, order["settings"]))
    with context.resume_logs or nullcontext():
        predict_further(runner_of(run)(context), context.study, session.monitor)
