"""The index of several studies: one page with a leaderboard for every task.

In: studies' directories. Out: index.html. Knows nothing of: how boards are ranked, torch.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneproof.atomic import write_text
from tuneproof.record.leaderboard import Board, Entry, leaderboards
from tuneproof.record.study_folder import REPORT_HTML
from tuneproof.report.charts.forest import axis_strip, colour, score_scale, score_strip
from tuneproof.report.page import environment, render, styles
from tuneproof.report.rounding import count, probability, style_for
from tuneproof.report.tables import ArmRow, is_share, metric_title, pooled_rows, score_of

INDEX_HTML = "index.html"


def _row_of(entry: Entry) -> ArmRow:
    """The arm as its own report shows it."""
    rows = pooled_rows(entry.study)
    return next(r for r in rows if (r.arm, r.model) == (entry.arm.arm, entry.arm.model))


def _behind(entry: Entry, share: bool) -> tuple[str, str]:
    """How far the first is ahead, and what that is worth."""
    found = entry.behind
    if found is None:
        return "", entry.reason
    style = style_for(found["low"], found["high"], share)
    value = style.value(-found["difference"], True)
    interval = style.interval(-found["high"], -found["low"], True)
    told = {"better": "behind", "worse": "ahead"}.get(found["outcome"], "cannot tell")
    return f"{value} {interval}", f"{told}, p {_p(found)}"


def _study_name(study: Path, others: Sequence[Path]) -> str:
    """The folder's name, with its parent's where another study has the same."""
    alone = sum(other.name == study.name for other in others) < 2
    return study.name if alone else f"{study.parent.name}/{study.name}"


def _p(found: dict[str, Any]) -> str:
    shown = probability(found["p_adjusted"])
    return shown if shown.startswith("<") else f"= {shown}"


def _board(board: Board, at: Path, studies: Sequence[Path]) -> dict[str, Any]:
    """One board as the template sets it; links lead from the page's folder to each report."""
    share = is_share(board.metric)
    scores = [score_of(entry.score) for entry in board.entries]
    scale = score_scale(scores, share)
    rows = []
    for place, (entry, found) in enumerate(zip(board.entries, scores, strict=True), 1):
        row = _row_of(entry)
        style = style_for(found.low, found.high, share)
        behind, worth = _behind(entry, share)
        sizes = entry.study.splits.get("sizes") or {}
        rows.append(
            {
                "place": place,
                "name": f"{entry.arm.name(True)}",
                "seeds": len(entry.arm.runs) if entry.arm.seeds != [None] else 0,
                "study": _study_name(entry.study.folder, studies),
                "link": Path(os.path.relpath(entry.study.folder / REPORT_HTML, at)).as_posix(),
                "strip": score_strip(row, found, style, scale, [], colour(place - 1, row.kind)),
                "score": f"{style.value(found.value)} {style.interval(found.low, found.high)}",
                "behind": behind,
                "worth": worth,
                "train": count(sizes.get("train")),
                "trainable": count(row.trainable),
            }
        )
    return {
        "task": board.task,
        "title": metric_title(board.metric) + (", %" if share else ""),
        "items": count(board.items),
        "fingerprint": board.fingerprint[:12],
        "rows": rows,
        "axis": axis_strip(scale, share) if rows else "",
        "apart": board.apart,
    }


def render_index(folders: Sequence[Path], out: Path) -> Path:
    """Render every study's report again, and the index over them into `out` (a file's path).

    Raises: RunError where a folder holds no study or nothing can be written.
    """
    folders = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    for folder in folders:
        render(folder)
    boards = leaderboards(folders)
    tasks: dict[str, list[dict[str, Any]]] = {}
    for board in boards:
        tasks.setdefault(board.task, []).append(_board(board, out.resolve().parent, folders))
    page = (
        environment()
        .get_template("index.html")
        .render(tasks=tasks, studies=len(folders), css=styles(), count=count)
    )
    return write_text(out, page)
