"""Whether what a study's folder holds belongs to this plan: else refused, accepted or begun again.

In: a plan, what was asked for. Out: arms that are finished, an error that says what differs.
Knows nothing of: how an arm is carried out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tuneproof.arms.memory_plan import Foresight
from tuneproof.atomic import read_json
from tuneproof.context.study_data import Shared
from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.record.changes import Changes, arm_folders, changed_since, fitted_before, told
from tuneproof.record.study_folder import ARM
from tuneproof.study.plan import Plan, Work

EVERY = "all"


@dataclass(frozen=True)
class Change:
    """What to do where an arm differs from what its folder holds.

    restart: arms (their names or folders; "all") that are moved aside and begin again. accept: take the
    others as they are.
    """

    restart: tuple[str, ...] = ()
    accept: bool = False


@dataclass(frozen=True)
class Blocked:
    """An arm whose folder holds something that depends on other facts, with the differences."""

    work: Work
    found: list[str]


def finished(work: Work) -> bool:
    """Whether the arm is there already; whose it is was looked at before."""
    file = work.folder / ARM
    return file.is_file() and read_json(file).get("status") == "done"


def to_restart(plan: Plan, change: Change) -> list[Work]:
    """The arms that were asked to begin again.

    Raises: RecipeError for a name that no arm has.
    """
    for name in change.restart:
        if name != EVERY and not any(_called(work, name) for work in plan.works):
            names = list(dict.fromkeys(work.arm.name for work in plan.works))
            raise RecipeError(
                "--restart", f"{name!r} is not an arm of this study.", do=did_you_mean(name, [*names, EVERY])
            )
    return [work for work in plan.works if any(_called(work, n) for n in (*change.restart,))]


def _called(work: Work, name: str) -> bool:
    return name in (EVERY, work.arm.name, work.folder.name, work.label)


def blocked_works(plan: Plan, restarted: Sequence[Work]) -> list[Blocked]:
    """The arms whose folders hold what depends on other facts, and were not accepted before."""
    changes, found = Changes(plan.folder), []
    for work in plan.works:
        if work in restarted or work.impossible:
            continue
        accepted = changes.accepted(work.folder, work.fingerprint)
        differing = changed_since(work.folder, work.facts, accepted)
        if differing:
            found.append(Blocked(work, differing))
    return found


def refusal(blocked: Sequence[Blocked]) -> RecipeError:
    """Says of the first arm what differs, and what can be done."""
    first = blocked[0]
    state = "a finished arm" if finished(first.work) else "an arm that was begun"
    others = f" ({len(blocked) - 1} more arms differ.)" if len(blocked) > 1 else ""
    return RecipeError(
        str(first.work.folder),
        f"is {state} from other settings: {told(first.found)}.{others}",
        do=f"Run it again with --restart {first.work.arm.name} (the old one is moved aside), keep it as "
        "it is with --accept-change (recorded), give the arm another name, or name another folder "
        "with --out.",
    )


def changed(plan: Plan, restarted: Sequence[Work], accepted: Sequence[Blocked]) -> list[str]:
    """Move aside what begins again, record what is accepted. Returns what there is to say."""
    changes, said = Changes(plan.folder), []
    folders = {work.folder: changed_since(work.folder, work.facts) for work in restarted}
    if restarted and len(restarted) == len(plan.works):  # arms of earlier recipes, too
        folders |= {folder: [] for folder in arm_folders(plan.folder) if folder not in folders}
    for folder, found in folders.items():
        if folder.is_dir():
            to = changes.restart(folder, found)
            said.append(f"{folder.name} begins again; what was there is in {to}.")
    for each in accepted:
        changes.accept(each.work.folder, each.work.facts, each.found)
        said.append(f"{each.work.label} is taken as it is, though {told(each.found)}.")
    return said


def as_begun(work: Work, foresight: Foresight) -> Foresight:
    """The settings that fitted the memory when the arm began: another micro-batch gives other bits."""
    fitted = fitted_before(work.folder)
    if not fitted or fitted == foresight.chosen:
        return foresight
    return replace(foresight, shared=under(foresight.shared, fitted), chosen=fitted)


def under(shared: Shared, fitted: Mapping[str, object]) -> Shared:
    """The same under settings, by their dotted names, that were chosen to fit the memory."""
    parts = {
        part: getattr(shared.recipe, part).model_copy(update=_of(part, fitted))
        for part in ("train", "predict")
    }
    return replace(shared, recipe=shared.recipe.model_copy(update=parts))


def _of(part: str, fitted: Mapping[str, object]) -> dict[str, object]:
    names = {key.partition(".")[2]: key for key in fitted if key.startswith(f"{part}.")}
    return {name: fitted[key] for name, key in names.items()}
