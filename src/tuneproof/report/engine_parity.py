"""Parity of two training engines, step by step: tuneproof's loop and the Hugging Face Trainer.

In: the arms of a study. Out: a table and a figure of their differences. Knows nothing of: files, HTML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import ArmRecord
from tuneproof.report.charts.learning_curves import Line, curve_figure
from tuneproof.report.formatting import NOTHING, count, format_number
from tuneproof.report.tables import ArmRow, Table

IGNORED_OPTIONS = ("name", "engine")  # the two arms may differ in these
HEADER = ("Arms", "Steps", "Loss", "Gradient norm", "Learning rate", "Time per step")


@dataclass(frozen=True)
class EngineParity:
    """`table` has the largest differences of each pair, `figure` those of the loss over training."""

    table: Table
    figure: Markup


def engine_parity(rows: Sequence[ArmRow]) -> EngineParity | None:
    """The pairs of arms that differ only in the engine; None if there are none."""
    lines: list[Line] = []
    table_rows: list[tuple[str, ...]] = []
    for index, row in enumerate(rows):
        for other_row in rows:
            for ours, theirs in _pairs(row, other_row):
                seed = ours.about.get("seed")
                name = f"{row.label} and {other_row.label}"
                name += f", seed {seed}" if len(row.seeds) > 1 else ""
                steps = list(zip(ours.steps, theirs.steps, strict=False))
                table_rows.append(_line(name, steps))
                differences = [(float(a["step"]), _loss_difference(a, b)) for a, b in steps]
                points = [(step, value) for step, value in differences if value is not None]
                if points:
                    lines.append(Line(index, name, points))
    if not table_rows:
        return None
    figure = curve_figure("Loss difference", lines, lines, "step") if lines else Markup("")
    return EngineParity(Table(HEADER, tuple(table_rows), (False, *[True] * 5)), figure)


def _pairs(row: ArmRow, other_row: ArmRow) -> list[tuple[ArmRecord, ArmRecord]]:
    """Pairs of records with the same seed, tuneproof's loop first."""
    return [
        (ours, theirs)
        for ours in row.records
        for theirs in other_row.records
        if ours.steps
        and theirs.steps
        and ours.about.get("seed") == theirs.about.get("seed")
        and (_engine(ours), _engine(theirs)) == ("loop", "trainer")
        and _identity(ours) == _identity(theirs)
    ]


def _engine(record: ArmRecord) -> Any:
    return (record.about.get("options") or {}).get("engine")


def _identity(record: ArmRecord) -> tuple[Any, ...]:
    about = record.about
    options = {k: v for k, v in (about.get("options") or {}).items() if k not in IGNORED_OPTIONS}
    return about.get("method"), about.get("model"), about.get("train_size"), options


def _loss_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    if ours.get("loss") is None or theirs.get("loss") is None:
        return None
    return abs(ours["loss"] - theirs["loss"])


def format_small(value: float) -> str:
    """A number with two significant digits, such as 0.03 or 8.3e−7."""
    return format_number(float(f"{value:.2g}"))


def _line(name: str, steps: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[str, ...]:
    def largest(key: str, relative: bool = False) -> str:
        differences = [
            abs(a[key] - b[key]) / (max(abs(a[key]), 1e-12) if relative else 1)
            for a, b in steps
            if a.get(key) is not None and b.get(key) is not None
        ]
        if not differences:
            return NOTHING
        return f"{format_small(100 * max(differences))} %" if relative else format_small(max(differences))

    ours, theirs = (sum(pair[side].get("time_s") or 0.0 for pair in steps) for side in (0, 1))
    times = f"1 : {theirs / ours:.2f}" if ours and theirs else NOTHING
    loss, norm, rate = largest("loss"), largest("gradient_norm", True), largest("learning_rate")
    return (name, count(len(steps)), loss, norm, rate, times)
