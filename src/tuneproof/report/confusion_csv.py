"""The confusion matrices of all arms as one CSV, whatever the number of labels.

In: confusion matrices. Out: text. Knows nothing of: HTML, how they are counted.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.record.csv_text import as_csv
from tuneproof.report.slices import Confusion


def confusion_csv(confusions: Sequence[Confusion]) -> str:
    """A row for each arm and gold label, a column for each predicted label, and one for what is unparsed.

    Counts are sums over the seeds.
    """
    return as_csv([row for matrix in confusions for row in _rows(matrix)])


def _rows(matrix: Confusion) -> list[dict[str, Any]]:
    columns = [*(f"predicted {label}" for label in matrix.labels), "unparsed"]
    arm = {"arm": matrix.predictions.row.label, "seeds": len(matrix.predictions.runs)}
    return [
        {**arm, "gold": label, **dict(zip(columns, counts, strict=True))}
        for label, counts in zip(matrix.labels, matrix.counts, strict=True)
    ]
