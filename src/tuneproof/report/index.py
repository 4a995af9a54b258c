"""The index of several studies: one page with a leaderboard per task.

In: studies' directories. Out: index.html. Knows nothing of: how boards are ranked, torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.atomic import write_text
from tuneproof.record.leaderboard import Board, Entry, leaderboards
from tuneproof.record.study_folder import REPORT_HTML
from tuneproof.report.charts.forest import axis_strip, score_scale, score_strip
from tuneproof.report.charts.svg import arm_colour
from tuneproof.report.formatting import choose_style, count, format_p_value
from tuneproof.report.page import fill_template, render
from tuneproof.report.tables import (
    ArmRow,
    is_share,
    metric_title,
    pooled_rows,
    positive_label,
    score_from_json,
)

INDEX_HTML = "index.html"


def _row_of(entry: Entry) -> ArmRow:
    """The arm's row in its own report."""
    rows = pooled_rows(entry.study)
    return next(r for r in rows if (r.arm, r.model) == (entry.arm.arm, entry.arm.model))


def _difference(entry: Entry, share: bool) -> tuple[str, str]:
    """The difference from the first arm, and its outcome with the p-value."""
    comparison = entry.behind
    if comparison is None:
        return "", entry.reason
    style = choose_style(comparison["low"], comparison["high"], share)
    value = style.value(-comparison["difference"], True)
    interval = style.interval(-comparison["high"], -comparison["low"], True)
    outcomes = {"better": "worse than the first", "worse": "better than the first"}
    outcome = outcomes.get(comparison["outcome"], "cannot tell")
    return f"{value} {interval}", f"{outcome}, p {_p(comparison)}"


def _study_name(study: Path, studies: Sequence[Path]) -> str:
    """The folder's name, preceded by its parent's if another study has the same name."""
    is_unique = sum(path.name == study.name for path in studies) < 2
    return study.name if is_unique else f"{study.parent.name}/{study.name}"


def _p(comparison: dict[str, Any]) -> str:
    text = format_p_value(comparison["p_adjusted"])
    return text if text.startswith("<") else f"= {text}"


def _board(board: Board, at: Path, studies: Sequence[Path]) -> dict[str, Any]:
    """The values of one board for the template; links are relative to the page's folder."""
    share = is_share(board.metric)
    positive = next((positive_label(entry.study) for entry in board.entries), "")
    scores = [score_from_json(entry.score) for entry in board.entries]
    scale = score_scale(scores, share)
    rows = []
    for rank, (entry, score) in enumerate(zip(board.entries, scores, strict=True), 1):
        row = _row_of(entry)
        style = choose_style(score.low, score.high, share)
        difference, outcome = _difference(entry, share)
        sizes = entry.study.splits.get("sizes") or {}
        rows.append(
            {
                "rank": rank,
                "name": entry.arm.name(True),
                "seeds": len(entry.arm.runs) if entry.arm.seeds != [None] else 0,
                "study": _study_name(entry.study.folder, studies),
                "link": Path(os.path.relpath(entry.study.folder / REPORT_HTML, at)).as_posix(),
                "strip": score_strip(row, score, style, scale, [], arm_colour(rank - 1, row.kind)),
                "score": f"{style.value(score.value)} {style.interval(score.low, score.high)}",
                "difference": difference,
                "outcome": outcome,
                "train": count(sizes.get("train")),
                "trainable": count(row.trainable),
            }
        )
    return {
        "task": board.task,
        "title": metric_title(board.metric, positive) + (", %" if share else ""),
        "items": count(board.items),
        "fingerprint": board.fingerprint[:12],
        "rows": rows,
        "axis": axis_strip(scale, share) if rows else "",
        "unranked": board.unranked,
    }


def render_index(folders: Sequence[Path], out: Path) -> Path:
    """Render every study's report again, and their index into the file `out`.

    Raises: RunError if a folder holds no study or a file cannot be written.
    """
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    for folder in folders:
        render(folder)
    boards = leaderboards(folders)
    tasks: dict[str, list[dict[str, Any]]] = {}
    for board in boards:
        tasks.setdefault(board.task, []).append(_board(board, out.resolve().parent, folders))
    return write_text(out, fill_template("index.html", tasks=tasks, studies=len(folders)))
