"""One arm in a process of its own, on any node that sees the study's folder.

In: the recipe's text and which arm, as plain values. Out: the arm's files; its events, through a callback.
Knows nothing of: who started the process, how events travel from it.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.context.compute import check_compute, resolve_compute
from tuneproof.context.monitor import ArmFinished, Event, Monitor, Progress
from tuneproof.errors import RunError, StoppedError, TuneproofError
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.recipe.yaml import parse_value
from tuneproof.record.study_folder import RECIPE
from tuneproof.study.arm_runs import ArmRun
from tuneproof.study.arm_session import ArmSession, run_arm
from tuneproof.study.checks import began_in_bf16
from tuneproof.study.plan import Plan, plan_study

INTERVAL_S = 0.3  # between reports of progress
PlainEvents = list[tuple[str, dict[str, Any]]]  # kind and values
Send = Callable[[PlainEvents], bool]  # returns whether the arm should stop


@dataclass(frozen=True)
class Assignment:
    """Which arm of which study a worker runs, as plain values.

    machine: where models run, for a worker that gets a baseline and so perhaps no GPU.
    """

    recipe_text: str
    cwd: str
    threads: int
    machine: tuple[tuple[str, Any], ...] | None
    index: int
    fingerprint: str


def describe_machine(text: str, threads: int) -> dict[str, Any]:
    """Where this process computes (see `resolve_compute`); {"refused": reason} where it cannot."""
    try:
        recipe = _recipe(text, threads)
        check_compute(recipe.compute, may_emulate=began_in_bf16(recipe))
        return resolve_compute(recipe.compute)
    except TuneproofError as error:
        return {"refused": str(error)}


def run_assignment(assignment: Assignment, deaths: Sequence[str], send: Send) -> dict[str, Any]:
    """Run the assigned arm. Returns {"success": bool}, or {"refused": reason}.

    deaths: how earlier workers died in it, for its notes.
    """
    if send([]):
        return {"success": False}  # it waited until the study was stopped
    try:
        plan, run = _locate(assignment)
    except TuneproofError as error:
        return {"refused": str(error)}
    notes = [f"On the cluster {death}; another worker continued the arm." for death in deaths]
    relay = _Relay(send)
    try:
        success = run_arm(ArmSession(plan, Monitor(relay.add)), run, notes)
    except StoppedError:
        return {"success": False}
    relay.flush()
    return {"success": success}


def _recipe(text: str, threads: int) -> Recipe:
    """The study's recipe, with as many threads as the task was given."""
    values = parse_value(text, RECIPE)
    return recipe_from({**values, "compute": {**values.get("compute", {}), "threads": threads}})


@lru_cache(maxsize=2)
def _plan(text: str, threads: int, machine: tuple[tuple[str, Any], ...] | None) -> Plan:
    """The study's plan in a worker, once for all of its arms."""
    return plan_study(_recipe(text, threads), machine=dict(machine) if machine else None)


def _locate(assignment: Assignment) -> tuple[Plan, ArmRun]:
    """The plan and the arm as this node sees them.

    Raises: RunError where it sees other files or packages than the driver.
    """
    node, text = f"node {socket.gethostname()}", assignment.recipe_text
    if not Path(assignment.cwd).is_dir():
        raise RunError(node, f"does not see {assignment.cwd}.", do="Start from a folder that all nodes see.")
    os.chdir(assignment.cwd)
    file = Path(_recipe(text, assignment.threads).out) / RECIPE
    if not file.is_file() or file.read_text("utf-8") != text:
        raise RunError(
            node,
            f"does not see the study's folder {file.parent}.",
            do="Name a folder on storage that all nodes share with --out.",
        )
    plan = _plan(text, assignment.threads, assignment.machine)
    run = plan.arms[assignment.index]
    if run.fingerprint != assignment.fingerprint:
        raise RunError(
            node,
            f"sees another {run.label}: its data, model or packages differ.",
            do="Give every node the same files and packages.",
        )
    return plan, run


@dataclass
class _Relay:
    """Collects events and sends them a few times a second.

    Raises: StoppedError where the driver stops the arm.
    """

    send: Send
    waiting: list[Event] = field(default_factory=list)
    sent_at: float = field(default_factory=time.monotonic)

    def add(self, event: Event) -> None:
        """Collect an event."""
        self.waiting.append(event)
        finished = isinstance(event, ArmFinished)
        if (finished or time.monotonic() - self.sent_at >= INTERVAL_S) and self.flush() and not finished:
            raise StoppedError("the study", "stopped.")

    def flush(self) -> bool:
        """Send what was collected; of progress the last alone. Returns whether the arm should stop."""
        progress = [event for event in self.waiting if isinstance(event, Progress)][-1:]
        events = [event for event in self.waiting if not isinstance(event, Progress)] + progress
        self.waiting, self.sent_at = [], time.monotonic()
        return self.send([(type(event).__name__, asdict(event)) for event in events])
