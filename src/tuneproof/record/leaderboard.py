"""Several studies side by side: what stands on the same items is ranked, the rest says why it is not.

In: studies' directories. Out: boards, one for each task and set of test items.
Knows nothing of: HTML, models, how arms came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneproof.errors import RunError
from tuneproof.inference.prediction import Predicted
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.record.conclude import ArmRuns, arm_runs
from tuneproof.record.study_folder import RECIPE, StudyRecord, read_study
from tuneproof.score.compare import adjust, compare
from tuneproof.score.scores import as_json, score
from tuneproof.settings import ScoreSettings


@dataclass(frozen=True)
class Entry:
    """One arm on a board. `score` as in scores.json; `behind` is the comparison of the first arm with
    this one (None for the first itself, or where `reason` says why they cannot be compared).
    """

    study: StudyRecord
    arm: ArmRuns
    score: dict[str, Any]
    behind: dict[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Board:
    """One task's arms on the same test items, the best first; `apart` are those not ranked, and why."""

    task: str
    metric: str
    fingerprint: str
    items: int
    grouped: bool
    entries: list[Entry] = field(default_factory=list)
    apart: list[tuple[str, str, str]] = field(default_factory=list)


def _aligned(runs: Sequence[Predicted], ids: Sequence[str]) -> list[Predicted]:
    """The same predictions in the order of `ids`: another seed of the split orders them otherwise."""
    made = []
    for run in runs:
        place = {name: at for at, name in enumerate(run.ids)}
        made.append(run if list(run.ids) == list(ids) else run.take([place[name] for name in ids]))
    return made


def _leaky(study: StudyRecord) -> str:
    """Why no arm of a study can be ranked; empty where its split is safe."""
    if study.splits.get("leak_safe", True):
        return ""
    share = float((study.splits.get("overlap") or {}).get("share") or 0.0)
    return (
        f"plain random split (leak_safe: false); {100 * share:.1f} % of its test items overlap a "
        "training item"
    )


def _unfinished(study: StudyRecord) -> list[tuple[str, str, str]]:
    """Study, arm and why, of every arm that is not done."""
    found = [
        (study.folder.name, arm.label, f"{arm.about.get('status')}: {arm.about.get('reason')}")
        for arm in study.arms
        if arm.about.get("status") != "done"
    ]
    return list(dict.fromkeys(found))


def _ranked(board: Board, entries: list[Entry], settings: ScoreSettings) -> Board:
    """Best first, each compared with the first on the same items; Holm over these comparisons."""
    sign = -1 if METRICS[board.metric].direction == "down" else 1
    entries = sorted(entries, key=lambda entry: -sign * entry.score["value"])
    first = entries[0]
    ids = first.arm.runs[0].ids
    made, at, reasons = [], [], {}
    for place, entry in enumerate(entries[1:], 1):
        name, other = (f"{e.arm.name(True)} of {e.study.folder.name}" for e in (first, entry))
        runs, others = _aligned(first.arm.runs, ids), _aligned(entry.arm.runs, ids)
        try:
            made.append(compare(runs, others, board.metric, name, other, settings, board.grouped))
            at.append(place)
        except RunError as error:
            reasons[place] = str(error)
    behind = dict(zip(at, adjust(made), strict=True))
    return replace(
        board,
        entries=[
            replace(
                entry,
                behind=behind[place].as_json() if place in behind else None,
                reason=reasons.get(place, ""),
            )
            for place, entry in enumerate(entries)
        ],
    )


def leaderboards(folders: Sequence[Path]) -> list[Board]:
    """A board for every task and set of test items, those with most arms first.

    Raises: RunError where a folder holds no study.
    """
    boards: dict[tuple[str, str], Board] = {}
    entries: dict[tuple[str, str], list[Entry]] = {}
    settings: dict[tuple[str, str], ScoreSettings] = {}
    for folder in folders:
        study = read_study(folder)
        recipe = read_recipe(folder / RECIPE)
        fingerprint = str((study.splits.get("fingerprints") or {}).get("test"))
        key = (_task_of(recipe, study), fingerprint)
        grouped = bool(study.splits.get("grouped"))
        metric = recipe.task.metrics[0]
        size = int((study.splits.get("sizes") or {}).get("test") or 0)
        board = boards.setdefault(key, Board(key[0], metric, fingerprint, size, grouped))
        settings.setdefault(key, recipe.score)
        if why := _leaky(study):
            board.apart.append((folder.name, "all arms", why))
            continue
        board.apart.extend(_unfinished(study))
        for arm in arm_runs(study.arms):
            value = as_json(score(arm.runs, [metric], settings[key], grouped))[metric]
            entries.setdefault(key, []).append(Entry(study, arm, value))
    made = [
        _ranked(board, entries[key], settings[key]) if entries.get(key) else board
        for key, board in boards.items()
    ]
    return sorted(made, key=lambda board: (board.task, -len(board.entries)))


def _task_of(recipe: Recipe, study: StudyRecord) -> str:
    """The task's name; an own file's with the file's."""
    path = getattr(recipe.task_options, "path", None)
    if recipe.task_name == "labels" and path:
        return f"{recipe.task_name}: {Path(str(path)).name}"
    return recipe.task_name
