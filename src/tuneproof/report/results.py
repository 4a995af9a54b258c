"""The results of a study for the page: forest plot, differences, every metric, cost.

In: rows of arms, comparisons. Out: rows of strips, tables of strings, pictures.
Knows nothing of: HTML tags, predictions, files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.charts.forest import (
    Mark,
    axis_strip,
    colour,
    cost_figure,
    difference_scale,
    difference_strip,
    score_scale,
    score_strip,
)
from tuneproof.report.rounding import NOTHING, count, percent, probability, style_for
from tuneproof.report.tables import (
    ArmRow,
    Table,
    comparison_rows,
    is_share,
    metric_names,
    metric_note,
    metric_title,
    overlap_share,
    show_score,
    show_seeds,
    style_of,
)

FEW_PAIRS = 8


@dataclass(frozen=True)
class PlotRow:
    """One row of a plot: a name, a strip, the numbers in words."""

    name: str
    aside: str
    strip: Markup
    text: str
    ink: str


def pair_name(pair: dict[str, Any]) -> str:
    """A comparison's name, such as "full over head"."""
    return f"{pair.get('arm')} over {pair.get('over')}"


def forest(study: StudyRecord, rows: Sequence[ArmRow], metric: str) -> dict[str, Any]:
    """The forest plot: every arm with a score, and the arms without one."""
    style = style_of(list(rows), metric)
    scored = [
        (i, row)
        for i, row in enumerate(rows)
        if row.scores.get(metric) and row.scores[metric].value is not None
    ]
    scale = score_scale([row.scores[metric] for _, row in scored], is_share(metric))
    base = [row.scores[metric].value or 0.0 for _, row in scored if row.kind == "baseline"]
    share = overlap_share(study)
    leaky = f"; {percent(share)} % overlap" if share else ""
    return {
        "title": metric_title(metric) + style.unit.replace(" ", ", "),
        "rows": [
            PlotRow(
                row.label,
                (show_seeds(row) if row.seeds else row.kind) + leaky,
                score_strip(row, row.scores[metric], style, scale, base, colour(i, row.kind)),
                show_score(row.scores[metric], style),
                colour(i, row.kind),
            )
            for i, row in scored
        ],
        "axis": axis_strip(scale, is_share(metric)),
        "grouped": bool(study.splits.get("grouped")),
        "has_base": bool(base),
        "absent": [row for row in rows if row.status != "done"],
    }


def _drawn(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the plot shows: few pairs all, of many those with an arm or the base of a claim."""
    claims = [pair for pair in pairs if pair.get("claim")]
    if len(pairs) <= FEW_PAIRS or not claims:
        return pairs
    arms, bases = {c.get("arm") for c in claims}, {c.get("over") for c in claims}
    return [pair for pair in pairs if pair.get("arm") in arms or pair.get("over") in bases]


def differences(study: StudyRecord, metric: str) -> dict[str, Any]:
    """The paired differences of the main metric as strips, and of every metric as a table."""
    pairs = [pair for pair in comparison_rows(study) if pair.get("difference") is not None]
    drawn = _drawn([pair for pair in pairs if pair.get("metric") == metric])
    scale = difference_scale(drawn)
    strips, rows = [], []
    for pair in pairs:
        style = style_for(pair.get("low"), pair.get("high"), is_share(str(pair.get("metric"))))
        shown = style.value(pair["difference"], True)
        text = f"{shown} {style.interval(pair.get('low'), pair.get('high'), True)}"
        adjusted = pair.get("p_adjusted") if pair.get("claim") else None
        rows.append(
            (
                pair_name(pair),
                metric_title(str(pair.get("metric"))),
                text,
                probability(pair.get("p_value")),
                probability(adjusted) if adjusted is not None else NOTHING,
                style.value(pair.get("mde")),
                f"{count(pair.get('only_arm_right'))} : {count(pair.get('only_over_right'))}",
                count(pair.get("n")),
                str(pair.get("outcome") or NOTHING),
            )
        )
        if pair in drawn:
            aside = "the claim" if pair.get("claim") else ""
            strips.append(
                PlotRow(
                    pair_name(pair),
                    aside,
                    difference_strip(pair, style, scale),
                    text,
                    str(pair.get("outcome")),
                )
            )
    header = ("Pair", "Metric", "Difference", "p", "p, Holm", "MDE", "Only one right", "n", "Verdict")
    numeric = (False, False, False, True, True, True, True, True, False)
    return {
        "strips": strips,
        "axis": axis_strip(scale, is_share(metric), True),
        "table": Table(header, tuple(rows), numeric),
        "sentences": [str(pair["sentence"]) for pair in pairs if pair.get("sentence")],
        "more": len(pairs) - len(drawn),
        "has_mde": any(pair.get("mde") is not None for pair in drawn),
    }


def metric_table(rows: Sequence[ArmRow]) -> tuple[Table, list[str]]:
    """Every metric of every arm, and the notes that stand beside them."""
    names = metric_names(list(rows))
    styles = {name: style_of(list(rows), name) for name in names}
    header = ("Metric", *(row.label for row in rows if row.scores))
    body = tuple(
        (
            metric_title(name) + styles[name].unit.replace(" ", ", "),
            *(show_score(row.scores.get(name), styles[name]) for row in rows if row.scores),
        )
        for name in names
    )
    notes = [f"{metric_title(name)}: {metric_note(name)}." for name in names if metric_note(name)]
    return Table(header, body, (False, *(True for _ in header[1:]))), notes


def costs(rows: Sequence[ArmRow], metric: str) -> list[tuple[str, Markup]]:
    """Score against seconds, trainable parameters and memory, for the arms that have both."""
    wanted = (
        ("seconds", lambda row: row.time_s),
        ("trainable parameters", lambda row: row.trainable),
        ("peak memory, MiB", lambda row: row.peak_memory_bytes and row.peak_memory_bytes / 2**20),
    )
    drawn = []
    for title, cost in wanted:
        marks = [
            Mark(row.label, float(cost(row)), float(row.scores[metric].value or 0), colour(i, row.kind))
            for i, row in enumerate(rows)
            if metric in row.scores and row.scores[metric].value is not None and cost(row) is not None
        ]
        if len(marks) > 1:
            drawn.append((title, cost_figure(marks, title, metric_title(metric))))
    return drawn
