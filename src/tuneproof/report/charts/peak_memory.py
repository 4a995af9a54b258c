"""Predicted and measured peak memory, as strips and a table.

In: rows of arms whose ledger has a prediction. Out: rows of a plot, a legend, a table of strings.
Knows nothing of: HTML tags, files, how memory was predicted or measured.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tuneproof.report.charts.svg import Scale, label, strip, tag, ticks
from tuneproof.report.formatting import NOTHING, count, format_percent, memory
from tuneproof.report.results import PlotRow
from tuneproof.report.tables import ArmRow, Table

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")
OVERHEAD = "overhead"  # of the device's libraries and allocator, beyond the tensors
NAMES = {"optimizer": "optimizer state", "cache": "key-value cache"}
SETTINGS = ("Micro-batch", "Gradient checkpointing", "Prediction batch")
HEADER = ("Arm", "Predicted", "Measured", "Error", "Limit", *SETTINGS)
GIBIBYTE, MEBIBYTE = 2**30, 2**20


def _ink(index: int) -> str:
    return f"var(--c{index})" if index < len(PARTS) else "var(--grey)"


def _memory_entries(rows: Sequence[ArmRow]) -> list[tuple[ArmRow, dict[str, Any]]]:
    """Arms with a prediction, each with the entry of its seed with the highest measured peak."""
    entries = []
    for row in rows:
        memories = [r.ledger["memory"] for r in row.records if r.ledger.get("memory")]
        if memories:
            entries.append((row, max(memories, key=lambda entry: entry["measured_bytes"])))
    return entries


def _pieces(entry: dict[str, Any]) -> list[tuple[str, int]]:
    """The parts of the higher of the two predicted peaks, then the overhead."""
    predicted = entry["predicted"]
    peaks = [peak for peak in (predicted["train"], predicted["predict"]) if peak]
    highest: dict[str, int] = max(peaks, key=lambda peak: sum(peak.values()), default={})
    overhead = entry["predicted_bytes"] - predicted["tensors_bytes"]
    return [*((name, highest.get(name, 0)) for name in PARTS), (OVERHEAD, overhead)]


def _strip(row: ArmRow, entry: dict[str, Any], scale: Scale) -> Markup:
    start, drawn, pieces = 0.0, [], []
    for index, (name, size) in enumerate(_pieces(entry)):
        if size <= 0:
            continue
        left, right = scale(start), scale(start + size)
        title = f"{NAMES.get(name, name)}: {memory(size)}"
        pieces.append(title)
        box = {"x": f"{left:.2f}%", "width": f"{max(0.1, right - left):.2f}%", "y": "28%", "height": "44%"}
        style = f"fill:{_ink(index)}"
        drawn.append(tag("rect", {**box, "style": style}, [tag("title", {}, [title])]))
        start += size
    x = f"{scale(entry['measured_bytes']):.2f}%"
    line = {"x1": x, "x2": x, "y1": "12%", "y2": "88%", "class": "bar", "style": "stroke:var(--ink)"}
    measured = memory(entry["measured_bytes"])
    drawn.append(tag("line", line, [tag("title", {}, [f"measured: {measured}"])]))
    summary = f"{row.label}: predicted {memory(entry['predicted_bytes'])} ({', '.join(pieces)})"
    return strip(f"{summary}, measured {measured}", drawn)


def _axis(scale: Scale) -> Markup:
    size, unit = (GIBIBYTE, "GiB") if scale.high >= GIBIBYTE else (MEBIBYTE, "MiB")
    drawn = []
    for value in ticks(0, scale.high / size, 5):
        x = f"{scale(value * size):.2f}%"
        anchor = "start" if not value else "middle"
        drawn.append(tag("line", {"x1": x, "x2": x, "y1": "0", "y2": "5"}))
        text = f"{value:g}" if value else f"0 {unit}"
        drawn.append(label(x, "18", text, {"text-anchor": anchor}))
    return tag("svg", {"class": "axis", "aria-hidden": "true"}, drawn)


def _text(entry: dict[str, Any]) -> str:
    return f"{memory(entry['predicted_bytes'])}, measured {memory(entry['measured_bytes'])}"


def _error(error: float) -> str:
    return f"{'+' if error > 0 else '−'}{format_percent(abs(error))} %"


def _cells(row: ArmRow, entry: dict[str, Any]) -> tuple[str, ...]:
    settings = entry["settings"] or {}
    micro, recompute = settings.get("train.micro_batch"), settings.get("train.gradient_checkpointing")
    recomputed = NOTHING if recompute is None else "yes" if recompute else "no"
    batches = count(micro) if micro else NOTHING, recomputed, count(settings.get("predict.batch_size"))
    peaks = memory(entry["predicted_bytes"]), memory(entry["measured_bytes"])
    return (row.label, *peaks, _error(entry["error"]), memory(entry["limit_bytes"]), *batches)


def peak_memory(rows: Sequence[ArmRow]) -> dict[str, Any] | None:
    """The plot and the table; None if no arm's memory was predicted."""
    entries = _memory_entries(rows)
    if not entries:
        return None
    highest = max(max(f["predicted_bytes"], f["measured_bytes"]) for _, f in entries)
    scale = Scale(0.0, highest * 1.04, 0.0, 100.0)
    used = {name for _, entry in entries for name, size in _pieces(entry) if size > 0}
    names = [*PARTS, OVERHEAD]
    cells = tuple(_cells(row, entry) for row, entry in entries)
    overhead = entries[0][1]["predicted"]["overhead"]["description"]
    measured_by = entries[0][1]["measured_by"]
    plot_rows = [
        PlotRow(row.label, "", _strip(row, entry, scale), _text(entry), "") for row, entry in entries
    ]
    return {
        "rows": plot_rows,
        "axis": _axis(scale),
        "legend": [(NAMES.get(n, n), _ink(i)) for i, n in enumerate(names) if n in used],
        "table": Table(HEADER, cells, (False, True, True, True, True, True, False, True)),
        "note": f"Predicted: real steps on fake tensors, plus overhead ({overhead}). Measured: "
        f"{measured_by}. For several seeds the highest peak is shown.",
    }
