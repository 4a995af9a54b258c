"""The parameter ledger of the page: each model's architecture and weights by group, each arm's additions.

In: rows of arms with their ledgers. Out: tables of strings. Knows nothing of: HTML, how weights are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuneproof.families.published import PublishedCount
from tuneproof.parameters.text import architecture_rows, published_sentence, trainable_shares
from tuneproof.report.formatting import count, format_share
from tuneproof.report.tables import ArmRow, Table


@dataclass(frozen=True)
class PretrainedModel:
    """What is counted of a model before any arm changes it."""

    name: str
    architecture: list[tuple[str, str]]
    groups: Table
    published: str


def pretrained_models(rows: Sequence[ArmRow]) -> list[PretrainedModel]:
    """Every model whose ledger describes it; ledgers of older studies do not."""
    models = {}
    for row in rows:
        for record in row.records:
            entry = record.ledger.get("pretrained")
            if entry and row.model and row.model not in models:
                models[row.model] = _pretrained_model(row.model, entry)
    return list(models.values())


def _pretrained_model(name: str, entry: dict[str, Any]) -> PretrainedModel:
    total = sum(entry["groups"].values())
    sizes = [(group, size) for group, size in entry["groups"].items() if size]
    cells = [(group, count(size), format_share(size / total)) for group, size in sizes]
    cells.append((f"total ({entry['architecture_class']})", count(total), "100 %"))
    table = Table(("Weights", "Parameters", "Share"), tuple(cells), (False, True, True))
    rows = architecture_rows(entry["architecture"])
    published = entry["published"] and PublishedCount(**entry["published"])
    return PretrainedModel(name, rows, table, published_sentence(published, entry["groups"]))


@dataclass(frozen=True)
class ArmLedger:
    """The ledger of one arm: a summary, and a table whose lines add up to the total."""

    name: str
    summary: str
    table: Table


def arm_ledgers(rows: Sequence[ArmRow]) -> list[ArmLedger]:
    """The ledger of every arm that changes the model or has weights of its own."""
    return [_arm_ledger(row, row.records[0].ledger) for row in rows if row.records[0].ledger.get("lines")]


def _arm_ledger(row: ArmRow, ledger: dict[str, Any]) -> ArmLedger:
    base, total, trainable = (ledger.get(key) for key in ("base", "total", "trainable"))
    cells = [("base", count(base), "the model as published, before any change by the arm")] if base else []
    cells += [(line["part"], _signed(line["count"]), line["reason"]) for line in ledger["lines"]]
    cells.append(("total", count(total), ""))
    others = ledger.get("trainable_share_of_others")
    shares = "" if not total or trainable is None else trainable_shares(trainable / total, others)
    cells.append(("trainable", count(trainable), shares))
    settings = ", ".join(f"{key} {value}" for key, value in _settings(row).items())
    summary = f"{count(total)} parameters, {count(trainable)} trainable"
    table = Table(("Part", "Parameters", "Reason"), tuple(cells), (False, True, False))
    return ArmLedger(row.label + (f" ({settings})" if settings else ""), summary, table)


def _settings(row: ArmRow) -> dict[str, Any]:
    """The settings that decide how many weights an arm has."""
    options = row.records[0].about.get("options") or {}
    names = ("objective", "rank", "targets", "layers", "variant")
    return {name: options[name] for name in names if options.get(name) not in (None, "none", "all")}


def _signed(value: int) -> str:
    if not value:
        return "0"
    return count(value) if value < 0 else f"+{count(value)}"
