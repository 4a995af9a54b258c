"""How many labels are needed: score against labelled items, arm by arm, with intervals.

In: comparisons.json's scores by train size, rows of arms. Out: a picture, a table, sentences.
Knows nothing of: HTML tags, predictions, how samples were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.charts.forest import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, colour, frame
from tuneproof.report.charts.svg import Scale, figure, label, path, tag, ticks
from tuneproof.report.rounding import NOTHING, Style, count, percent, plain, style_for
from tuneproof.report.tables import ArmRow, Score, Table, is_share, metric_title, score_of, show_score

WIDE = 1.8  # this picture is wider than the others: its intervals stand side by side
NAME_ROOM = 13.0
LETTER = 6.2  # a letter's width in the figure's type, at most


@dataclass(frozen=True)
class SizedLine:
    """One arm: its scores at each number of train items, and what the whole of train adds to them."""

    row: ArmRow
    ink: str
    sizes: list[int]
    scores: list[Score]
    whole_adds: list[dict[str, Any] | None]


def sized_lines(study: StudyRecord, rows: Sequence[ArmRow]) -> list[SizedLine]:
    """The arms that were run on samples of train, in the order of the table."""
    entries = study.comparisons.get("by_train_size") or []
    found = []
    for index, row in enumerate(rows):
        mine = [e for e in entries if e["arm"] == row.arm and e["model"] == row.model]
        mine.sort(key=lambda entry: entry["train_size"])
        if mine:
            found.append(
                SizedLine(
                    row,
                    colour(index, row.kind),
                    [entry["train_size"] for entry in mine],
                    [score_of(entry["score"]) for entry in mine],
                    [entry["whole_adds"] for entry in mine],
                )
            )
    return found


def _sentence(line: SizedLine, style: Style) -> str:
    """The smallest sample on which the whole of train is not shown to be better."""
    whole = line.sizes[-1]
    known = [(s, adds) for s, adds in zip(line.sizes, line.whole_adds, strict=True) if adds]
    if not known:
        return f"{line.row.label}: no sample could be compared with the whole of train."
    for size, adds in known:
        if adds["outcome"] == "worse":
            loss = style.value(-adds["difference"], True)
            return f"{line.row.label} on {count(size)} items is better than on all {count(whole)}: {loss}."
        if adds["outcome"] == "cannot tell":
            gain = style.value(adds["difference"], True)
            interval = f"{style.value(adds['low'], True)} to {style.value(adds['high'], True)}"
            shown = f"{gain} ({interval}; could have shown {style.value(adds['mde'])})"
            return (
                f"{line.row.label} on {count(size)} items cannot be told from itself on all "
                f"{count(whole)}: these add {shown}."
            )
    sizes = ", ".join(count(size) for size, _ in known)
    return f"{line.row.label} on all {count(whole)} items is better than on {sizes}."


def _trouble(study: StudyRecord) -> list[str]:
    """What did not finish, with the reason."""
    return [
        f"{record.label} on {count(record.about['train_size'])} items, seed "
        f"{record.about.get('seed')}: {record.about.get('status')}, {record.about.get('reason')}"
        for record in study.sampled
        if record.about.get("status") != "done"
    ]


def _table(lines: Sequence[SizedLine], styles: dict[str, Style], title: str) -> Table:
    sizes = sorted({size for line in lines for size in line.sizes})
    body = []
    for line in lines:
        known = dict(zip(line.sizes, line.scores, strict=True))
        style = styles[line.row.label]
        body.append((line.row.label, *(show_score(known.get(size), style) for size in sizes)))
    header = (title, *(count(size) for size in sizes))
    return Table(header, tuple(body), (False, *(True for _ in sizes)))


def _line(line: SizedLine, at: int, of: int, x_scale: Scale, y_scale: Scale, style: Style) -> list[Markup]:
    """Points joined, each with its interval; arms stand a little apart so that intervals do not hide."""
    shift = (at - (of - 1) / 2) * 5.0
    places = [
        (x_scale(size) + shift, y_scale(score.value or 0.0))
        for size, score in zip(line.sizes, line.scores, strict=True)
    ]
    drawn = [tag("path", {"d": path(places), "style": f"stroke:{line.ink}"})]
    for (x, y), size, score in zip(places, line.sizes, line.scores, strict=True):
        said = f"{line.row.label}, {count(size)} items: {show_score(score, style)}"
        tip = tag("title", {}, [said])
        inner = []
        if score.low is not None and score.high is not None:
            ends = {"x1": x, "x2": x, "y1": y_scale(score.low), "y2": y_scale(score.high)}
            inner.append(tag("line", {**ends, "style": f"stroke:{line.ink};stroke-width:1.5"}))
        hollow = line.row.kind == "baseline"
        fill = "var(--paper)" if hollow else line.ink
        dot = {"cx": x, "cy": y, "r": 3.5, "style": f"stroke:{line.ink};fill:{fill}"}
        inner.append(tag("circle", dot))
        drawn.append(tag("g", {}, [tip, *inner]))
    return drawn


def _names(ends: Sequence[tuple[str, str, float]], x: float) -> list[Markup]:
    """Each arm's name at the right end of its line, pushed apart where they would cover each other."""
    drawn: list[Markup] = []
    last = 0.0
    for name, ink, y in sorted(ends, key=lambda end: end[2]):
        place = max(y + 4, last + NAME_ROOM)
        last = place
        drawn.append(label(x, place, name, {"class": "name", "style": f"fill:{ink}"}))
    return drawn


def _figure(
    lines: Sequence[SizedLine],
    flat: Sequence[tuple[ArmRow, str, float]],
    styles: dict[str, Style],
    metric: str,
    width: int,
) -> Markup:
    names = [line.row.label for line in lines] + [row.label for row, _, _ in flat]
    right = width - RIGHT - min(LETTER * max(map(len, names)), width / 3)
    ends = [
        end
        for line in lines
        for score in line.scores
        for end in (score.value, score.low, score.high)
        if end is not None
    ] + [value for _, _, value in flat]
    room = max((max(ends) - min(ends)) * 0.06, 0.005)
    low, high = min(ends) - room, max(ends) + room
    if is_share(metric):
        low, high = max(0.0, low), min(1.0, high)
    y_scale = Scale(low, high, float(HEIGHT - BOTTOM), float(TOP))
    sizes = sorted({size for line in lines for size in line.sizes})
    spread = 5.0 * len(lines)
    x_scale = Scale(float(sizes[0]), float(sizes[-1]), LEFT + 8.0 + spread, right - 8.0 - spread, log=True)
    shown = (lambda value: percent(value, 0)) if is_share(metric) else plain
    drawn = frame(
        y_scale,
        [(value, shown(value)) for value in ticks(low, high, 5)],
        [(x_scale(size), count(size)) for size in sizes],
        "labelled train items",
        metric_title(metric),
        width,
    )
    for _, ink, value in flat:
        y = y_scale(value)
        place = {"x1": LEFT, "x2": right, "y1": y, "y2": y, "class": "reference"}
        drawn.append(tag("line", {**place, "style": f"stroke:{ink}"}))
    for at, line in enumerate(lines):
        inner = _line(line, at, len(lines), x_scale, y_scale, styles[line.row.label])
        drawn.append(tag("g", {"class": "curve"}, inner))
    ends_at = [(line.row.label, line.ink, y_scale(line.scores[-1].value or 0)) for line in lines]
    ends_at += [(row.label, ink, y_scale(value)) for row, ink, value in flat]
    drawn += _names(ends_at, right)
    said = "; ".join(
        f"{line.row.label}: "
        + ", ".join(
            f"{show_score(score, styles[line.row.label])} on {count(size)}"
            for size, score in zip(line.sizes, line.scores, strict=True)
        )
        for line in lines
    )
    return figure((width, HEIGHT), f"{metric_title(metric)} against labelled train items", said, drawn)


def efficiency(study: StudyRecord, rows: Sequence[ArmRow]) -> dict[str, Any] | None:
    """What the section shows; None where the recipe asked for no sizes."""
    lines = sized_lines(study, rows)
    if not lines:
        return None
    metric = str(study.comparisons["by_train_size"][0]["metric"])
    share = is_share(metric)
    styles = {
        line.row.label: min(
            (style_for(score.low, score.high, share) for score in line.scores), key=lambda style: style.places
        )
        for line in lines
    }
    flat = [
        (row, colour(index, row.kind), float(row.scores[metric].value or 0.0))
        for index, row in enumerate(rows)
        if row.kind == "prompt" and metric in row.scores and row.scores[metric].value is not None
    ]
    return {
        "title": metric_title(metric),
        "figure": _figure(lines, flat, styles, metric, int(WIDTH * WIDE)),
        "narrow": _figure(lines, flat, styles, metric, WIDTH),
        "lines": lines,
        "table": _table(lines, styles, metric_title(metric)),
        "sentences": [_sentence(line, styles[line.row.label]) for line in lines if line.row.trainable],
        "flat": [row.label for row, _, _ in flat],
        "trouble": _trouble(study),
        "dev": count((study.splits.get("sizes") or {}).get("dev")) or NOTHING,
    }
