"""The forecast of a study beside what its arms took: time and peak memory.

In: forecast.json, the arms. Out: a table of strings. Knows nothing of: HTML, how a forecast is made.
"""

from collections.abc import Sequence
from typing import Any

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting
from tuneproof.report.tables import Table, pooled_rows

HEADER = (
    *("Arm", "Runs", "Predicted time of all runs", "Time of all runs", "Error"),
    *("Predicted memory", "Peak memory", "Error"),
)
Pair = tuple[dict[str, Any], dict[str, Any]]  # an entry of the forecast, and what arm.json says of that run
NOTE = (
    "Predicted before the first arm ran. Times are sums over all runs of an arm (seeds and samples of "
    "train), each from its start to its end, with loading and predicting. Only finished runs with a "
    "predicted time count. Error: predicted / measured − 1."
)


def predicted_cost(study: StudyRecord) -> Table | None:
    """A row per arm and one for the study; None without a forecast."""
    pairs = _finished_pairs(study)
    if len(pairs) > 1:
        pairs["all arms"] = [pair for some in pairs.values() for pair in some]
    rows = tuple(_cells(name, some) for name, some in pairs.items())
    return Table(HEADER, rows, (False, *(True for _ in HEADER[1:]))) if rows else None


def _finished_pairs(study: StudyRecord) -> dict[str, list[Pair]]:
    """By arm: the predictions of its finished runs beside them."""
    labels = {(row.arm, row.model): row.label for row in pooled_rows(study)}
    records = [record.about for record in (*study.arms, *study.sampled)]
    runs = {_key(about): about for about in records if about.get("status") == "done"}
    pairs: dict[str, list[Pair]] = {}
    for entry in study.forecast.get("arms") or []:
        about = runs.get(_key(entry))
        if about and entry.get("time_s") is not None:
            pairs.setdefault(labels[about["arm"], about.get("model")], []).append((entry, about))
    return pairs


def _key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(key) for key in ("arm", "model", "seed", "train_size"))


def _cells(name: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    time_s, spent_s = (
        sum(times) for times in zip(*((e["time_s"], _spent(a)) for e, a in pairs), strict=True)
    )
    keys = ("memory_bytes", "peak_memory_bytes")
    size, peak = (max(pair[i].get(key) or 0 for pair in pairs) or None for i, key in enumerate(keys))
    times = formatting.format_duration(time_s), formatting.format_duration(spent_s), _error(time_s, spent_s)
    memories = formatting.memory(size), formatting.memory(peak), _error(size, peak)
    return (formatting.show_hidden(name), formatting.count(len(pairs)), *times, *memories)


def _spent(about: dict[str, Any]) -> float:
    """Seconds from the arm's start to its end; the sum of its stages in older studies."""
    return float(about.get("wall_s") or sum((about.get("time_s") or {}).values()))


def _error(predicted: float | None, measured: float | None) -> str:
    if not predicted or not measured:
        return formatting.NOTHING
    return f"{formatting.format_percent(predicted / measured - 1, 0, sign=True)} %"
