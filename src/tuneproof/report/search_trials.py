"""What a search on dev tried: one table per run, a row per setting and a column per rung.

In: rows of arms whose arm.json has a search. Out: tables of strings for the page.
Knows nothing of: HTML, how a search chooses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuneproof.report import formatting
from tuneproof.report.tables import ArmRow, Table

STOPPED = "stopped"


@dataclass(frozen=True)
class SearchTable:
    """The trials of one run. `chosen` is the index of the row that dev chose, None if none was."""

    name: str
    table: Table
    chosen: int | None
    cost: str


def search_tables(rows: Sequence[ArmRow]) -> list[SearchTable]:
    """A table for every run that searched, in the order of the arms."""
    return [
        _search_table(f"{row.label}, seed {seed}" if len(row.seeds) > 1 else row.label, record.about)
        for row in rows
        for record, seed in ((record, record.about.get("seed")) for record in row.records)
        if (record.about.get("search") or {}).get("trials")
    ]


def _search_table(name: str, about: dict[str, Any]) -> SearchTable:
    search, seconds = about["search"], (about.get("time_s") or {}).get("search")
    trials, steps = search["trials"], {trial["rung"]: trial["steps"] for trial in search["trials"]}
    losses: dict[tuple[str, ...], dict[int, str]] = {}
    for trial in trials:
        candidate = tuple(_format_setting(value) for value in trial["settings"].values())
        loss = trial.get("dev_loss")
        losses.setdefault(candidate, {})[trial["rung"]] = "diverged" if loss is None else f"{loss:.4f}"
    names, rungs = list(trials[0]["settings"]), sorted(steps)
    header = (*names, *(f"dev loss, {formatting.count(steps[rung])} steps" for rung in rungs))
    rows = [(*key, *(by_rung.get(rung, STOPPED) for rung in rungs)) for key, by_rung in losses.items()]
    chosen = tuple(_format_setting((search.get("chosen") or {}).get(name)) for name in names)
    spent, budget = sum(trial["steps"] for trial in trials), formatting.count(search.get("budget_steps"))
    return SearchTable(
        name,
        Table(header, tuple(rows), (*(False for _ in names), *(True for _ in rungs))),
        list(losses).index(chosen) if chosen in losses else None,
        f"{formatting.count(len(trials))} trials, {formatting.count(spent)} steps of {budget}, "
        f"{formatting.format_duration(seconds)}: part of the arm's time.",
    )


def _format_setting(value: Any) -> str:
    """A setting's value; small numbers such as learning rates as 3e−4."""
    if not isinstance(value, float) or not 0 < abs(value) < 0.01:
        return formatting.format_number(value) if isinstance(value, float) else str(value)
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(digits):g}e{int(exponent)}".replace("-", formatting.MINUS)
