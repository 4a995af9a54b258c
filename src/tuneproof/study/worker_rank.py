"""The other processes of a team: they take part in every arm of the leader's study, and write nothing.

In: the leader's recipe, its words as they come. Out: nothing but the work done together.
Knows nothing of: how an arm is carried out, what the leader writes.
"""

import signal
import tempfile
from collections.abc import Generator
from typing import Any

from tuneproof.context.model_spec import make_compute
from tuneproof.errors import RunError, StoppedError
from tuneproof.process_group import FAILED, DismissedError, Team
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.plan import Plan, look_ahead
from tuneproof.study.resume import under
from tuneproof.study.run import let_go, longest_item, outcome_of
from tuneproof.study.signals import signals_put_back


def follow_leader(recipe: Recipe, team: Team) -> None:
    """Take part until the leader ends.

    Raises: StoppedError where the leader stops; what went wrong here alone.
    """
    with tempfile.TemporaryDirectory() as folder, signals_put_back() as heard:
        for each in heard:  # Ctrl-C reaches every process of a terminal; the leader says what it means
            signal.signal(each, signal.SIG_IGN)
        try:
            plan = look_ahead(recipe.model_copy(update={"out": folder}))
        except Exception:
            team.meet(FAILED)  # the leader found the same and stops, or is told
            raise
        while (order := _heard(team)) is not None:
            if order:
                _take_part(plan, order, team)


def _heard(team: Team) -> dict[str, Any] | None:
    """The leader's next arm; empty where it came to nothing before it began, None at the end."""
    try:
        return team.say()
    except DismissedError:
        return {}


def _take_part(plan: Plan, order: dict[str, Any], team: Team) -> None:
    """One arm with the others, to its end or until the leader's is over."""
    try:
        for _ in _arm(plan, order, team):
            pass
        team.meet()
    except DismissedError:
        pass
    except StoppedError:
        raise
    except Exception:
        if team.broken:
            raise
        try:
            team.meet(FAILED)
        except DismissedError:  # it went wrong for the leader too, who says so
            return
        raise


def _arm(plan: Plan, order: dict[str, Any], team: Team) -> Generator[Any, None, Any]:
    work = plan.works[order["place"]]
    if work.fingerprint != order["fingerprint"]:
        raise RunError(
            f"process {team.rank}",
            f"sees another {work.label} than the leading process: data, model or versions differ.",
            do="Give every machine the same files and packages.",
        )
    let_go(plan, work)
    shared = plan.shared
    if work.size is not None:
        shared = shared.sampled(work.size, work.seed or 0)
    if order["settings"]:
        shared = under(shared, order["settings"])
    if not plan.compute:
        plan.compute.append(make_compute(plan.recipe.compute, longest_item(plan)))
    return outcome_of(plan, work, shared)
