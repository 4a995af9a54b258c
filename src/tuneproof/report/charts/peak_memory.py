"""Predicted peaks of memory beside measured ones, as strips and a table.

In: rows of arms whose ledger has a prediction. Out: rows of a plot, a legend, a table of strings.
Knows nothing of: HTML tags, files, how memory was predicted or measured.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tuneproof.report.charts.forest import strip
from tuneproof.report.charts.svg import Scale, label, tag, ticks
from tuneproof.report.results import PlotRow
from tuneproof.report.rounding import NOTHING, count, memory, percent
from tuneproof.report.tables import ArmRow, Table

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")
NAMES = {"optimizer": "optimizer state", "cache": "key-value cache", "on top": "beside tensors"}
GIBIBYTE, MEBIBYTE = 2**30, 2**20


def _ink(place: int) -> str:
    return f"var(--c{place})" if place < len(PARTS) else "var(--grey)"


def _known(rows: Sequence[ArmRow]) -> list[tuple[ArmRow, dict[str, Any]]]:
    """Arms with a prediction; of an arm's seeds the one whose measured peak is the highest."""
    found = []
    for row in rows:
        memories = [r.ledger["memory"] for r in row.records if r.ledger.get("memory")]
        if memories:
            found.append((row, max(memories, key=lambda one: one["measured_bytes"])))
    return found


def _pieces(found: dict[str, Any]) -> list[tuple[str, int]]:
    """The parts of the higher one of the two predicted peaks, then what comes on top."""
    predicted = found["predicted"]
    peaks = [peak for peak in (predicted["train"], predicted["predict"]) if peak]
    highest = max(peaks, key=lambda peak: sum(peak.values()))
    on_top = found["predicted_bytes"] - predicted["tensors_bytes"]
    return [*((name, highest[name]) for name in PARTS), ("on top", on_top)]


def _strip(row: ArmRow, found: dict[str, Any], scale: Scale) -> Markup:
    start, drawn, said = 0.0, [], []
    for place, (name, size) in enumerate(_pieces(found)):
        if size <= 0:
            continue
        left, right = scale(start), scale(start + size)
        title = f"{NAMES.get(name, name)}: {memory(size)}"
        said.append(title)
        drawn.append(
            tag(
                "rect",
                {
                    "x": f"{left:.2f}%",
                    "width": f"{max(0.1, right - left):.2f}%",
                    "y": "28%",
                    "height": "44%",
                    "style": f"fill:{_ink(place)}",
                },
                [tag("title", {}, [title])],
            )
        )
        start += size
    x = f"{scale(found['measured_bytes']):.2f}%"
    drawn.append(
        tag(
            "line",
            {"x1": x, "x2": x, "y1": "12%", "y2": "88%", "class": "bar", "style": "stroke:var(--ink)"},
            [tag("title", {}, [f"measured: {memory(found['measured_bytes'])}"])],
        )
    )
    words = f"{row.label}: predicted {memory(found['predicted_bytes'])} ({', '.join(said)})"
    return strip(f"{words}, measured {memory(found['measured_bytes'])}", drawn)


def _axis(scale: Scale) -> Markup:
    size, unit = (GIBIBYTE, "GiB") if scale.high >= GIBIBYTE else (MEBIBYTE, "MiB")
    drawn = []
    for value in ticks(0, scale.high / size, 5):
        x = f"{scale(value * size):.2f}%"
        anchor = "start" if not value else "middle"
        drawn.append(tag("line", {"x1": x, "x2": x, "y1": "0", "y2": "5"}))
        shown = f"{value:g}" if value else f"0 {unit}"
        drawn.append(label(x, "18", shown, {"text-anchor": anchor}))
    return tag("svg", {"class": "axis", "aria-hidden": "true"}, drawn)


def _error(error: float) -> str:
    shown = percent(abs(error))
    return f"{'+' if error > 0 else '−'}{shown} %"


def _cells(row: ArmRow, found: dict[str, Any]) -> tuple[str, ...]:
    settings = found["settings"] or {}
    micro = settings.get("train.micro_batch")
    recompute = settings.get("train.gradient_checkpointing")
    return (
        row.label,
        memory(found["predicted_bytes"]),
        memory(found["measured_bytes"]),
        _error(found["error"]),
        memory(found["limit_bytes"]),
        count(micro) if micro else NOTHING,
        NOTHING if recompute is None else "yes" if recompute else "no",
        count(settings.get("predict.batch_size")),
    )


def peaks(rows: Sequence[ArmRow]) -> dict[str, Any] | None:
    """The plot and the table; None where no arm's memory was predicted."""
    known = _known(rows)
    if not known:
        return None
    highest = max(max(f["predicted_bytes"], f["measured_bytes"]) for _, f in known)
    scale = Scale(0.0, highest * 1.04, 0.0, 100.0)
    used = {name for _, found in known for name, size in _pieces(found) if size > 0}
    names = [*PARTS, "on top"]
    header = (
        "Arm",
        "Predicted",
        "Measured",
        "Error",
        "There",
        "Micro-batch",
        "Checkpointing",
        "Predicted at once",
    )
    terms = known[0][1]["predicted"]["terms"]["sentence"]
    how = known[0][1]["measured_by"]
    return {
        "rows": [
            PlotRow(
                row.label,
                "",
                _strip(row, found, scale),
                f"{memory(found['predicted_bytes'])}, measured {memory(found['measured_bytes'])}",
                "",
            )
            for row, found in known
        ],
        "axis": _axis(scale),
        "legend": [(NAMES.get(n, n), _ink(i)) for i, n in enumerate(names) if n in used],
        "table": Table(
            header,
            tuple(_cells(row, found) for row, found in known),
            (False, True, True, True, True, True, False, True),
        ),
        "note": f"Predicted from one real step on fake tensors; beside the tensors: {terms}. Measured: "
        f"{how}. Of several seeds the highest.",
    }
