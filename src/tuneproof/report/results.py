"""The results of a study for the page: forest plot, paired differences, all metrics, cost.

In: rows of arms, comparisons. Out: rows of strips, tables of strings, figures.
Knows nothing of: HTML tags, predictions, files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables
from tuneproof.report.charts import forest
from tuneproof.report.charts.cost import Mark, cost_figure
from tuneproof.report.charts.svg import arm_colour
from tuneproof.report.comparison_tables import (
    comparison_cells,
    comparison_style,
    comparison_tables,
    comparison_terms,
    difference_text,
)
from tuneproof.report.diagnoses import SIGN

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


def forest_plot(study: StudyRecord, rows: Sequence[tables.ArmRow], metric: str) -> dict[str, Any]:
    """The forest plot: every arm with a score, then the arms without one."""
    style = tables.column_style(list(rows), metric)
    scored = [(i, row) for i, row in enumerate(rows) if row.has_score(metric)]
    scale = forest.score_scale([row.scores[metric] for _, row in scored], tables.is_share(metric))
    base = [row.scores[metric].value or 0.0 for _, row in scored if row.kind == "baseline"]
    share = tables.overlap_share(study)
    leaky = f"; {formatting.format_percent(share)} % overlap" if share else ""
    plot_rows = []
    for index, row in scored:
        score, ink = row.scores[metric], arm_colour(index, row.kind)
        finding = f" · {SIGN} {row.finding}" if row.finding else ""
        aside = (tables.format_seeds(row) if row.seeds else row.kind) + leaky + finding
        strip = forest.score_strip(row, score, style, scale, base, ink)
        plot_rows.append(PlotRow(row.label, aside, strip, tables.format_score(score, style), ink))
    return {
        "title": tables.metric_title(metric, tables.positive_label(study)) + style.unit.replace(" ", ", "),
        "rows": plot_rows,
        "axis": forest.axis_strip(scale, tables.is_share(metric)),
        "grouped": study.is_clustered,
        "has_base": bool(base),
    }


def _select_pairs(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs to plot: all if there are few, else those that share an arm or an `over` with a claim."""
    claims = [pair for pair in pairs if pair.get("claim")]
    if len(pairs) <= FEW_PAIRS or not claims:
        return pairs
    arms, bases = {c.get("arm") for c in claims}, {c.get("over") for c in claims}
    return [pair for pair in pairs if pair.get("arm") in arms or pair.get("over") in bases]


def paired_differences(study: StudyRecord, metric: str) -> dict[str, Any]:
    """The paired differences in one metric as strips, and in every metric as a table."""
    pairs = [pair for pair in tables.comparison_rows(study) if pair.get("difference") is not None]
    drawn = _select_pairs([pair for pair in pairs if pair.get("metric") == metric])
    scale, positive = forest.difference_scale(drawn), tables.positive_label(study)
    strips, rows = [], []
    for pair in pairs:
        style = comparison_style(pair)
        text = difference_text(pair, style)
        rows.append((pair_name(pair), *comparison_cells(pair, positive)))
        if pair in drawn:
            aside, strip = "claim" if pair.get("claim") else "", forest.difference_strip(pair, style, scale)
            strips.append(PlotRow(pair_name(pair), aside, strip, text, str(pair.get("outcome"))))
    made = comparison_tables(pairs, rows)
    return {
        "strips": strips,
        "axis": forest.axis_strip(scale, tables.is_share(metric), True),
        "tables": made,
        "terms": comparison_terms(pairs, made),
        "sentences": [str(pair["sentence"]) for pair in pairs if pair.get("sentence")],
        "more": len(pairs) - len(drawn),
        "has_margin": any(pair.get("margin") is not None for pair in drawn),
        "has_mde": any(pair.get("mde") is not None for pair in drawn),
    }


def metric_table(rows: Sequence[tables.ArmRow], positive: str) -> tables.Table:
    """Every metric of every arm."""
    names = tables.metric_names(list(rows))
    styles = {name: tables.column_style(list(rows), name) for name in names}
    header = ("Metric", *(row.label for row in rows if row.scores))
    body = tuple(
        (
            tables.metric_title(name, positive) + styles[name].unit.replace(" ", ", "),
            *(tables.format_score(row.scores.get(name), styles[name]) for row in rows if row.scores),
        )
        for name in names
    )
    return tables.Table(header, body, (False, *(True for _ in header[1:])))


def cost_figures(rows: Sequence[tables.ArmRow], metric: str, positive: str) -> list[tuple[str, Markup]]:
    """Score against time, trainable parameters and peak memory, for the arms that have both."""
    costs = (
        ("total time (s)", lambda row: row.time_s),
        ("trainable parameters", lambda row: row.trainable),
        ("peak memory (MiB)", lambda row: row.peak_memory_bytes and row.peak_memory_bytes / 2**20),
    )
    drawn = []
    for title, cost in costs:
        marks = [
            Mark(row.label, float(cost(row)), float(row.scores[metric].value or 0), arm_colour(i, row.kind))
            for i, row in enumerate(rows)
            if row.has_score(metric) and cost(row) is not None
        ]
        if len(marks) > 1:
            drawn.append((title, cost_figure(marks, title, tables.metric_title(metric, positive))))
    return drawn
