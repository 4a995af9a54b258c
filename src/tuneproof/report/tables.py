"""The study as plain rows, shared by the page, the Markdown, the JSON and the terminal.

In: a study read back. Out: rows of arms, comparisons, a table of strings, the verdict's sentences.
Knows nothing of: HTML, drawing, torch.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.costs import training_seconds
from tuneproof.record.study_folder import ArmRecord, StudyRecord
from tuneproof.report import formatting
from tuneproof.report.corrections import corrections_note
from tuneproof.report.diagnoses import SIGN, first_finding
from tuneproof.report.recommendation import recommend

CAUTION = "Caution: "
MEAN_NOTE = "mean of the seeds"


@dataclass(frozen=True)
class Score:
    """A metric's value with its interval, as shares, not percentages; `n` counts test items."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = ""
    note: str = ""


@dataclass(frozen=True)
class ArmRow:
    """One arm with one seed, or with its seeds pooled (`seeds` then has several).

    `status` is "done" if any seed is done; `reason` says why the others are not. Parameters are None
    if the arm stopped before they were counted, and 0 for baselines. `time_s` sums the stages, of which
    `training_s` are paid once; `dev_scores` are those on dev, empty in older studies. `records` are the arm's
    folders, one per seed; `many_models` says that the study has several models, so that the arm's label needs
    its model. `finding` is what its training curves say against it.
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
    finding: str = ""
    dev_scores: dict[str, Score] = field(default_factory=dict)
    training_s: float | None = None

    @property
    def label(self) -> str:
        """The arm's name in a table, with its model if the study has several."""
        return f"{self.model} {self.arm}" if self.model and self.many_models else self.arm

    @property
    def marked_label(self) -> str:
        """The label, with a sign if the arm's training has a finding."""
        return f"{self.label} {SIGN}" if self.finding else self.label

    @property
    def marked_name(self) -> str:
        """The arm's name with the sign, where the model is named already."""
        return f"{self.arm} {SIGN}" if self.finding else self.arm

    @property
    def trainable_share(self) -> float | None:
        """The share of the parameters that train; None if they were not counted."""
        return self.trainable / self.total if self.total and self.trainable is not None else None

    def has_score(self, metric: str) -> bool:
        """Whether the arm has a value of the metric."""
        return metric in self.scores and self.scores[metric].value is not None

    @property
    def seed(self) -> int | None:
        """The seed if there is exactly one, else None."""
        return self.seeds[0] if len(self.seeds) == 1 else None


@dataclass(frozen=True)
class Table:
    """A table of strings; `numeric` marks the columns of numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]

    def without_empty_columns(self) -> "Table":
        """The table without the columns that hold nothing in any row."""
        return self._of(
            column
            for column in range(len(self.header))
            if not self.rows or any(row[column] not in ("", formatting.NOTHING) for row in self.rows)
        )

    def without_columns(self, names: Set[str]) -> "Table":
        """The table without the columns of these headers."""
        return self._of(column for column, name in enumerate(self.header) if name not in names)

    def _of(self, indices: Iterable[int]) -> "Table":
        columns = list(indices)
        rows = tuple(tuple(row[column] for column in columns) for row in self.rows)
        header = tuple(self.header[column] for column in columns)
        return Table(header, rows, tuple(self.numeric[column] for column in columns))


def positive_label(study: StudyRecord) -> str:
    """The positive class of a task of two labels: the last one. "" if there is none."""
    labels = list((study.splits.get("labels") or {}).get("test") or {})
    metric = METRICS.get(main_metric(study))
    return labels[-1] if len(labels) == 2 and metric and metric.kind == "labels" else ""


def metric_title(name: str, positive: str = "") -> str:
    """The metric's display name, with the positive class; an unknown metric keeps its own name."""
    if name not in METRICS:
        return name.replace("_", " ").capitalize()
    metric = METRICS[name]
    if metric.binary_only and positive:
        return f"{metric.title.partition(' ')[0]} (positive class: {positive})"
    return metric.title


def metric_note(name: str) -> str:
    """A caveat for every value of the metric, such as that weighted recall equals accuracy."""
    return METRICS[name].note if name in METRICS else ""


def lower_is_better(name: str) -> bool:
    """Whether a lower value of the metric is better."""
    return name in METRICS and METRICS[name].direction == "down"


def is_share(name: str) -> bool:
    """Whether the metric is written in percent, because its range is 0 to 1."""
    return name not in METRICS or METRICS[name].high == 1.0


def score_from_json(values: dict[str, Any]) -> Score:
    """A score from scores.json."""
    numbers = {key: values.get(key) for key in ("value", "low", "high", "n")}
    return Score(**numbers, method=str(values.get("method") or ""), note=str(values.get("note") or ""))


def _mean(values: list[Any]) -> float | None:
    numbers = [float(value) for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _failure_reasons(records: list[ArmRecord]) -> str:
    """Why records are not done, with the seed if there are several."""
    reasons = []
    for record in records:
        about = record.about
        if about.get("status") == "done":
            continue
        reason = str(about.get("reason") or "no reason was recorded")
        many = len(records) > 1 and about.get("seed") is not None
        reasons.append(f"seed {about['seed']} {about.get('status')}: {reason}" if many else reason)
    return "; ".join(dict.fromkeys(reasons))


def _row(study: StudyRecord, records: list[ArmRecord], scores: dict[str, Score]) -> ArmRow:
    """Average times over the seeds, so that arms with one and three seeds are comparable."""
    first = next((r for r in records if r.about.get("status") == "done"), records[0])
    about = first.about
    nothing = 0 if about.get("kind") == "baseline" and about.get("status") == "done" else None
    timed = [r.about for r in records if r.about.get("time_s")]
    is_elsewhere = about.get("kind") == "system"  # its memory is not this machine's
    peaks = filter(None, (r.about.get("peak_memory_bytes") for r in records if not is_elsewhere))
    return ArmRow(
        arm=str(about["arm"]),
        model=about.get("model"),
        method=str(about.get("method") or about["arm"]),
        kind=str(about.get("kind") or ""),
        seeds=tuple(r.about["seed"] for r in records if r.about.get("seed") is not None),
        status=str(about.get("status") or "unknown"),
        reason=_failure_reasons(records),
        scores=scores,
        total=first.ledger.get("total", nothing),
        trainable=first.ledger.get("trainable", nothing),
        time_s=_mean([sum(about["time_s"].values()) for about in timed]),
        peak_memory_bytes=max(peaks, default=None),
        items_per_s=_mean([r.about.get("items_per_s") for r in records]),
        records=tuple(records),
        many_models=len({arm.about["model"] for arm in study.arms if arm.about.get("model")}) > 1,
        finding=first_finding(study, records),
        dev_scores=_dev_scores(study, records),
        training_s=_mean([training_seconds(about) for about in timed]),
    )


def _dev_scores(study: StudyRecord, records: list[ArmRecord]) -> dict[str, Score]:
    """The scores of an arm on dev, pooled over its seeds; of one of several seeds there are none."""
    about = records[0].about
    seeds = [arm for arm in study.arms if _identity(arm.about) == _identity(about)]
    entries = study.comparisons.get("arms") or []
    scores = next(
        (entry.get("dev_scores") for entry in entries if _identity(entry) == _identity(about)), None
    )
    return _scores_from_json(scores or {}) if len(seeds) == len(records) else {}


def _identity(values: Mapping[str, Any]) -> tuple[Any, Any]:
    return values.get("model"), values.get("arm")


def arm_rows(study: StudyRecord) -> list[ArmRow]:
    """One row per arm and seed, in the recipe's order."""
    return [_row(study, [arm], _scores_from_json(arm.scores)) for arm in study.arms]


def pooled_rows(study: StudyRecord) -> list[ArmRow]:
    """One row per arm, its seeds pooled, in the recipe's order.

    The scores are those pooled over seeds in comparisons.json. An arm that is missing there has the
    scores of its only seed, or the mean over its seeds without an interval.
    """
    entries = study.comparisons.get("arms") or []
    pooled = {(entry.get("model"), entry.get("arm")): entry.get("scores") or {} for entry in entries}
    together: dict[tuple[Any, Any], list[ArmRecord]] = {}
    for arm in study.arms:
        together.setdefault((arm.about.get("model"), arm.about["arm"]), []).append(arm)
    rows = []
    for key, records in together.items():
        scores = _scores_from_json(pooled.get(key) or {}) or _mean_scores(records)
        rows.append(_row(study, records, scores))
    return rows


def _scores_from_json(scores: dict[str, dict[str, Any]]) -> dict[str, Score]:
    return {name: score_from_json(values) for name, values in scores.items()}


def _mean_scores(records: list[ArmRecord]) -> dict[str, Score]:
    """The scores of the only seed, or their means over the seeds."""
    if len(records) == 1:
        return _scores_from_json(records[0].scores)
    names = dict.fromkeys(name for record in records for name in record.scores)
    return {
        name: Score(_mean([r.scores[name].get("value") for r in records if name in r.scores]), note=MEAN_NOTE)
        for name in names
    }


def short_names(rows: Sequence[ArmRow]) -> list[str]:
    """The arms' names for a figure: with their models only where two arms would have one name."""
    names = [row.arm for row in rows]
    return [row.arm if names.count(row.arm) == 1 else row.label for row in rows]


def metric_names(rows: list[ArmRow]) -> list[str]:
    """Every metric that any arm was scored by, in the order of the scores."""
    return list(dict.fromkeys(name for row in rows for name in row.scores))


def metric_notes(rows: Sequence[ArmRow], positive: str = "") -> list[str]:
    """The caveats of every metric that any arm was scored by."""
    names = [name for name in metric_names(list(rows)) if metric_note(name)]
    return [f"{metric_title(name, positive)}: {metric_note(name)}." for name in names]


def main_metric(study: StudyRecord) -> str:
    """The claim's metric, else the first comparison's, if any arm was scored by it.

    Otherwise the first metric that any arm was scored by, else accuracy.
    """
    scored = metric_names(pooled_rows(study))
    compared = [str(pair["metric"]) for pair in comparison_rows(study) if pair.get("metric")]
    return next(iter([*(name for name in compared if name in scored), *scored, *compared]), "accuracy")


def column_style(rows: list[ArmRow], metric: str) -> formatting.NumberStyle:
    """The format of one metric's column: the decimals that its widest interval supports."""
    share = is_share(metric)
    scores = [row.scores[metric] for row in rows if metric in row.scores]
    styles = [formatting.choose_style(score.low, score.high, share) for score in scores]
    return min(styles, key=lambda style: style.decimals, default=formatting.choose_style(None, None, share))


def format_score(score: Score | None, style: formatting.NumberStyle) -> str:
    """A score with its interval, such as 89.1 [86.8, 91.0]."""
    if score is None or score.value is None:
        return formatting.NOTHING
    return f"{style.value(score.value)} {style.interval(score.low, score.high)}".rstrip()


def format_seeds(row: ArmRow) -> str:
    """ "–", "seed 3" or "3 seeds"."""
    if not row.seeds:
        return formatting.NOTHING
    return f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"


def comparison_rows(study: StudyRecord) -> list[dict[str, Any]]:
    """The comparisons as the study computed them, the claims first."""
    pairs = study.comparisons.get("comparisons") or []
    return sorted(pairs, key=lambda pair: not pair.get("claim"))


def overlap_share(study: StudyRecord) -> float | None:
    """The share of test items that overlap train; None if the split is leak-safe."""
    if study.splits.get("leak_safe", True):
        return None
    return float((study.splits.get("overlap") or {}).get("share") or 0.0)


def overlap_note(study: StudyRecord) -> str:
    """The warning for every number of a leaky split; empty for a leak-safe one."""
    share = overlap_share(study)
    if share is None:
        return ""
    if share == 0:
        return "Random split without leak protection (leak_safe: false); no test item overlaps train."
    return (
        f"Leaky split (leak_safe: false): {formatting.format_percent(share)} % of the test items overlap "
        "train, so these numbers do not show performance on new text."
    )


def headlines(study: StudyRecord, whole: bool = False) -> list[str]:
    """The verdict: its first claim, then what qualifies it, the overlap with train of a leaky split last.

    whole: with a caution that the recommendation makes needless.
    """
    verdict = study.comparisons.get("verdict") or {}
    sentences = [str(part).strip() for part in verdict.get("sentences") or [verdict.get("sentence") or ""]]
    if not any(sentences):
        done = sum(row.status == "done" for row in arm_rows(study))
        sentences = [f"No verdict: {done} of {len(study.arms)} arms are done, and no arms were compared."]
    if not whole and not _needs_caution(study):
        sentences = [part for part in sentences if not part.startswith(CAUTION)]
    parts = (*sentences, _positive_note(study), overlap_note(study), corrections_note(study.splits))
    return [formatting.show_hidden(part) for part in parts if part]


def _needs_caution(study: StudyRecord) -> bool:
    """Whether the reader would go wrong without the caution of the baselines that trained arms do not beat.

    The recommendation says it already where it takes such a baseline, and where it takes an arm that beats
    them, unless the claim is of one that does not.
    """
    advice, verdict = recommend(study), study.comparisons.get("verdict") or {}
    beaten = verdict.get("no_better_than_baseline") or []
    if advice is None or any(pair.get("baseline") == advice.name for pair in beaten):
        return advice is None
    mentioned = {advice.name, *(pair.get("arm") for pair in verdict.get("claims") or [])}
    return any(pair.get("arm") in mentioned for pair in beaten)


def _positive_note(study: StudyRecord) -> str:
    metric, positive = METRICS.get(main_metric(study)), positive_label(study)
    return f"The positive class is {positive}." if metric and metric.binary_only and positive else ""


def headline(study: StudyRecord) -> str:
    """The verdict as one paragraph (`headlines`)."""
    return " ".join(headlines(study))


def all_and_without(measured: Mapping[str, Any], positive: str, others: str) -> Table:
    """Each arm's score on all test items and on those that remain without some, which `others` names."""
    share, rows = is_share(measured["metric"]), []
    for arm in measured["arms"]:
        scores = [score_from_json(arm[items]) if arm[items] else None for items in ("all", "without")]
        ends = [(score.low, score.high) if score else (None, None) for score in scores]
        styles = [formatting.choose_style(*pair, share) for pair in ends]
        rows.append((arm["arm"], *map(format_score, scores, styles)))
    title = f"{metric_title(measured['metric'], positive)}{', %' if share else ''}, all items"
    return Table(("Arm", title, others), tuple(rows), (False, True, True))
