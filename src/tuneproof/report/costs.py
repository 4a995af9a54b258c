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
from tuneproof.report.cost_text import (
    NAMES,
    amount_text,
    break_even_cell,
    cost_text,
    items_of_cost,
    latency_text,
)
from tuneproof.report.prices import prices_text, study_prices
from tuneproof.report.tables import ArmRow, Table, metric_title, pooled_rows, short_names

PERCENTILES = ("p50", "p95", "p99")
NO_PRICES = "none in the recipe, so costs are in time of this machine."
ITEMS_TERM = (
    "what predicting them costs in batches of the best size, if this machine is always busy; in brackets the "
    "range of 95 % of the timed batches. Other machines, loads and texts are not in it."
)
TERMS = (
    ("Training", "one training; its time is in the table of arms."),
    ("Labels", "those of train and dev, or of the examples in the prompt."),
    ("Size on disk", "the weights, with those of the model under them."),
)
SERVING_TERMS = (
    ("Items/s (serving)", "in batches of the best size, timed on dev items after the study, with a warm-up."),
)
BREAK_EVEN_NOTE = (
    "Read along a row: from, or up to, so many items this arm costs less in all than that of the column, "
    "counting {counted}. In brackets: the range that the spread of both costs of an item allows. always, "
    "never: whatever the number of items. cannot tell: the costs of an item differ by less than they spread."
)


def cost_table(study: StudyRecord) -> Table | None:
    """What each arm costs, in columns that are not empty; None where no cost is known."""
    rows = _rows(study)
    if not any(cost.per_item or cost.latency_s for _, cost in rows):
        return None
    unit, count = rows[0][1].unit, _items_of_cost(rows)
    names = [NAMES[count], "Training", "Labels"] if unit != SECONDS else [NAMES[count]]
    header = [f"{name}, {unit}" if unit != SECONDS else name for name in names]
    cells = [(*_paid(cost, unit, count), formatting.memory(cost.disk_bytes)) for _, cost in rows]
    return _table_of_arms([*header, "Size on disk"], rows, cells)


def _items_of_cost(rows: Sequence[tuple[ArmRow, ArmCost]]) -> float:
    """For how many items the costs of a study are written."""
    return items_of_cost([cost.per_item for _, cost in rows], rows[0][1].unit)


def _paid(cost: ArmCost, unit: str, count: float) -> list[str]:
    """The costs of an arm; in money also those paid once, without the unit, which the header has."""
    items = amount_text(cost.per_items(count), unit)
    if unit == SECONDS:
        return [items]
    once = (cost_text(value, unit) for value in (cost.training, cost.label_cost))
    return [text.replace(f" {unit}", "") for text in (items, *once)]


def speed_of_serving(study: StudyRecord) -> Table | None:
    """How long each arm takes for an item alone and in batches; None where no arm was timed."""
    rows = _rows(study)
    if not any(cost.latency_s for _, cost in rows):
        return None
    cells = [
        (
            *(latency_text(cost.latency_s.get(name)) for name in PERCENTILES),
            *(formatting.rate(cost.items_per_s), formatting.count(cost.batch_size)),
        )
        for _, cost in rows
    ]
    header = [*(f"One item, {name}" for name in PERCENTILES), "Items/s (serving)", "Batch size"]
    return _table_of_arms(header, rows, cells)


def _table_of_arms(
    header: Sequence[str], rows: Sequence[tuple[ArmRow, ArmCost]], cells: Sequence[tuple[str, ...]]
) -> Table:
    names = [formatting.show_hidden(row.label) for row, _ in rows]
    body = tuple((name, *texts) for name, texts in zip(names, cells, strict=True))
    return Table(("Arm", *header), body, (False, *(True for _ in header))).without_empty_columns()


def cost_terms(study: StudyRecord) -> list[tuple[str, str]]:
    """What the headers of the table of costs mean, those that it has, and the prices."""
    table, prices = cost_table(study), study_prices(study)
    if table is None:
        return []
    paid = f"{prices_text(prices)}." if prices else NO_PRICES
    items = (NAMES[_items_of_cost(_rows(study))], ITEMS_TERM)
    terms = [("Prices", paid), items, *_terms_of(table, TERMS)]
    return [*terms, (formatting.NOTHING, "not known; never zero.")]


def serving_terms(study: StudyRecord) -> list[tuple[str, str]]:
    """What the headers of the table of speeds mean."""
    table = speed_of_serving(study)
    if table is None:
        return []
    names = [name for name in PERCENTILES if f"One item, {name}" in table.header]
    meanings = ["the median", *(f"{name[1:]} % take no longer" for name in names[1:])]
    each = "; ".join(f"{name}: {meaning}" for name, meaning in zip(names, meanings, strict=True))
    untimed = any(cost.items_per_s and not cost.batch_size for _, cost in _rows(study))
    return [
        (", ".join(names), f"the time of one item alone. {each}. A percentile needs enough calls."),
        *_terms_of(table, SERVING_TERMS),
        *([("Without a batch size", "not timed: the rate at which the study predicted.")] if untimed else []),
    ]


def _terms_of(table: Table, terms: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in terms if any(header.startswith(name) for header in table.header)]


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
    return formatting.NOTHING if cost is over else break_even_cell(cost.pays_against(over))


def break_even_note(study: StudyRecord) -> str:
    """What the table of break-evens says."""
    units = {cost.unit for _, cost in _rows(study)}
    counted = "training and items" if units == {SECONDS} else "training, labels and items"
    return BREAK_EVEN_NOTE.format(counted=counted)


def score_against_cost(study: StudyRecord, metric: str, positive: str) -> list[tuple[str, Markup]]:
    """Score with its interval against the cost of items; nothing with fewer than two known costs."""
    costed = _rows(study)
    if not costed:
        return []
    rows = pooled_rows(study)
    indices, names = {(row.arm, row.model): index for index, row in enumerate(rows)}, short_names(rows)
    unit, count = costed[0][1].unit, _items_of_cost(costed)
    marks = []
    for row, cost in costed:
        amount = cost.per_items(count)
        if amount is not None and row.has_score(metric):
            score, index = row.scores[metric], indices[row.arm, row.model]
            name, ink = names[index], arm_colour(index, row.kind)
            marks.append(Mark(name, amount.value, float(score.value or 0), ink, score.low, score.high))
    title = f"cost of {NAMES[count]} ({unit})"
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
        "prices": prices.model_dump(mode="json") if (prices := study_prices(study)) else None,
        "arms": [{"name": row.label, **cost.as_json()} for row, cost in rows],
        "break_even": pairs,
    }


def _pays(cost: ArmCost, over: ArmCost) -> dict[str, Any]:
    pays = cost.pays_against(over)
    return asdict(pays) if pays else {"outcome": "not known", "items": None, "low": None, "high": None}


def _rows(study: StudyRecord) -> Sequence[tuple[ArmRow, ArmCost]]:
    costs = {(cost.arm, cost.model): cost for cost in study_costs(study)}
    return [(row, costs[key]) for row in pooled_rows(study) if (key := (row.arm, row.model)) in costs]
