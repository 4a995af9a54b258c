"""The table *before → after*: the pretrained model beside the trained arm, on the same test items.

In: a study, its arms with their predictions. Out: one table per model, as values and as strings.
Knows nothing of: HTML, how arms ran.

Before is the model's zero-shot arm, else its few-shot arm, else a head on its frozen features; after is a
trained arm. Without any of these a baseline stands in the place of before, and is called so. Of several the
claim names one, else dev chooses: test items never do. The table makes no new test: a difference has an
interval where the study's comparisons have it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS, LabelItems, evaluate, per_class, why_not_computable
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report import formatting, tables
from tuneproof.report.formatting import MINUS, NumberStyle, choose_style
from tuneproof.report.slices import ArmPredictions
from tuneproof.score.verdict import join_names, metric_name

BEFORE, BASELINE = "before", "baseline"
OTHERS = 3
MAX_CLASSES = 8
LABEL_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
CLASS_TITLES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
QUESTION_GROUPS = {
    "": "All questions",
    "answer": "Answerable questions (HasAns)",
    "no answer": "Unanswerable questions (NoAns)",
}
Group = tuple[str, list["Line"]]


@dataclass(frozen=True)
class Line:
    """One quantity: its value in each column, as text with an interval or share, and after − before.

    `title` is short below its group's heading; `full_title` stands alone. `pair` is the comparison of after
    with before, None if the study has none; `label` the class of a metric of one class.
    """

    key: str
    title: str
    full_title: str
    values: tuple[float | None, ...]
    cells: tuple[tuple[str, str], ...]
    difference: float | None
    difference_cell: tuple[str, str]
    label: str | None = None
    pair: dict[str, Any] | None = None


@dataclass(frozen=True)
class BeforeAfter:
    """The table of one model. `arms` are before, after and others; `notes` say how they were chosen.

    `first`: what the first arm is, "before" or "baseline".
    """

    model: str
    arms: tuple[tables.ArmRow, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    notes: tuple[str, ...]
    first: str = BEFORE

    @property
    def title(self) -> str:
        """The heading: Before → after: minilm."""
        return f"{self.first.capitalize()} → after: {self.model}"

    @property
    def lines(self) -> list[Line]:
        """The lines of all groups."""
        return [line for _, lines in self.groups for line in lines]

    def table(self) -> tables.Table:
        """The table as strings."""
        names = [row.marked_name for row in self.arms]
        header = ("", f"{self.first}: {names[0]}", f"after: {names[1]}", "Difference", *names[2:])
        rows = []
        for line in self.lines:
            cells = [
                " ".join(cell).rstrip() for cell in (*line.cells[:2], line.difference_cell, *line.cells[2:])
            ]
            rows.append((line.full_title, *cells))
        return tables.Table(header, tuple(rows), (False, *(True for _ in header[1:])))

    def as_json(self) -> dict[str, Any]:
        """The values for report.json."""
        keys = ("low", "high", "p_value", "p_adjusted", "outcome")
        rows = [
            {
                "name": line.key,
                "class": line.label,
                "before": line.values[0],
                "after": line.values[1],
                "difference": line.difference,
                **{key: (line.pair or {}).get(key) for key in keys},
            }
            for line in self.lines
        ]
        ends = {"before": self.arms[0].label, "after": self.arms[1].label}
        return {"model": self.model, **ends, "notes": list(self.notes), "rows": rows}


@dataclass(frozen=True)
class _Study:
    """What the tables of a study share: its comparisons, the claims first, its main metric, its arms."""

    pairs: list[dict[str, Any]]
    metric: str
    positive: str
    rows: list[tables.ArmRow]

    def dev_score(self, arm: ArmPredictions) -> float:
        """The main metric on dev, the mean over the seeds, higher is better; -inf if it is unknown."""
        metric, items_S = METRICS.get(self.metric), [run.items for run in arm.dev_runs if run is not None]
        if metric is None or not items_S or any(why_not_computable(metric, items) for items in items_S):
            return -np.inf
        value = float(np.mean([evaluate(metric, items) for items in items_S]))
        return -value if metric.direction == "down" else value

    def select(self, role: str, arms: Sequence[ArmPredictions]) -> tuple[ArmPredictions, str]:
        """The `arm` or the `over` of a claim if it is one of these, else the best on dev; the reason."""
        for name in (pair.get(role) for pair in self.pairs if pair.get("claim")):
            for arm in arms:
                if name in (arm.row.label, arm.row.arm):
                    return arm, " The claim names it."
        best = max(arms, key=self.dev_score)
        if len(arms) == 1:
            return best, ""
        names = join_names([arm.row.arm for arm in arms])
        is_known = self.dev_score(best) > -np.inf
        by = f" Of {names} it is the best by {metric_name(self.metric)} on dev."
        return best, by if is_known else f" It is the first of {names}."

    def compared(self, after: tables.ArmRow, before: tables.ArmRow, metric: str) -> dict[str, Any] | None:
        """The study's comparison of after with before by a metric."""
        for pair in self.pairs:
            is_pair = pair.get("arm") in (after.label, after.arm) and pair.get("over") in (
                before.label,
                before.arm,
            )
            if is_pair and pair.get("metric") == metric and pair.get("difference") is not None:
                return pair
        return None


def before_after_tables(study: StudyRecord, arms: Sequence[ArmPredictions]) -> list[BeforeAfter]:
    """The table of every model that has an arm before and an arm after."""
    pairs, positive = tables.comparison_rows(study), tables.positive_label(study)
    scored = [arm for arm in arms if arm.row.scores]
    shared = _Study(pairs, tables.main_metric(study), positive, [arm.row for arm in scored])
    made = []
    for model in dict.fromkeys(arm.row.model for arm in scored if arm.row.model):
        table = _table_of_model(shared, model, [arm for arm in scored if arm.row.model in (None, model)])
        made += [table] if table else []
    return made


def _table_of_model(study: _Study, model: str, arms: Sequence[ArmPredictions]) -> BeforeAfter | None:
    before, before_note = _choose_before(study, arms)
    after, after_note = _choose_after(study, arms, before)
    if before is None or after is None:
        return None
    others = [arm for arm in arms if arm not in (before, after)]
    best = sorted(others, key=study.dev_score, reverse=True)[:OTHERS]
    columns = [before, after, *(arm for arm in others if arm in best)]
    first = BASELINE if before.row.kind == "baseline" else BEFORE
    notes = [f"{first.capitalize()}: {before_note}", f"After: {after_note}"]
    if len(best) < len(others):
        notes.append(f"Of {len(others)} other arms the {len(best)} best on dev are shown.")
    groups = tuple((heading, tuple(lines)) for heading, lines in _groups(study, columns) if lines)
    return BeforeAfter(model, tuple(arm.row for arm in columns), groups, tuple(notes), first)


def _of_kind(arms: Sequence[ArmPredictions], kind: str) -> list[ArmPredictions]:
    return [arm for arm in arms if arm.row.kind == kind]


def _choose_before(study: _Study, arms: Sequence[ArmPredictions]) -> tuple[ArmPredictions | None, str]:
    prompts, tuned = _of_kind(arms, "prompt"), _of_kind(arms, "tuned")
    heads = [arm for arm in tuned if _fits_head_alone(arm)]
    choices = {
        "the pretrained model without training or examples": [
            arm for arm in prompts if not (arm.row.records[0].about.get("chosen") or {}).get("shots")
        ],
        "the pretrained model without training, with examples in its prompt": prompts,
        "a linear head on the features of the pretrained model, whose own weights are not trained": (
            heads if len(heads) < len(tuned) else []
        ),
        "which does not use this model, because no arm uses it without training": _of_kind(arms, "baseline"),
    }
    return _choose(study, "over", choices)


def _choose_after(
    study: _Study, arms: Sequence[ArmPredictions], before: ArmPredictions | None
) -> tuple[ArmPredictions | None, str]:
    tuned = [arm for arm in _of_kind(arms, "tuned") if arm is not before]
    if before is not None and _fits_head_alone(before):
        tuned = [arm for arm in tuned if not _fits_head_alone(arm)]
    prompts = [arm for arm in _of_kind(arms, "prompt") if arm is not before]
    return _choose(study, "arm", {"trained": tuned, "no weights are trained": prompts})


def _fits_head_alone(arm: ArmPredictions) -> bool:
    """Whether the model's own weights stay as they are and a head on its features is fitted."""
    method = METHODS.get(arm.row.method)
    return method is not None and method.kind == "tuned" and method.apply is None


def _choose(
    study: _Study, role: str, choices: dict[str, list[ArmPredictions]]
) -> tuple[ArmPredictions | None, str]:
    """An arm of the first group that has any, and a sentence about it."""
    for description, arms in choices.items():
        if arms:
            arm, reason = study.select(role, arms)
            return arm, f"{arm.row.arm}, {description}.{reason}"
    return None, ""


def _groups(study: _Study, arms: Sequence[ArmPredictions]) -> list[Group]:
    """The headings with their lines: scores, scores by class, cost."""
    rows = [arm.row for arm in arms]
    names = [name for name in tables.metric_names(rows) if name in METRICS]
    cost = ("Cost", _cost_lines(rows))
    if arms[0].runs[0].kind == "questions":
        return [*_question_groups(study, rows, names), cost]
    main = [study.metric] if study.metric in names and not METRICS[study.metric].binary_only else []
    some = [name for name in LABEL_METRICS if name in names and not (study.positive and "_" in name)]
    lines = [_score_line(study, rows, name) for name in dict.fromkeys([*main, *some])]
    return [("All test items", lines), *_class_groups(study, arms), cost]


def _question_groups(study: _Study, rows: Sequence[tables.ArmRow], names: Sequence[str]) -> Iterator[Group]:
    """All questions, the answerable ones, the others."""
    for counted, heading in QUESTION_GROUPS.items():
        titles = {
            n: METRICS[n].title.partition(",")[0] for n in names if METRICS[n].counted_questions == counted
        }
        sizes = [row.scores[name].n for name in titles for row in rows if name in row.scores]
        lines = [_score_line(study, rows, name, title) for name, title in titles.items()]
        yield f"{heading}: {formatting.count(sizes[0] if sizes else None)}", lines


def _line(
    names: tuple[str, str, str],
    values: Sequence[float | None],
    cells: Sequence[tuple[str, str]],
    signed: Callable[[float], str],
) -> Line:
    before, after = values[:2]
    difference = None if before is None or after is None else after - before
    text = formatting.NOTHING if difference is None else signed(difference)
    return Line(*names, tuple(values), tuple(cells), difference, (text, ""))


def _score_line(study: _Study, rows: Sequence[tables.ArmRow], name: str, title: str = "") -> Line:
    """A metric that the arms were scored by, with intervals."""
    style, full = tables.column_style(study.rows, name), tables.metric_title(name, study.positive)
    scores = [row.scores.get(name) or tables.Score(None) for row in rows]
    cells = [(style.value(score.value), style.interval(score.low, score.high)) for score in scores]
    names = (name, (title or full) + _unit(style), full + _unit(style))
    line = _line(names, [score.value for score in scores], cells, lambda value: style.value(value, True))
    pair = study.compared(rows[1], rows[0], name)
    if pair is None:
        return line
    low, high, difference = (pair.get(key) for key in ("low", "high", "difference"))
    fine = choose_style(low, high, style.share)
    cell = (fine.value(difference, True), fine.interval(low, high, True))
    return replace(line, difference=difference, difference_cell=cell, pair=pair)


def _unit(style: NumberStyle) -> str:
    return style.unit.replace(" ", ",\u00a0")


def _class_groups(study: _Study, arms: Sequence[ArmPredictions]) -> Iterator[Group]:
    """Of two labels a group each, the positive class first; of more a group each for recall and precision."""
    labels, rows = arms[0].runs[0].labels, [arm.row for arm in arms]
    by_class, style = [_mean_by_class(arm) for arm in arms], tables.column_style(rows, "accuracy")
    titles = [
        f"{label} ({formatting.count(by_class[0]['support'][i])} items)" for i, label in enumerate(labels)
    ]

    def line(name: str, index: int, title: str, full_title: str) -> Line:
        values = [float(table[name][index]) for table in by_class]
        names = (name, title + _unit(style), full_title + _unit(style))
        cells = [(style.value(value), "") for value in values]
        return replace(
            _line(names, values, cells, lambda value: style.value(value, True)), label=labels[index]
        )

    if len(labels) == 2:
        for index, kind in ((1, "positive class"), (0, "other class")):
            lines = [
                replace(_score_line(study, rows, name, title), label=labels[1])
                if index and any(row.has_score(name) for row in rows)
                else line(name, index, title, f"{title} ({kind}: {labels[index]})")
                for name, title in CLASS_TITLES.items()
            ]
            yield f"{kind.capitalize()}: {titles[index]}", lines
    elif len(labels) <= MAX_CLASSES:
        for name in ("recall", "precision"):
            of = f"{CLASS_TITLES[name]} of"
            lines = [line(name, i, titles[i], f"{of} {label}") for i, label in enumerate(labels)]
            yield f"{of} each class", lines


def _mean_by_class(arm: ArmPredictions) -> dict[str, Any]:
    """Precision, recall and F1 of each class, means over the seeds, and its items."""
    runs = [per_class(LabelItems(run.labels, run.gold_N, run.predicted_N)) for run in arm.runs]
    names = {"precision": "precision", "recall": "accuracy", "f1": "f1", "support": "support"}
    return {name: np.mean([[row[key] for row in run] for run in runs], axis=0) for name, key in names.items()}


def _cost_lines(rows: Sequence[tables.ArmRow]) -> list[Line]:
    """Parameters, time and memory."""

    def line(key: str, title: str, show: Callable[[float | None], str]) -> Line:
        values = [getattr(row, key) for row in rows]
        shares = [formatting.format_share(row.trainable_share) if key == "trainable" else "" for row in rows]
        cells = [(show(value), f"({s})" if s else "") for value, s in zip(values, shares, strict=True)]
        return _line((key, title, title), values, cells, lambda value: f"{_sign(value)}{show(abs(value))}")

    return [
        line("total", "Parameters", formatting.count),
        line("trainable", "Trained parameters", formatting.count),
        line("training_s", "Training time", formatting.format_duration),
        line("peak_memory_bytes", "Peak memory", formatting.memory),
    ]


def _sign(value: float) -> str:
    return "+" if value > 0 else MINUS if value < 0 else ""
