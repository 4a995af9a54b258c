"""Further test sets in the report: each arm's score there beside the main one, with its drop.

In: a study read back. Out: a table of strings, notes. Knows nothing of: predictions, HTML tags, files.
"""

from collections.abc import Mapping
from typing import Any

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables

TITLE = "Further test sets"
NOTE = (
    "Drop: the main test score minus the score there, with its confidence interval; its sign is such that "
    "positive is worse there. The items of both sets are independent, the models the same, seed by seed. "
    "Drops in the verdict are corrected together by Holm's method. No item of a further set chooses anything."
)


def further_entries(study: StudyRecord) -> list[dict[str, Any]]:
    """The entries of comparisons.json."""
    return study.comparisons.get("tests") or []


def further_table(study: StudyRecord) -> tables.Table | None:
    """Every arm with its main score and, for each set, score and drop; None without further sets."""
    entries = further_entries(study)
    if not entries:
        return None
    metric = str(entries[0]["metric"])
    title = tables.metric_title(metric, tables.positive_label(study))
    unit = ", %" if tables.is_share(metric) else ""
    header = [
        "Arm",
        f"{title}{unit}, test",
        *(cell for entry in entries for cell in (entry["name"], f"drop on {entry['name']}")),
    ]
    rows = []
    for row in tables.pooled_rows(study):
        if row.status == "done":
            cells = [cell for entry in entries for cell in _cells(entry, row)]
            rows.append((row.label, _score_cell(row.scores.get(metric), metric), *cells))
    return tables.Table(tuple(header), tuple(rows), (False, *(True for _ in header[1:])))


def further_section(study: StudyRecord) -> dict[str, Any] | None:
    """The section of the page; None without further sets."""
    further = further_table(study)
    return {"table": further, "notes": further_notes(study)} if further else None


def _cells(entry: Mapping[str, Any], row: tables.ArmRow) -> tuple[str, str]:
    """Score and drop of an arm on a set."""
    arm = next((a for a in entry["arms"] if (a["arm"], a.get("model")) == (row.arm, row.model)), None)
    if arm is None:
        return formatting.NOTHING, formatting.NOTHING
    metric, drop = str(entry["metric"]), arm.get("drop")
    values = (arm.get("scores") or {}).get(metric)
    score = _score_cell(tables.score_from_json(values) if values else None, metric)
    if drop is None:
        return score, formatting.NOTHING
    style = formatting.choose_style(drop["low"], drop["high"], tables.is_share(metric))
    return score, f"{style.value(drop['value'], True)} {style.interval(drop['low'], drop['high'], True)}"


def _score_cell(score: tables.Score | None, metric: str) -> str:
    ends = (score.low, score.high) if score else (None, None)
    return tables.format_score(score, formatting.choose_style(*ends, tables.is_share(metric)))


def further_notes(study: StudyRecord) -> list[str]:
    """What drops are, what the sets share with train, which arms are not scored there."""
    notes = [NOTE] if further_entries(study) else []
    for entry in further_entries(study):
        shares = [
            f"{formatting.format_percent(entry[key])} % {what}"
            for key, what in (
                ("overlap_share", "of its items are in train"),
                ("lookalike_share", "have a lookalike in train"),
            )
            if entry.get(key)
        ]
        size = f"{entry['name']}: {formatting.count(entry['items'])} items"
        notes.append(f"{size}; {', '.join(shares)}." if shares else f"{size}.")
        if entry.get("not_scored"):
            notes.append(f"Not scored on {entry['name']}: {', '.join(entry['not_scored'])}.")
    return notes
