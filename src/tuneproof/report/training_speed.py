"""The training speed of the arms, absolute and as a share of the device's measured peak.

In: rows of arms whose ledger has a training speed. Out: a table of strings.
Knows nothing of: HTML, how speeds are measured.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tuneproof.report.formatting import NOTHING, abbreviate_count, format_percent, rate, show_hidden
from tuneproof.report.tables import ArmRow, Table

HEADER = ("Arm", "Tokens/s", "FLOPs per token", "MFU", "Memory bandwidth used, at least")
NOTE = (
    "Medians over training steps and seeds; padding does not count as tokens. FLOPs are those of the "
    "matrix products, forward and backward. MFU (model FLOPs utilisation) and bandwidth are shares of "
    "this device's measured peak: one large matrix product in the precision of training, and one large "
    "copy. A step moves at least the weights, the gradients and the optimizer state."
)


def speed_table(rows: Sequence[ArmRow]) -> Table | None:
    """A row per arm that recorded its training speed; None if no arm did."""
    table_rows = []
    for row in rows:
        recorded = (record.ledger.get("training_speed") for record in row.records)
        if speeds := [speed for speed in recorded if speed]:
            tokens, operations = _median(speeds, "tokens_per_s"), _median(speeds, "flops_per_token")
            shares = [_share(_median(speeds, key)) for key in ("mfu", "bandwidth_utilization")]
            table_rows.append((show_hidden(row.label), rate(tokens), abbreviate_count(operations), *shares))
    return Table(HEADER, tuple(table_rows), (False, True, True, True, True)) if table_rows else None


def _median(speeds: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [speed[key] for speed in speeds if speed.get(key) is not None]
    return float(median(values)) if values else None


def _share(value: float | None) -> str:
    """A share with two significant digits, such as 62 % or 0.81 %."""
    if value is None:
        return NOTHING
    return f"{format_percent(value, 0 if value >= 0.1 else 1 if value >= 0.01 else 2)} %"
