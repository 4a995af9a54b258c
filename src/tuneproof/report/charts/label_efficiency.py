"""Label efficiency: score against the number of labelled train items, with intervals.

In: comparisons.json's scores by train size, rows of arms. Out: a figure, a table, sentences.
Knows nothing of: HTML tags, predictions, how samples were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables
from tuneproof.report.charts import svg
from tuneproof.report.formatting import NumberStyle

WIDE = 1.8  # times the width of other figures, because intervals stand side by side
CALLED = ("worse", "better")
NOT_INFERIOR = ("as good either way", "as good or worse", "worse by more")  # all of train over a sample
NAME_HEIGHT = 13.0
LETTER_WIDTH = 6.2  # at most, in the figure's font


@dataclass(frozen=True)
class SizedLine:
    """One arm: its scores at each number of train items, the gain from all of train over each (`gains`), from
    each over the one before (`steps`), and over the best prompted arm.
    """

    row: tables.ArmRow
    ink: str
    sizes: list[int]
    scores: list[tables.Score]
    gains: list[dict[str, Any] | None]
    share: bool = True
    steps: Sequence[dict[str, Any] | None] = ()
    over_prompted: Sequence[dict[str, Any] | None] = ()

    @property
    def style(self) -> NumberStyle:
        """The format of the line's scores: the decimals that its widest interval supports."""
        styles = [formatting.choose_style(score.low, score.high, self.share) for score in self.scores]
        return min(styles, key=lambda style: style.decimals)

    def describe(self) -> str:
        """The scores in words."""
        scores = zip(self.sizes, self.scores, strict=True)
        texts = [
            f"{tables.format_score(score, self.style)} on {formatting.count(size)}" for size, score in scores
        ]
        return f"{self.row.label}: {', '.join(texts)}"


def sized_lines(study: StudyRecord, rows: Sequence[tables.ArmRow]) -> list[SizedLine]:
    """The arms that ran on samples of train, in the order of the table."""
    entries = study.comparisons.get("by_train_size") or []
    lines = []
    for index, row in enumerate(rows):
        arm_entries = [e for e in entries if e["arm"] == row.arm and e["model"] == row.model]
        arm_entries.sort(key=lambda entry: entry["train_size"])
        if arm_entries:
            sizes = [entry["train_size"] for entry in arm_entries]
            scores = [tables.score_from_json(entry["score"]) for entry in arm_entries]
            gains = [entry["gain_from_full_train"] for entry in arm_entries]
            share = tables.is_share(str(arm_entries[0]["metric"]))
            further = ([e.get(key) for e in arm_entries] for key in ("gain_from_previous", "over_prompted"))
            ink = svg.arm_colour(index, row.kind)
            lines.append(SizedLine(row, ink, sizes, scores, gains, share, *further))
    return lines


def _sentence(line: SizedLine, style: NumberStyle) -> str:
    """The smallest sample that is as good as all of train, what steps buy, where a prompted arm is passed."""
    return " ".join(filter(None, [_as_good(line, style), _steps(line, style), _crossing(line)]))


def _added(pair: dict[str, Any], style: NumberStyle) -> str:
    interval = f"CI {style.value(pair['low'], True)} to {style.value(pair['high'], True)}"
    return f"{style.value(pair['difference'], True)} ({interval})"


def _as_good(line: SizedLine, style: NumberStyle) -> str:
    """The smallest sample that is shown to be as good as all of train within the margin."""
    name, full_size = line.row.label, formatting.count(line.sizes[-1])
    gains = [(size, gain) for size, gain in zip(line.sizes, line.gains, strict=True) if gain]
    if not gains:
        return f"{name}: no sample could be compared with all of train."
    margin = style.value(gains[0][1].get("margin"))
    for size, gain in gains:
        sample = f"{name} on {formatting.count(size)} items"
        all_add = f"all {full_size} add {_added(gain, style)}"
        if gain["outcome"] == "worse":
            return f"{sample} is better than on all: {all_add}."
        if gain.get("margin_outcome") in NOT_INFERIOR:
            return f"{sample} is as good as on all, within {margin}: {all_add}."
    size, gain = gains[-1]
    return (
        f"No sample of {name} is shown to be as good as all {full_size} items within {margin}: they add "
        f"{_added(gain, style)} to {formatting.count(size)}."
    )


def _steps(line: SizedLine, style: NumberStyle) -> str:
    """What each step to more items buys."""
    steps = [
        f"from {formatting.count(before)} to {formatting.count(size)} {_added(step, style)}"
        for before, size, step in zip(line.sizes, line.sizes[1:], line.steps[1:], strict=False)
        if step
    ]
    return f"More labels buy: {', '.join(steps)}." if len(steps) > 1 else ""


def _crossing(line: SizedLine) -> str:
    """Between which sizes the arm overtakes the prompted arm that is best on dev."""
    pairs = [(size, pair) for size, pair in zip(line.sizes, line.over_prompted, strict=False) if pair]
    if not pairs:
        return ""
    sizes = {outcome: [size for size, pair in pairs if pair["outcome"] == outcome] for outcome in CALLED}
    prompted, ends = pairs[0][1]["over"], []
    if sizes["worse"]:
        ends.append(f"worse than {prompted} up to {formatting.count(sizes['worse'][-1])} items")
    if sizes["better"]:
        than = "" if ends else f" than {prompted}"
        ends.append(f"better{than} from {formatting.count(sizes['better'][0])} items on")
    if not ends:
        return f"On none of these sizes is it told apart from {prompted}."
    return f"It is {' and '.join(ends)}."


def _failures(study: StudyRecord) -> list[str]:
    """The runs on samples that did not finish, with the reason."""
    return [
        f"{record.label} on {formatting.count(record.about['train_size'])} items, seed "
        f"{record.about.get('seed')}: {record.about.get('status')}, {record.about.get('reason')}"
        for record in study.sampled
        if record.about.get("status") != "done"
    ]


def _table(lines: Sequence[SizedLine], title: str) -> tables.Table:
    sizes = sorted({size for line in lines for size in line.sizes})
    body = []
    for line in lines:
        score_by_size = dict(zip(line.sizes, line.scores, strict=True))
        style = line.style
        body.append(
            (line.row.label, *(tables.format_score(score_by_size.get(size), style) for size in sizes))
        )
    header = (title, *(formatting.count(size) for size in sizes))
    return tables.Table(header, tuple(body), (False, *(True for _ in sizes)))


def _line(
    line: SizedLine, index: int, lines: int, x_scale: svg.Scale, y_scale: svg.Scale, style: NumberStyle
) -> list[Markup]:
    """Connected points with their intervals; arms are shifted a little so that intervals do not overlap."""
    shift = (index - (lines - 1) / 2) * 5.0
    points = [
        (x_scale(size) + shift, y_scale(score.value or 0.0))
        for size, score in zip(line.sizes, line.scores, strict=True)
    ]
    drawn = [svg.tag("path", {"d": svg.path(points), "style": f"stroke:{line.ink}"})]
    for (x, y), size, score in zip(points, line.sizes, line.scores, strict=True):
        description = f"{line.row.label}, {formatting.count(size)} items: {tables.format_score(score, style)}"
        tip = svg.tag("title", {}, [description])
        inner = []
        if score.low is not None and score.high is not None:
            ends = {"x1": x, "x2": x, "y1": y_scale(score.low), "y2": y_scale(score.high)}
            inner.append(svg.tag("line", {**ends, "style": f"stroke:{line.ink};stroke-width:1.5"}))
        hollow = line.row.kind == "baseline"
        fill = "var(--paper)" if hollow else line.ink
        dot = {"cx": x, "cy": y, "r": 3.5, "style": f"stroke:{line.ink};fill:{fill}"}
        inner.append(svg.tag("circle", dot))
        drawn.append(svg.tag("g", {}, [tip, *inner]))
    return drawn


def _names(ends: Sequence[tuple[str, str, float]], x: float) -> list[Markup]:
    """Each arm's name at the right end of its line, moved apart where names would overlap."""
    drawn: list[Markup] = []
    last = 0.0
    for name, ink, y in sorted(ends, key=lambda end: end[2]):
        baseline = max(y + 4, last + NAME_HEIGHT)
        last = baseline
        drawn.append(svg.label(x, baseline, name, {"class": "name", "style": f"fill:{ink}"}))
    return drawn


def _y_scale(lines: Sequence[SizedLine], values: Sequence[float]) -> svg.Scale:
    """A scale that contains every interval and value."""
    scores = [score for line in lines for score in line.scores]
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    ends += values
    room = max((max(ends) - min(ends)) * 0.06, 0.005)
    low, high = min(ends) - room, max(ends) + room
    if lines[0].share:
        low, high = max(0.0, low), min(1.0, high)
    return svg.Scale(low, high, svg.PLOT.bottom, svg.PLOT.top)


def _figure(
    lines: Sequence[SizedLine], flat: Sequence[tuple[tables.ArmRow, str, float]], title: str, width: int
) -> Markup:
    names = [line.row.label for line in lines] + [row.label for row, _, _ in flat]
    right = width - svg.RIGHT_MARGIN - min(LETTER_WIDTH * max(map(len, names)), width / 3)
    y_scale = _y_scale(lines, [value for _, _, value in flat])
    sizes = sorted({size for line in lines for size in line.sizes})
    spread = 5.0 * len(lines)
    x_scale = svg.Scale(
        float(sizes[0]), float(sizes[-1]), svg.PLOT.left + 8 + spread, right - 8 - spread, log=True
    )
    format_tick = (
        (lambda value: formatting.format_percent(value, 0)) if lines[0].share else formatting.format_number
    )
    drawn = svg.frame(
        y_scale,
        [(value, format_tick(value)) for value in svg.ticks(y_scale.low, y_scale.high, 5)],
        [(x_scale(size), formatting.count(size)) for size in sizes],
        "labelled train items",
        title,
        width,
    )
    for _, ink, value in flat:
        y = y_scale(value)
        position = {"x1": svg.PLOT.left, "x2": right, "y1": y, "y2": y, "class": "reference"}
        drawn.append(svg.tag("line", {**position, "style": f"stroke:{ink}"}))
    for at, line in enumerate(lines):
        inner = _line(line, at, len(lines), x_scale, y_scale, line.style)
        drawn.append(svg.tag("g", {"class": "curve"}, inner))
    ends_at = [(line.row.label, line.ink, y_scale(line.scores[-1].value or 0)) for line in lines]
    ends_at += [(row.label, ink, y_scale(value)) for row, ink, value in flat]
    drawn += _names(ends_at, right)
    description = "; ".join(line.describe() for line in lines)
    return svg.figure((width, svg.HEIGHT), f"{title} against labelled train items", description, drawn)


def label_efficiency(study: StudyRecord, rows: Sequence[tables.ArmRow]) -> dict[str, Any] | None:
    """The section's values; None if the recipe has no `train_sizes`."""
    lines = sized_lines(study, rows)
    if not lines:
        return None
    metric = str(study.comparisons["by_train_size"][0]["metric"])
    title = tables.metric_title(metric, tables.positive_label(study))
    flat = [
        (row, svg.arm_colour(index, row.kind), float(row.scores[metric].value or 0.0))
        for index, row in enumerate(rows)
        if row.kind == "prompt" and row.has_score(metric)
    ]
    return {
        "title": title,
        "figure": _figure(lines, flat, title, int(svg.WIDTH * WIDE)),
        "narrow": _figure(lines, flat, title, svg.WIDTH),
        "lines": lines,
        "table": _table(lines, title),
        "sentences": [_sentence(line, line.style) for line in lines if line.row.trainable],
        "flat": [row.label for row, _, _ in flat],
        "failures": _failures(study),
        "dev": formatting.count((study.splits.get("sizes") or {}).get("dev")) or formatting.NOTHING,
    }
