"""A Fit as text: the table of predicted peaks, and what fits in sentences.

In: a Fit. Out: strings. Knows nothing of: terminals, colour, how anything was predicted.
"""

from dataclasses import asdict

from tuneproof.memory.estimate import Forecast
from tuneproof.memory.table import MOST_ITEMS, Cell, Fit

PARTS = {
    "weights": "Weights",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "activations": "Activations",
    "logits": "Logits",
    "cache": "KV cache",
    "temporary": "Temporary",
}
GIGABYTE = 10**9
NOTHING = "–"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIGABYTE:.2f}" if size_bytes >= 5 * 10**6 else NOTHING


def fit_table(found: Fit) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """One row a method, batch and length, in gigabytes; with gradient checkpointing on a row of its own."""
    header = ("Method", "Batch × length", *PARTS.values(), "On top", "Peak", "Items that fit")
    rows = []
    for cell in found.cells:
        shape = f"{cell.batch} × {cell.length}"
        rows.append(_row(cell.method, shape, cell.forecast, cell.largest, found))
        if cell.recomputing is not None:
            rows.append(
                _row("  checkpointing", shape, cell.recomputing, cell.largest_recomputing or 0, found)
            )
    empty = [all(row[place] == NOTHING for row in rows) for place in range(len(header))]
    kept = [place for place in range(len(header)) if not empty[place]]
    return tuple(header[place] for place in kept), [tuple(row[place] for place in kept) for row in rows]


def _row(name: str, shape: str, forecast: Forecast, items: int, found: Fit) -> tuple[str, ...]:
    peak = forecast.peak
    mark = "" if forecast.total_bytes <= found.memory_bytes else " !"
    return (
        name,
        shape,
        *(_size(size) for size in asdict(peak).values()),
        _size(forecast.terms.on_top(peak.tensors_bytes)),
        f"{forecast.total_bytes / GIGABYTE:.2f}{mark}",
        f"{items:,}{'+' if items == MOST_ITEMS else ''}",
    )


def fit_sentences(found: Fit) -> list[str]:
    """What was asked; then a line for every cell that says whether it fits, and with which settings."""
    where = {"cuda": "a GPU", "cpu": "a CPU"}[found.device]
    first = (
        f"{found.model} on {where} with {found.memory_bytes / GIGABYTE:.1f} GB, {found.precision}: "
        "predicted peaks in GB (10⁹ bytes), from one real step on fake tensors."
    )
    lines = [first, *(_sentence(cell) for cell in found.cells), *found.left_out]
    lines.append(f"! more than there is. On top: {found.cells[0].forecast.terms.sentence}.")
    return lines


def _sentence(cell: Cell) -> str:
    fits = "fits" if cell.fits else "does not fit"
    return f"{cell.method} {cell.batch} × {cell.length} {fits}: {cell.settings}"
