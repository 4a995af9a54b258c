"""One arm trained by two engines, step by step: our loop beside the Hugging Face Trainer.

In: the arms of a study. Out: a table and a picture of how far apart they are. Knows nothing of: files, HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import ArmRecord
from tuneproof.report.charts.learning_curves import Line, curve_figure
from tuneproof.report.rounding import NOTHING, count, plain
from tuneproof.report.tables import ArmRow, Table

APART = ("name", "engine")  # options in which the two may differ
HEADER = ("Arms", "Steps", "Loss", "Gradient norm", "Learning rate", "Time a step")


@dataclass(frozen=True)
class Engines:
    """`table`: the largest differences of each pair; `figure`: those of the loss over training."""

    table: Table
    figure: Markup


def engines(rows: Sequence[ArmRow]) -> Engines | None:
    """Pairs of arms that differ in the engine alone; None where there are none."""
    lines: list[Line] = []
    shown: list[tuple[str, ...]] = []
    for place, row in enumerate(rows):
        for other in rows:
            for mine, theirs in _pairs(row, other):
                seed = mine.about.get("seed")
                name = f"{row.label} and {other.label}"
                name += f", seed {seed}" if len(row.seeds) > 1 else ""
                steps = list(zip(mine.steps, theirs.steps, strict=False))
                shown.append(_line(name, steps))
                apart = [(float(a["step"]), _off(a, b)) for a, b in steps]
                points = [(step, value) for step, value in apart if value is not None]
                if points:
                    lines.append(Line(place, name, points))
    if not shown:
        return None
    figure = curve_figure("Loss apart", lines, lines, "step") if lines else Markup("")
    return Engines(Table(HEADER, tuple(shown), (False, *[True] * 5)), figure)


def _pairs(row: ArmRow, other: ArmRow) -> list[tuple[ArmRecord, ArmRecord]]:
    """Records of the same seed, ours first."""
    return [
        (mine, theirs)
        for mine in row.records
        for theirs in other.records
        if mine.steps
        and theirs.steps
        and mine.about.get("seed") == theirs.about.get("seed")
        and (_engine(mine), _engine(theirs)) == ("loop", "trainer")
        and _alike(mine) == _alike(theirs)
    ]


def _engine(record: ArmRecord) -> Any:
    return (record.about.get("options") or {}).get("engine")


def _alike(record: ArmRecord) -> tuple[Any, ...]:
    about = record.about
    options = {k: v for k, v in (about.get("options") or {}).items() if k not in APART}
    return about.get("method"), about.get("model"), about.get("train_size"), options


def _off(mine: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    if mine.get("loss") is None or theirs.get("loss") is None:
        return None
    return abs(mine["loss"] - theirs["loss"])


def small(value: float) -> str:
    """Two digits, such as 0.03 or 8.3e−7."""
    return plain(float(f"{value:.2g}"))


def _line(name: str, steps: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[str, ...]:
    def most(key: str, relative: bool = False) -> str:
        known = [
            abs(a[key] - b[key]) / (max(abs(a[key]), 1e-12) if relative else 1)
            for a, b in steps
            if a.get(key) is not None and b.get(key) is not None
        ]
        if not known:
            return NOTHING
        return f"{small(100 * max(known))} %" if relative else small(max(known))

    ours, theirs = (sum(pair[which].get("time_s") or 0.0 for pair in steps) for which in (0, 1))
    times = f"1 : {theirs / ours:.2f}" if ours and theirs else NOTHING
    return (name, count(len(steps)), most("loss"), most("gradient_norm", True), most("learning_rate"), times)
