"""A MemoryTable as text: its cells, and a sentence per row on what fits.

In: a MemoryTable. Out: strings. Knows nothing of: terminals, colour, the simulation.
"""

from dataclasses import asdict

from tuneproof.memory.estimate import MemoryEstimate
from tuneproof.memory.table import MAX_ITEMS, MemoryRow, MemoryTable

PARTS = ("Weights", "Gradients", "Optimizer", "Activations", "Logits", "KV cache", "Temporary")
GIGABYTE = 10**9
NOTHING = "–"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / GIGABYTE:.2f}" if size_bytes >= 5 * 10**6 else NOTHING


def table_rows(table: MemoryTable) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One row per method, batch and length, in gigabytes; another one with gradient checkpointing."""
    header = ("Method", "Batch × length", *PARTS, "Overhead", "Peak", "Items that fit")
    rows = []
    for row in table.rows:
        shape = f"{row.batch} × {row.length}"
        rows.append(_cells(row.method, shape, row.estimate, row.max_items, table))
        if row.with_checkpointing is not None:
            items = row.max_items_with_checkpointing or 0
            rows.append(_cells("  checkpointing", shape, row.with_checkpointing, items, table))
    columns = [n for n in range(len(header)) if any(cells[n] != NOTHING for cells in rows)]
    return tuple(header[n] for n in columns), [tuple(cells[n] for n in columns) for cells in rows]


def _cells(
    name: str, shape: str, estimate: MemoryEstimate, items: int, table: MemoryTable
) -> tuple[str, ...]:
    peak = estimate.peak
    mark = "" if estimate.total_bytes <= table.memory_bytes else " !"
    return (
        name,
        shape,
        *(_gigabytes(size) for size in asdict(peak).values()),
        _gigabytes(estimate.overhead.total_bytes(peak.tensors_bytes)),
        f"{estimate.total_bytes / GIGABYTE:.2f}{mark}",
        f"{items:,}{'+' if items == MAX_ITEMS else ''}",
    )


def table_sentences(table: MemoryTable) -> list[str]:
    """What the table shows; then a line per row that says whether it fits, and with which settings."""
    device = {"cuda": "a GPU", "cpu": "a CPU"}[table.device]
    first = (
        f"{table.model} on {device} with {table.memory_bytes / GIGABYTE:.1f} GB, {table.precision}: "
        "estimated peaks in GB (10⁹ bytes), from one real step on fake tensors."
    )
    reason = [table.precision_reason] if table.precision_reason else []
    lines = [first, *reason, *(_sentence(row) for row in table.rows), *table.unsupported]
    if table.rows:
        lines.append(
            f"! marks more than is available. Overhead: {table.rows[0].estimate.overhead.description}."
        )
    return lines


def _sentence(row: MemoryRow) -> str:
    fits = "fits" if row.fits else "does not fit"
    return f"{row.method} {row.batch} × {row.length} {fits}: {row.settings}"
