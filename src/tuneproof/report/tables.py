"""The study as plain rows: the same values for the page, the Markdown, the JSON and the terminal.

In: a study read back. Out: rows of arms, comparisons, one table of strings, the verdict's sentences.
Knows nothing of: HTML, drawing, torch.
"""

from dataclasses import dataclass, field
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.study_folder import ArmRecord, StudyRecord
from tuneproof.report.rounding import (
    NOTHING,
    Style,
    count,
    memory,
    percent,
    rate,
    seconds,
    style_for,
    visible,
)


@dataclass(frozen=True)
class Score:
    """A metric's value with its interval; shares, not percentages. n counts test items."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = ""
    note: str = ""


@dataclass(frozen=True)
class ArmRow:
    """One arm: with one seed, or with its seeds taken together (`seeds` then holds several).

    `status` is "done" where any seed is; `reason` says why any seed is not.
    Parameters are None where the arm did not get so far; baselines have none: 0.
    `time_s` sums the stages; `records` are the arm's folders, one a seed; `many_models` is true
    where the study has several models, so that the arm's name needs its model.
    """

    arm: str
    model: str | None
    method: str
    kind: str
    seeds: tuple[int, ...]
    status: str
    reason: str
    scores: dict[str, Score]
    total: int | None
    trainable: int | None
    time_s: float | None
    peak_memory_bytes: int | None
    items_per_s: float | None
    records: tuple[ArmRecord, ...] = field(repr=False, default=())
    many_models: bool = False

    @property
    def label(self) -> str:
        """The arm's name as a table shows it: with its model where the study has several."""
        return f"{self.model} {self.arm}" if self.model and self.many_models else self.arm

    @property
    def seed(self) -> int | None:
        """The only seed, or None."""
        return self.seeds[0] if len(self.seeds) == 1 else None


@dataclass(frozen=True)
class Table:
    """A table of strings; `numeric` says which columns are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


def metric_title(name: str) -> str:
    """The metric's name for people; a metric that is not on the shelf keeps its own."""
    return METRICS[name].title if name in METRICS else name.replace("_", " ").capitalize()


def metric_note(name: str) -> str:
    """What must stand beside every value of the metric, such as that weighted recall is accuracy."""
    return METRICS[name].note if name in METRICS else ""


def goes_down(name: str) -> bool:
    """Whether lower is better."""
    return name in METRICS and METRICS[name].direction == "down"


def is_share(name: str) -> bool:
    """Whether the metric is shown in percent: its range is 0 to 1."""
    return name not in METRICS or METRICS[name].high == 1.0


def score_of(values: dict[str, Any]) -> Score:
    """A score from scores.json."""
    return Score(
        values.get("value"),
        values.get("low"),
        values.get("high"),
        values.get("n"),
        str(values.get("method") or ""),
        str(values.get("note") or ""),
    )


def _mean(values: list[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _troubles(records: list[ArmRecord]) -> str:
    """Why records are not done; with several seeds, which seed it was."""
    said = []
    for record in records:
        about = record.about
        if about.get("status") == "done":
            continue
        reason = str(about.get("reason") or "no reason was recorded")
        many = len(records) > 1 and about.get("seed") is not None
        said.append(f"seed {about['seed']} {about.get('status')}: {reason}" if many else reason)
    return "; ".join(dict.fromkeys(said))


def _many_models(study: StudyRecord) -> bool:
    return len({arm.about["model"] for arm in study.arms if arm.about.get("model")}) > 1


def _row(records: list[ArmRecord], scores: dict[str, Score], many_models: bool) -> ArmRow:
    """Times are means over the seeds, so that arms with one and three seeds can be compared."""
    first = next((r for r in records if r.about.get("status") == "done"), records[0])
    about = first.about
    nothing = 0 if about.get("kind") == "baseline" and about.get("status") == "done" else None
    times = [sum(r.about["time_s"].values()) for r in records if r.about.get("time_s")]
    peaks = [r.about["peak_memory_bytes"] for r in records if r.about.get("peak_memory_bytes")]
    return ArmRow(
        arm=str(about["arm"]),
        model=about.get("model"),
        method=str(about.get("method") or about["arm"]),
        kind=str(about.get("kind") or ""),
        seeds=tuple(r.about["seed"] for r in records if r.about.get("seed") is not None),
        status=str(about.get("status") or "unknown"),
        reason=_troubles(records),
        scores=scores,
        total=first.ledger.get("total", nothing),
        trainable=first.ledger.get("trainable", nothing),
        time_s=_mean(times),
        peak_memory_bytes=max(peaks, default=None),
        items_per_s=_mean([r.about.get("items_per_s") for r in records]),
        records=tuple(records),
        many_models=many_models,
    )


def arm_rows(study: StudyRecord) -> list[ArmRow]:
    """One row for each arm and seed, in the recipe's order."""
    many = _many_models(study)
    return [
        _row([arm], {name: score_of(values) for name, values in arm.scores.items()}, many)
        for arm in study.arms
    ]


def pooled_rows(study: StudyRecord) -> list[ArmRow]:
    """One row for each arm, its seeds taken together, in the recipe's order.

    The scores are those that the study pooled over seeds (comparisons.json); an arm that is not
    there shows its only seed's scores, or the seeds' mean without an interval.
    """
    found = study.comparisons.get("arms") or []
    pooled = {(entry.get("model"), entry.get("arm")): entry.get("scores") or {} for entry in found}
    together: dict[tuple[Any, Any], list[ArmRecord]] = {}
    for arm in study.arms:
        together.setdefault((arm.about.get("model"), arm.about["arm"]), []).append(arm)
    rows = []
    for key, records in together.items():
        given = pooled.get(key) or {}
        scores = {name: score_of(values) for name, values in given.items()}
        if not scores and len(records) == 1:
            scores = {name: score_of(values) for name, values in records[0].scores.items()}
        if not scores:
            names = dict.fromkeys(name for record in records for name in record.scores)
            for name in names:
                values = [r.scores[name].get("value") for r in records if name in r.scores]
                scores[name] = Score(_mean(values), note="mean of the seeds")
        rows.append(_row(records, scores, _many_models(study)))
    return rows


def metric_names(rows: list[ArmRow]) -> list[str]:
    """Every metric that any arm has, in the order in which the scores list them."""
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def main_metric(study: StudyRecord) -> str:
    """The claim's metric, else the first comparison's, else the first score's, else accuracy."""
    for pair in sorted(comparison_rows(study), key=lambda pair: not pair.get("claim")):
        if pair.get("metric"):
            return str(pair["metric"])
    return next(iter(metric_names(pooled_rows(study))), "accuracy")


def style_of(rows: list[ArmRow], metric: str) -> Style:
    """How one metric's column is written: with the decimals that its widest interval supports."""
    known = [row.scores[metric] for row in rows if metric in row.scores]
    styles = [style_for(score.low, score.high, is_share(metric)) for score in known]
    return min(styles, key=lambda style: style.places, default=style_for(None, None, is_share(metric)))


def show_score(score: Score | None, style: Style) -> str:
    """A score with its interval, such as 89.1 [86.8, 91.0]."""
    if score is None or score.value is None:
        return NOTHING
    return f"{style.value(score.value)} {style.interval(score.low, score.high)}".rstrip()


def show_seeds(row: ArmRow) -> str:
    """ "–", "seed 3" or "3 seeds"."""
    if not row.seeds:
        return NOTHING
    return f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"


def comparison_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """The comparisons as they were computed, the claim first."""
    pairs = study.comparisons.get("comparisons") or []
    return sorted(pairs, key=lambda pair: not pair.get("claim"))


def overlap_share(study: StudyRecord) -> float | None:
    """The share of test items that train gives away; None unless the split was made leaky."""
    if study.splits.get("leak_safe", True):
        return None
    return float((study.splits.get("overlap") or {}).get("share") or 0.0)


def overlap_note(study: StudyRecord) -> str:
    """What must stand beside every number of a leaky split; empty for a safe one."""
    share = overlap_share(study)
    if share is None:
        return ""
    if share == 0:
        return "Plain random split (leak_safe: false); no test item overlaps a training item."
    return (
        f"Leaky split: {percent(share)} % of the test items overlap a training item "
        "(leak_safe: false), so these numbers say little about new text."
    )


def headline(study: StudyRecord) -> str:
    """The verdict in a sentence or two, with the overlap beside it where the split is leaky."""
    verdict = study.comparisons.get("verdict") or {}
    sentence = str(verdict.get("sentence") or "").strip()
    if not sentence:
        done = sum(row.status == "done" for row in arm_rows(study))
        sentence = f"No verdict: {done} of {len(study.arms)} arms are done and nothing is compared."
    return visible(" ".join(part for part in (sentence, overlap_note(study)) if part))


def arm_table(study: StudyRecord, rows: list[ArmRow] | None = None) -> Table:
    """The table of arms as strings: for a terminal, for Markdown and for the page.

    `rows` are the arms with their seeds taken together (the default) or one a seed.
    An arm that is not done keeps its row, with the reason in the score's place.
    """
    rows, metric = pooled_rows(study) if rows is None else rows, main_metric(study)
    style, share = style_of(rows, metric), overlap_share(study)
    title = metric_title(metric) + style.unit.replace(" ", ", ")
    leaky = f" (overlap {percent(share)} %)" if share else ""
    cells = []
    for row in rows:
        score = show_score(row.scores.get(metric), style)
        if row.status != "done":
            score = f"{row.status}: {visible(row.reason)}" if row.reason else row.status
        else:
            score += leaky + (f" ({visible(row.reason)})" if row.reason else "")
        cells.append(
            (
                visible(row.label),
                show_seeds(row),
                score,
                count(row.trainable),
                count(row.total),
                seconds(row.time_s),
                memory(row.peak_memory_bytes),
                rate(row.items_per_s),
            )
        )
    header = ("Arm", "Seeds", title, "Trainable", "Parameters", "Time", "Peak memory", "Items/s")
    return Table(header, tuple(cells), (False, False, False, True, True, True, True, True))
