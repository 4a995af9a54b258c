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
from tuneproof.report.charts.svg import Scale, arm_colour
from tuneproof.report.comparison_tables import (
    CLAIMS,
    OTHERS,
    compared_pairs,
    comparison_style,
    comparison_table,
    comparison_terms,
    difference_text,
    pair_name,
    without_claims,
)
from tuneproof.report.diagnoses import SIGN
from tuneproof.report.recommendation import Recommendation, recommend

FEW_PAIRS = 8


@dataclass(frozen=True)
class PlotRow:
    """One row of a plot: a name, a strip, the numbers in words."""

    name: str
    aside: str
    strip: Markup
    text: str
    ink: str


def forest_plot(study: StudyRecord, rows: Sequence[tables.ArmRow], metric: str) -> dict[str, Any]:
    """The forest plot: every arm with a score, then the arms without one."""
    style = tables.column_style(list(rows), metric)
    scored = [(i, row) for i, row in enumerate(rows) if row.has_score(metric)]
    scale = forest.score_scale([row.scores[metric] for _, row in scored], tables.is_share(metric))
    base = [row.scores[metric].value or 0.0 for _, row in scored if row.kind == "baseline"]
    leaky = _overlap(study)
    plot_rows = []
    for index, row in scored:
        score, ink = row.scores[metric], arm_colour(index, row.kind)
        aside = (tables.format_seeds(row) if row.seeds else row.kind) + leaky + _aside(row, metric, style)
        strip = forest.score_strip(row, score, style, scale, base, ink)
        plot_rows.append(PlotRow(row.label, aside, strip, tables.format_score(score, style), ink))
    return {
        "title": tables.metric_title(metric, tables.positive_label(study)) + style.unit.replace(" ", ", "),
        "rows": plot_rows,
        "axis": forest.axis_strip(scale, tables.is_share(metric)),
        "grouped": study.is_clustered,
        "has_base": bool(base),
        "has_dev": any(metric in row.dev_scores for row in rows),
    }


def _overlap(study: StudyRecord) -> str:
    share = tables.overlap_share(study)
    return f"; {formatting.format_percent(share)} % overlap" if share else ""


def _aside(row: tables.ArmRow, metric: str, style: formatting.NumberStyle) -> str:
    """What the training curves say against an arm, and its score on dev."""
    finding = f" · {SIGN} {row.finding}" if row.finding else ""
    score = row.dev_scores.get(metric)
    return finding + (f" · dev {tables.format_score(score, style)}" if score else "")


def _select_pairs(pairs: list[dict[str, Any]], recommended: str) -> list[dict[str, Any]]:
    """The pairs to plot: all if there are few, else those of the recommended arm, and those that share an
    arm or an `over` with a claim."""
    claims = [pair for pair in pairs if pair.get("claim")]
    if len(pairs) <= FEW_PAIRS or not claims:
        return pairs
    arms, bases = {recommended, *(c.get("arm") for c in claims)}, {c.get("over") for c in claims}
    return [pair for pair in pairs if pair.get("arm") in arms or pair.get("over") in bases]


def _difference_row(pair: dict[str, Any], scale: Scale) -> PlotRow:
    style, aside = comparison_style(pair), "claim" if pair.get("claim") else ""
    strip, text = forest.difference_strip(pair, style, scale), difference_text(pair, style)
    return PlotRow(pair_name(pair), aside, strip, text, str(pair.get("outcome")))


def _selecting_pairs(study: StudyRecord, advice: Recommendation | None) -> list[dict[str, Any]]:
    """The comparison by which test let another arm than the best on dev be recommended, if one is."""
    if advice is None or advice.name == advice.best:
        return []
    return [{"arm": advice.name, "over": advice.best, "metric": study.comparisons["as_good"]["metric"]}]


def paired_differences(study: StudyRecord, metric: str) -> dict[str, Any]:
    """The paired differences in one metric as strips, and in every metric as tables."""
    pairs = [pair for pair in tables.comparison_rows(study) if pair.get("difference") is not None]
    advice = recommend(study)
    parts = compared_pairs(pairs, advice.pairs if advice else (), _selecting_pairs(study, advice))
    once = [*parts[CLAIMS], *without_claims(parts), *parts[OTHERS]]
    by_metric = [pair for pair in once if pair.get("metric") == metric]
    drawn = _select_pairs(by_metric, advice.name if advice else "")
    scale, positive = forest.difference_scale(drawn), tables.positive_label(study)
    made = [(title, comparison_table(some, positive)) for title, some in parts.items() if some]
    return {
        "strips": [_difference_row(pair, scale) for pair in drawn],
        "axis": forest.axis_strip(scale, tables.is_share(metric), True),
        "tables": made,
        "terms": comparison_terms(parts, [table for _, table in made]),
        "sentences": [str(pair["sentence"]) for pair in once if pair.get("sentence")],
        "more": len(once) - len(drawn),
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
        ("training time (s)", lambda row: row.training_s),
        ("trainable parameters", lambda row: row.trainable),
        ("peak memory (MiB)", lambda row: row.peak_memory_bytes and row.peak_memory_bytes / 2**20),
    )
    drawn, names = [], tables.short_names(rows)
    for title, cost in costs:
        marks = [
            Mark(names[i], float(cost(row)), float(row.scores[metric].value or 0), arm_colour(i, row.kind))
            for i, row in enumerate(rows)
            if row.has_score(metric) and cost(row) is not None
        ]
        if len(marks) > 1:
            drawn.append((title, cost_figure(marks, title, tables.metric_title(metric, positive))))
    return drawn
