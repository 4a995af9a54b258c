"""How each arm's probabilities became labels, where the recipe decides it, and the arms without any.

In: a study, its arms. Out: a table and a sentence. Knows nothing of: HTML, how dev chooses.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.report import formatting, tables
from tuneproof.report.tables import Table

BY_DEV = "All labels are those decided so; dev alone chose, for each run."
ALL_WITHOUT = "No arm has probabilities: all keep their own labels."


def decision_table(rows: Sequence[tables.ArmRow], positive: str) -> Table | None:
    """A row for each run that dev decided for: its threshold or temperature, and the metric on dev before and
    after; None without any."""
    lines = []
    for row in rows:
        for record in row.records:
            entry = _entry(record.about)
            if entry and entry.get("applies") is not False:
                seed = record.about.get("seed")
                name = row.label if seed is None or len(row.seeds) < 2 else f"{row.label}, seed {seed}"
                lines.append((name, *_cells(entry, positive)))
    if not lines:
        return None
    header = ("Arm", "Threshold", "Temperature", "Metric", "Dev, most probable label", "Dev, as decided")
    table = Table(header, tuple(lines), (False, True, True, False, True, True))
    return table.without_empty_columns()


def decision_note(rows: Sequence[tables.ArmRow]) -> str:
    """How many arms have no probabilities and keep their labels; empty without a decision, or such arms."""
    entries = [(row.label, _entry(record.about)) for row in rows for record in row.records]
    decided = dict.fromkeys(name for name, entry in entries if entry)
    without = dict.fromkeys(name for name, entry in entries if entry and entry.get("applies") is False)
    if not without:
        return ""
    if len(without) == len(decided):
        return ALL_WITHOUT
    have = "has" if len(without) == 1 else "have"
    keeps = "keeps its labels" if len(without) == 1 else "keep their labels"
    return f"{len(without)} of {len(decided)} arms {have} no probabilities and {keeps}: {', '.join(without)}."


def _entry(about: dict[str, Any]) -> dict[str, Any]:
    return (about.get("chosen") or {}).get("decision") or {}


def _cells(entry: dict[str, Any], positive: str) -> list[str]:
    name, temperature = str(entry.get("metric", "")), entry.get("temperature", 1.0)
    values = [entry.get(key) for key in ("dev_value_before", "dev_value")]
    return [
        f"{entry['threshold']:.4g}" if "threshold" in entry else formatting.NOTHING,
        formatting.NOTHING if temperature == 1.0 else f"{temperature:.3g}",
        tables.metric_title(name, positive),
        *(_value(name, value) for value in values),
    ]


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return formatting.NOTHING
    return f"{formatting.format_percent(value)} %" if tables.is_share(metric) else f"{value:.4g}"
