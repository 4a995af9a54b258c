"""One arm in a process of its own, on any node that sees the study's folder.

In: the recipe's text and which arm, as plain values. Out: the arm's files; what happens, to a `put`.
Knows nothing of: who started the process, how words travel from it.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.context.model_spec import resolved
from tuneproof.context.monitor import ArmEnded, Running
from tuneproof.errors import RunError, StoppedError, TuneproofError
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.recipe.yaml import parse_value
from tuneproof.record.study_folder import RECIPE
from tuneproof.study.plan import Plan, Work, look_ahead
from tuneproof.study.run import carry_out

OFTEN_S = 0.3  # between its words about progress
Words = list[tuple[str, dict[str, Any]]]  # events: kind and values
Put = Callable[[Words], bool]  # says them; whether the arm is to stop


def machine_here(text: str, threads: int) -> dict[str, Any]:
    """Where this process computes (see `resolved`); `refused`: what is asked for is not there."""
    try:
        return resolved(_recipe_of(text, threads).compute)
    except TuneproofError as error:
        return {"refused": str(error)}


def carry_out_told(told: dict[str, Any], deaths: Sequence[str], put: Put) -> dict[str, Any]:
    """The arm that was told. Returns `well`, or `refused` with the reason.

    told: see `_work_there`; deaths: how earlier workers died in it, for its notes.
    """
    if put([]):
        return {"well": False}  # it waited until the study was stopped
    try:
        plan, work = _work_there(**told)
    except TuneproofError as error:
        return {"refused": str(error)}
    notes = [f"On the cluster {death}; another worker went on with the arm." for death in deaths]
    return {"well": _relayed(carry_out(plan, work, notes), put)}


def _recipe_of(text: str, threads: int) -> Recipe:
    """The study's recipe, with as many threads as the task was given."""
    values = parse_value(text, RECIPE)
    return recipe_from({**values, "compute": {**values.get("compute", {}), "threads": threads}})


@lru_cache(maxsize=2)
def _plan(text: str, threads: int, machine: tuple[tuple[str, Any], ...] | None) -> Plan:
    """The study's plan in a worker, once for all of its arms."""
    return look_ahead(_recipe_of(text, threads), machine=dict(machine) if machine else None)


def _work_there(
    text: str,
    cwd: str,
    threads: int,
    machine: tuple[tuple[str, Any], ...] | None,
    place: int,
    fingerprint: str,
) -> tuple[Plan, Work]:
    """The plan and the arm as this node sees them.

    machine: where models are computed, to a worker that gets a baseline and so perhaps no GPU.

    Raises: RunError where it sees other files or packages than the driver.
    """
    host = socket.gethostname()
    if not Path(cwd).is_dir():
        raise RunError(f"node {host}", f"does not see {cwd}.", do="Start from a folder that all nodes see.")
    os.chdir(cwd)
    seen = Path(_recipe_of(text, threads).out) / RECIPE
    if not seen.is_file() or seen.read_text("utf-8") != text:
        raise RunError(
            f"node {host}",
            f"does not see the study's folder {seen.parent}.",
            do="Name a folder on storage that all nodes share with --out.",
        )
    plan = _plan(text, threads, machine)
    work = plan.works[place]
    if work.fingerprint != fingerprint:
        raise RunError(
            f"node {host}",
            f"sees another {work.label}: its data, model or packages differ.",
            do="Give every node the same files and packages.",
        )
    return plan, work


def _relayed(events: Running[bool], put: Put) -> bool:
    """Run to the end, saying what happens, or until it is to stop. Returns whether it went well."""
    said: Words = []
    last = time.monotonic()
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            put(said)
            return bool(end.value)
        said.append((type(event).__name__, asdict(event)))
        if time.monotonic() - last < OFTEN_S and not isinstance(event, ArmEnded):
            continue
        stop = put(_brief(said))
        said, last = [], time.monotonic()
        if stop and not isinstance(event, ArmEnded):
            try:
                events.throw(StoppedError("the study", "stopped."))
            except StoppedError:
                return False


def _brief(said: Words) -> Words:
    """The last word about progress, and everything else."""
    progress = [one for one in said if one[0] == "Advanced"][-1:]
    return [one for one in said if one[0] != "Advanced"] + progress
