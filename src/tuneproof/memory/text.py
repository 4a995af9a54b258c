"""A MemoryTable as text: its cells, and a sentence per row on what fits.

In: a MemoryTable. Out: strings. Knows nothing of: terminals, colour, the simulation.
"""

from dataclasses import asdict

from tuneproof.memory.estimate import MemoryEstimate
from tuneproof.memory.table import MAX_ITEMS, STAGES, MemoryRow, MemoryTable

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
        shape = _shape(row, table)
        rows.append(_cells(row.method, shape, row.estimate, row.max_items, table))
        if row.with_checkpointing is not None:
            items = row.max_items_with_checkpointing or 0
            rows.append(_cells("  checkpointing", shape, row.with_checkpointing, items, table))
    columns = [n for n in range(len(header)) if any(cells[n] != NOTHING for cells in rows)]
    return tuple(header[n] for n in columns), [tuple(cells[n] for n in columns) for cells in rows]


def _shape(row: MemoryRow, table: MemoryTable) -> str:
    """ "16 × 256", or "16/8 × 256" of the 8 processes that divide a training step."""
    divided = f"/{table.processes}" if table.processes > 1 and row.estimate.train is not None else ""
    return f"{row.batch}{divided} × {row.length}"


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
    each = f", one of {table.processes} processes ({table.parallel})" if table.processes > 1 else ""
    first = (
        f"{table.model} on {device} with {table.memory_bytes / GIGABYTE:.1f} GB, {table.precision}{each}: "
        "estimated peaks in GB (10⁹ bytes), from real steps on fake tensors."
    )
    reason = [table.precision_reason] if table.precision_reason else []
    rows = [sentence for row in table.rows for sentence in _sentences(row, table)]
    lines = [first, *reason, *rows, *table.unsupported]
    if table.rows:
        lines.append(
            f"! marks more than is available. Overhead: {table.rows[0].estimate.overhead.description}."
        )
    return lines


def _sentences(row: MemoryRow, table: MemoryTable) -> list[str]:
    estimate = row.estimate
    fits = "fits" if row.fits else "does not fit"
    sentences = [f"{row.method} {_shape(row, table)} {fits}: {row.settings}"]
    if estimate.whole:
        stages = [
            f"{STAGES[name]} {_total(estimate, name):.1f} GB" for name in STAGES if name in estimate.peaks
        ]
        sentences.append(f"  Every process: {', '.join(stages)}.{_self_test(estimate, table)}")
    if estimate.host_bytes:
        main, other = estimate.host_bytes / GIGABYTE, estimate.other_host_bytes / GIGABYTE
        total = f"{main + other * (table.processes - 1):.0f} GB if all {table.processes} run on one machine"
        each = f"{main:.1f} GB for the main process, {other:.1f} GB for each other one"
        sentences.append(f"  Memory of the machine: {each}, {total}.")
    return sentences


def _total(estimate: MemoryEstimate, stage: str) -> float:
    return estimate.with_overhead(estimate.peaks[stage]) / GIGABYTE


def _self_test(estimate: MemoryEstimate, table: MemoryTable) -> str:
    if estimate.self_test_bytes <= table.memory_bytes:
        return ""
    size = estimate.self_test_bytes / GIGABYTE
    return f" The self-test ({size:.1f} GB: all weights, two gradients) does not fit and is left out."
