"""What the arms cost, for the page: a table, a figure of score against cost, and break-evens.

In: a study read back. Out: tables of strings, a figure, values of report.json.
Knows nothing of: HTML tags, how costs come about.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from tuneproof.record.costs import SECONDS, ArmCost, study_costs
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting
from tuneproof.report.charts.cost import Mark, cost_figure
from tuneproof.report.charts.svg import arm_colour
from tuneproof.report.cost_text import amount_text, break_even_text, cost_text, latency_text
from tuneproof.report.tables import ArmRow, Table, metric_title, pooled_rows

NOTE = (
    "Timed after each arm had predicted, on dev items, with a warm-up: one item at a time (latency), then "
    "batches up to predict.batch_size. An item costs this machine's time at the best size, as if it were "
    "always busy. In brackets: the range of 95 % of the timed batches; other machines, other loads and other "
    "texts are not in it. Training: one run, the mean of the seeds. Labels: those of train and dev. "
    "Not timed is a dash, never zero."
)
BREAK_EVEN_NOTE = (
    "From or up to how many items the arm of the row is cheaper in all (training, labels and items) than "
    "that of the column. The interval comes from the spread of both costs an item. cannot tell: they do not "
    "differ by more than they spread."
)


def cost_table(study: StudyRecord) -> Table | None:
    """A row for each arm; None where no arm was timed or priced."""
    rows = _rows(study)
    if not any(cost.per_item or cost.latency_s for _, cost in rows):
        return None
    unit = rows[0][1].unit
    money = ["Training", "Labels"] if unit != SECONDS else []
    header = ["Arm", "p50", "p95", "p99", "Items/s", "Batch", "Size on disk", "Training time"]
    header += [f"1,000 items, {unit}", *(f"{name}, {unit}" for name in money)] if money else ["1,000 items"]
    cells = []
    for row, cost in rows:
        latency = (latency_text(cost.latency_s.get(name)) for name in ("p50", "p95", "p99"))
        speed = formatting.rate(cost.items_per_s), formatting.count(cost.batch_size)
        disk, training = formatting.memory(cost.disk_bytes), formatting.format_duration(cost.training_s)
        paid = [cost_text(value, unit) for value in (cost.training, cost.label_cost)] if money else []
        paid = [amount_text(cost.per_thousand, unit), *paid]
        paid = [text.replace(f" {unit}", "") for text in paid] if money else paid
        cells.append((formatting.show_hidden(row.label), *latency, *speed, disk, training, *paid))
    return Table(tuple(header), tuple(cells), (False, *(True for _ in header[1:])))


def break_even_table(study: StudyRecord) -> Table | None:
    """From how many items each arm pays against each other one; None with fewer than two known costs."""
    rows = [(row, cost) for row, cost in _rows(study) if cost.per_item]
    if len(rows) < 2:
        return None
    names = [formatting.show_hidden(row.label) for row, _ in rows]
    cells = [
        (name, *(_cell(cost, over) for _, over in rows)) for name, (_, cost) in zip(names, rows, strict=True)
    ]
    return Table(("Arm", *names), tuple(cells), (False, *(False for _ in names)))


def _cell(cost: ArmCost, over: ArmCost) -> str:
    return formatting.NOTHING if cost is over else break_even_text(cost.pays_against(over))


def score_against_cost(study: StudyRecord, metric: str, positive: str) -> list[tuple[str, Markup]]:
    """Score with its interval against the cost of 1,000 items; nothing with fewer than two known costs."""
    rows = pooled_rows(study)
    costs = {(cost.arm, cost.model): cost for cost in study_costs(study)}
    marks, unit = [], SECONDS
    for index, row in enumerate(rows):
        cost = costs.get((row.arm, row.model))
        if cost is None or cost.per_thousand is None or not row.has_score(metric):
            continue
        score, unit = row.scores[metric], cost.unit
        ink = arm_colour(index, row.kind)
        ends = (score.low, score.high)
        marks.append(Mark(row.label, cost.per_thousand.value, float(score.value or 0), ink, *ends))
    title = f"cost of 1,000 items ({unit})"
    return [(title, cost_figure(marks, title, metric_title(metric, positive)))] if len(marks) > 1 else []


def cost_values(study: StudyRecord) -> dict[str, Any] | None:
    """The costs and the break-evens of all pairs, for report.json."""
    rows = _rows(study)
    if not rows:
        return None
    pairs = [
        {"arm": row.label, "over": over.label, **_pays(cost, over_cost)}
        for row, cost in rows
        for over, over_cost in rows
        if row is not over
    ]
    return {
        "unit": rows[0][1].unit,
        "arms": [{"name": row.label, **cost.as_json()} for row, cost in rows],
        "break_even": pairs,
    }


def _pays(cost: ArmCost, over: ArmCost) -> dict[str, Any]:
    pays = cost.pays_against(over)
    return asdict(pays) if pays else {"outcome": "not known", "items": None, "low": None, "high": None}


def _rows(study: StudyRecord) -> Sequence[tuple[ArmRow, ArmCost]]:
    costs = {(cost.arm, cost.model): cost for cost in study_costs(study)}
    return [(row, costs[key]) for row in pooled_rows(study) if (key := (row.arm, row.model)) in costs]
