"""How far a study is, from its folder alone: arms, curves, scores, verdict.

In: a study's folder. Out: plain values for the board. Knows nothing of: processes, HTTP.

Files are read as they are at this moment: one that is missing or half written counts as not there yet.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from tuneproof.atomic import read_json
from tuneproof.errors import TuneproofError
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import (
    ARM,
    ARMS,
    AUDIT,
    COMPARISONS,
    FORECAST,
    PROGRESS,
    RECIPE,
    REPORT_HTML,
    SCORES,
    SPLITS,
    STEPS,
    arm_folder,
    read_study,
)
from tuneproof.report.diagnoses import diagnosis_lines
from tuneproof.report.recommendation import recommend
from tuneproof.report.tables import headline
from tuneproof.study.lock import is_held

MAX_POINTS = 400  # of a curve
NO_DEV_LOSS = '"dev_loss": null'
Values = dict[str, Any]


def read_board(folder: Path) -> Values:
    """The board of a study: state, arms, curves, progress, findings and, once there, the verdict.

    state: "running", "stopped" (an arm is not finished), "finished" or "failed" (an arm failed).
    """
    progress = _values(folder / PROGRESS)
    running = is_held(folder)
    current = (progress.get("arm") or {}).get("label") if running else None
    suspect = _under_trained(folder)
    arms = [_arm(folder, entry, current, suspect) for entry in _planned(folder)]
    (verdict, diagnoses, advice), metric = _conclusion(folder), _primary_metric(folder)
    return {
        "name": folder.name,
        "state": _state(running, arms, bool(verdict)),
        "arms": [
            {**arm, "score": _score(arm["folder"], metric)} | {"folder": arm["folder"].name} for arm in arms
        ],
        "metric": metric,
        "metric_title": METRICS[metric].title if metric in METRICS else "Score",
        "level": _level(folder / RECIPE),
        "progress": progress if running else {},
        "findings": _values(folder / AUDIT).get("findings", []),
        "sizes": _values(folder / SPLITS).get("sizes", {}),
        "verdict": verdict,
        "diagnoses": diagnoses,
        "recommendation": advice,
        "has_report": (folder / REPORT_HTML).is_file(),
    }


def summary(board: Values) -> Values:
    """A line of the list of studies."""
    return {
        **{name: board[name] for name in ("name", "state", "verdict", "has_report", "error")},
        "arms_done": sum(arm["status"] in ("done", "impossible") for arm in board["arms"]),
        "arms": len(board["arms"]),
        **{name: board["progress"].get(name) for name in ("share", "left_s")},
    }


def read_curves(folder: Path, arm: str) -> dict[str, list[list[float]]]:
    """Losses of an arm by step: train (thinned to about 400 points) and dev."""
    curves: dict[str, list[list[float]]] = {"train": [], "dev": []}
    lines = []
    with suppress(OSError, ValueError):
        lines = (folder / ARMS / arm / STEPS).read_text("utf-8").split("\n")[:-1]  # the last: half written
    stride = -(-len(lines) // MAX_POINTS) or 1
    for i, line in enumerate(lines):
        is_drawn = i % stride == 0 or i == len(lines) - 1
        if not is_drawn and (NO_DEV_LOSS in line or '"dev_loss"' not in line):
            continue  # most lines of a long run: not worth parsing
        values = _step(line)
        if is_drawn and _is_finite(values.get("loss")):
            curves["train"].append([values["step"], values["loss"]])
        if _is_finite(values.get("dev_loss")):
            curves["dev"].append([values["step"], values["dev_loss"]])
    return curves


def _step(line: str) -> Mapping[str, Any]:
    with suppress(ValueError):
        values = json.loads(line)
        return values if isinstance(values, dict) and isinstance(values.get("step"), int) else {}
    return {}


def _is_finite(loss: Any) -> bool:
    return isinstance(loss, float) and math.isfinite(loss)


def _values(path: Path) -> Values:
    try:
        value = read_json(path)
    except (TuneproofError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def _planned(folder: Path) -> list[Values]:
    """The arms in the order in which they run: of the forecast, else those that have a folder."""
    if planned := _forecast_arms(folder):
        return planned
    records = [_values(path) for path in sorted((folder / ARMS).glob(f"*/{ARM}"))]
    records.sort(key=lambda about: (about.get("order") or 0, about.get("seed") or 0))
    names = ("arm", "model", "seed", "train_size")
    return [{name: about.get(name) for name in names} for about in records if about.get("arm")]


def _forecast_arms(folder: Path) -> list[Values]:
    entries = _values(folder / FORECAST).get("arms")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("arm"), str)]


def _under_trained(folder: Path) -> set[tuple[Any, Any, Any]]:
    """Arm, model and seed of the runs that the last comparison calls under-trained."""
    entries = _values(folder / COMPARISONS).get("diagnoses") or []
    return {(e.get("arm"), e.get("model"), e.get("seed")) for e in entries if e.get("under_trained")}


def _arm(study: Path, entry: Values, current: str | None, suspect: set[tuple[Any, Any, Any]]) -> Values:
    parts = (entry.get("model"), str(entry["arm"]), entry.get("seed"), entry.get("train_size"))
    folder = arm_folder(study, *parts)
    about = _values(folder / ARM)
    seed = "" if parts[2] is None else f" seed {parts[2]}"
    label = entry.get("label") or f"{parts[0] or ''} {parts[1]}{seed}".strip()
    status = "running" if label == current else about.get("status", "waiting")
    return {
        "label": label,
        "folder": folder,
        **{name: entry.get(name) for name in ("arm", "model", "seed", "train_size")},
        "kind": about.get("kind"),
        "status": status,
        "under_trained": status == "done"
        and ("checkpoint" in about or (entry.get("arm"), entry.get("model"), entry.get("seed")) in suspect),
        "reason": about.get("reason"),
        "time_s": about.get("wall_s"),
        "predicted_s": entry.get("time_s"),
        "trains": (folder / STEPS).is_file(),
        "deliverable": status == "done" and (folder / "weights").is_dir() and not parts[3],
    }


def _score(folder: Path, metric: str | None) -> Values | None:
    score = _values(folder / SCORES).get(metric or "")
    names = ("value", "low", "high", "n")
    return {name: score.get(name) for name in names} if isinstance(score, dict) else None


def _primary_metric(folder: Path) -> str | None:
    """The first metric of the task: scores are written in their order."""
    for path in sorted((folder / ARMS).glob(f"*/{SCORES}")):
        return next(iter(_values(path)), None)
    return None


def _level(recipe: Path) -> float | None:
    """The level of the study's intervals."""
    with suppress(TuneproofError, OSError):
        return _read_level(recipe, recipe.stat().st_mtime_ns)
    return None


@lru_cache(maxsize=1000)
def _read_level(recipe: Path, changed_at: int) -> float:
    return read_recipe(recipe).score.level


def _conclusion(folder: Path) -> tuple[str, list[str], list[tuple[str, str]]]:
    """The headline, the findings about training and the recommendation, once the study was compared."""
    if (folder / COMPARISONS).is_file():
        with suppress(TuneproofError):
            study = read_study(folder)
            advice = recommend(study)
            return headline(study), diagnosis_lines(study), list(advice.lines[:2]) if advice else []
    return "", [], []


def _state(running: bool, arms: Sequence[Values], concluded: bool) -> str:
    if running:
        return "running"
    if any(arm["status"] == "failed" for arm in arms):
        return "failed"
    finished = concluded and all(arm["status"] in ("done", "impossible") for arm in arms)
    return "finished" if finished else "stopped"
