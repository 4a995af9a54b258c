"""How fast the arms trained, as a share of what their device attains.

In: rows of arms whose ledger has rates. Out: a table of strings.
Knows nothing of: HTML, how rates are measured.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tuneproof.report.rounding import NOTHING, percent, rate, short_count, visible
from tuneproof.report.tables import ArmRow, Table

HEADER = ("Arm", "Tokens/s", "Operations a token", "Of the matrix rate", "Of the bandwidth, at least")
NOTE = (
    "Training, without padding: the median step, of several seeds the median. Operations are those of "
    "the matrix products, forward and backward. The matrix rate is what this device attained in one "
    "large product in the precision that was computed in, the bandwidth what it attained in one large "
    "copy; a step moves at least its weights, gradients and the optimizer's state."
)


def speeds(rows: Sequence[ArmRow]) -> Table | None:
    """A row for each arm that recorded its rate; None where none did."""
    shown = []
    for row in rows:
        found = [record.ledger["rate"] for record in row.records if record.ledger.get("rate")]
        if found:
            shown.append(
                (
                    visible(row.label),
                    rate(_of(found, "tokens_per_s")),
                    short_count(_of(found, "operations_per_token")),
                    _share(_of(found, "matrix_share")),
                    _share(_of(found, "bandwidth_share")),
                )
            )
    return Table(HEADER, tuple(shown), (False, True, True, True, True)) if shown else None


def _of(found: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [one[key] for one in found if one.get(key) is not None]
    return float(median(known)) if known else None


def _share(value: float | None) -> str:
    """To two digits, such as 62 % or 0.81 %."""
    if value is None:
        return NOTHING
    return f"{percent(value, 0 if value >= 0.1 else 1 if value >= 0.01 else 2)} %"
