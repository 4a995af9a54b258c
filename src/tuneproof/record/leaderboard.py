"""Leaderboards over several studies: arms on the same test items are ranked, the rest is listed.

In: studies' directories. Out: boards, one per task and set of test items.
Knows nothing of: HTML, models, how arms were run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuneproof.errors import RunError
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import Recipe
from tuneproof.record.finished_arms import FinishedArm, finished_arms, read_study_recipe
from tuneproof.record.study_folder import StudyRecord, read_study
from tuneproof.score.compare import adjust, compare
from tuneproof.score.scores import as_json, score
from tuneproof.settings import ScoreSettings


@dataclass(frozen=True)
class Entry:
    """One arm on a board. `score` is as in scores.json; `behind` compares the first arm with this one
    (None for the first arm itself, or if `reason` says why the two cannot be compared).
    """

    study: StudyRecord
    arm: FinishedArm
    score: dict[str, Any]
    behind: dict[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True)
class Board:
    """One task's arms on the same test items, the best first.

    `unranked` holds the study, the arm and the reason of those that cannot be ranked.
    """

    task: str
    metric: str
    fingerprint: str
    items: int
    grouped: bool
    entries: list[Entry] = field(default_factory=list)
    unranked: list[tuple[str, str, str]] = field(default_factory=list)


def _aligned(runs: Sequence[AnyPredictions], ids: Sequence[str]) -> list[AnyPredictions]:
    """The predictions in the order of `ids`, because the order depends on the seed of the split."""
    aligned = []
    for run in runs:
        row = {name: index for index, name in enumerate(run.ids)}
        aligned.append(run if list(run.ids) == list(ids) else run.take([row[name] for name in ids]))
    return aligned


def _leaky(study: StudyRecord) -> str:
    """Why no arm of a study can be ranked; empty if its split is leak-safe."""
    if study.splits.get("leak_safe", True):
        return ""
    share = float((study.splits.get("overlap") or {}).get("share") or 0.0)
    return f"leaky random split (leak_safe: false): {100 * share:.1f} % of the test items overlap train"


def _unfinished(study: StudyRecord) -> list[tuple[str, str, str]]:
    """Study, arm and reason of every arm that is not done."""
    rows = [
        (study.folder.name, arm.label, f"{arm.about.get('status')}: {arm.about.get('reason')}")
        for arm in study.arms
        if arm.about.get("status") != "done"
    ]
    return list(dict.fromkeys(rows))


def _ranked(board: Board, entries: list[Entry], settings: ScoreSettings) -> Board:
    """Sort the arms, best first, and compare each with the first one.

    Which arm comes first was seen in the scores, so Holm's correction is over all pairs of arms.
    """
    sign = -1 if METRICS[board.metric].direction == "down" else 1
    entries = sorted(entries, key=lambda entry: -sign * entry.score["value"])
    first = entries[0]
    ids = first.arm.runs[0].ids
    compared, reasons = {}, {}
    for index, entry in enumerate(entries[1:], 1):
        name, entry_name = (f"{e.arm.name(True)} of {e.study.folder.name}" for e in (first, entry))
        a, b = _aligned(first.arm.runs, ids), _aligned(entry.arm.runs, ids)
        try:
            chance = first.arm.has_chance, entry.arm.has_chance
            names = name, entry_name
            compared[index] = compare(a, b, board.metric, *names, settings, board.grouped, chance)
        except RunError as error:
            reasons[index] = str(error)
    pairs = len(entries) * (len(entries) - 1) // 2
    adjusted = zip(compared, adjust(list(compared.values()), pairs), strict=True)
    behind = {index: comparison.as_json() for index, comparison in adjusted}
    ranked = [
        replace(entry, behind=behind.get(index), reason=reasons.get(index, ""))
        for index, entry in enumerate(entries)
    ]
    return replace(board, entries=ranked)


def leaderboards(folders: Sequence[Path]) -> list[Board]:
    """A board per task and set of test items, sorted by task and then by the number of arms.

    Raises: RunError if a folder holds no study.
    """
    boards: dict[tuple[str, str], Board] = {}
    entries: dict[tuple[str, str], list[Entry]] = {}
    settings: dict[tuple[str, str], ScoreSettings] = {}
    for folder in folders:
        study, recipe = read_study(folder), read_study_recipe(folder)
        fingerprint = str((study.splits.get("fingerprints") or {}).get("test"))
        key = (_task_of(recipe, study), fingerprint)
        grouped, metric = study.is_clustered, recipe.task.metrics[0]
        size = int((study.splits.get("sizes") or {}).get("test") or 0)
        board = boards.setdefault(key, Board(key[0], metric, fingerprint, size, grouped))
        settings.setdefault(key, recipe.score)
        if reason := _leaky(study):
            board.unranked.append((folder.name, "all arms", reason))
            continue
        board.unranked.extend(_unfinished(study))
        for arm in finished_arms(study.arms):
            value = as_json(score(arm.runs, [metric], settings[key], grouped))[metric]
            entries.setdefault(key, []).append(Entry(study, arm, value))
    ranked = [
        _ranked(board, entries[key], settings[key]) if entries.get(key) else board
        for key, board in boards.items()
    ]
    return sorted(ranked, key=lambda board: (board.task, -len(board.entries)))


def _task_of(recipe: Recipe, study: StudyRecord) -> str:
    """The task's name, followed by the file's name if the user supplied the file."""
    path = getattr(recipe.task_options, "path", None)
    if recipe.task_name == "labels" and path:
        return f"{recipe.task_name}: {Path(str(path)).name}"
    return recipe.task_name
