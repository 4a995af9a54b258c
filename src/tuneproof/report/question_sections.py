"""Error analysis for question answering, and the effect of the no-answer threshold.

In: arms with their answers, the items. Out: slices, thresholds and histograms for the page.
Knows nothing of: HTML, how questions were answered.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.metrics import METRICS, evaluate
from tuneproof.metrics.squad import exact_N, f1_N
from tuneproof.record.study_folder import Items
from tuneproof.report.charts.svg import HEIGHT, PLOT, WIDTH, Scale, figure, frame, tag, ticks
from tuneproof.report.formatting import format_number
from tuneproof.report.slices import (
    ArmPredictions,
    Cut,
    Slice,
    common_rows,
    hardest_groups,
    make_slice,
    slice_by_quartile,
)
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.question_rows import question_from_json

QUESTION_WORDS = ("what", "who", "when", "where", "which", "why", "how many", "how much", "how")
KINDS = ("answerable", "unanswerable")
BARS = 40
Rule = tuple[Cut, NDArray[np.bool_]]
_FIRST = re.compile(r"\b(how many|how much|what|who|whom|whose|when|where|which|why|how)\b")


def question_kind(question: str) -> str:
    """The first question word: what, who, when, …; "other" if there is none."""
    match = _FIRST.search(question.lower())
    word = match[1] if match else "other"
    return {"whom": "who", "whose": "who"}.get(word, word)


def answer_runs(arm: ArmPredictions) -> list[AnswerPredictions]:
    """The arm's answers, one run per seed."""
    return [run for run in arm.runs if isinstance(run, AnswerPredictions)]


def _mean_scores(arm: ArmPredictions, ids: Sequence[str], metric: Any) -> NDArray[np.float64]:
    """Each question's score, averaged over the seeds."""
    total_N = np.zeros(len(ids))
    for run in answer_runs(arm):
        score_by_id = dict(zip(run.ids, metric(run.items), strict=True))
        total_N += np.array([score_by_id[name] for name in ids])
    return total_N / len(arm.runs)


def slice_questions(arms: Sequence[ArmPredictions], items: Items) -> dict[str, list[Slice]]:
    """F1 and exact match of every arm by answerability, question word, lengths and article."""
    if not arms:
        return {}
    first = answer_runs(arms[0])[0]
    rows = common_rows(arms)
    ids = [first.ids[row] for row in rows]
    f1_AN = np.stack([_mean_scores(arm, ids, f1_N) for arm in arms])
    exact_AN = np.stack([_mean_scores(arm, ids, exact_N) for arm in arms])
    slices = {}
    for name, (cut, inside_N) in _rules(first, rows, items, f1_AN.mean(axis=0)).items():
        parts, exact_parts = cut(f1_AN[:, inside_N]), cut(exact_AN[:, inside_N])
        slices[name] = [
            replace(part, exact_match=tuple(score.value or 0.0 for score in exact.accuracies))
            for part, exact in zip(parts, exact_parts, strict=True)
        ]
    return {name: parts for name, parts in slices.items() if parts}


def _rules(
    first: AnswerPredictions, rows: Sequence[int], items: Items, mean_f1_N: NDArray[np.float64]
) -> dict[str, Rule]:
    """How to slice scores [A, N] of the questions in these rows, and which questions each rule covers."""
    answerable_N = first.gold_N[rows] == 0
    all_N = np.ones(len(rows), dtype=bool)
    kinds = np.where(answerable_N, *KINDS).tolist()
    lengths = [len(first.golds[row][0].split()) for row in rows if first.golds[row]]
    groups = [first.groups[row] for row in rows]
    rules: dict[str, tuple[Cut, NDArray[np.bool_]]] = {}
    if len(set(kinds)) > 1:
        rules["by answerability"] = (_cut_by_name(kinds, KINDS), all_N)
    texts = dict(zip(items.ids, zip(items.texts, items.questions, strict=False), strict=False))
    if all(first.ids[row] in texts for row in rows):
        questions = [question_from_json(*texts[first.ids[row]]) for row in rows]
        first_words = [question_kind(question.question) for question in questions]
        context_lengths = [len(question.context.split()) for question in questions]
        if set(first_words) != {"other"}:
            rules["by question word"] = (_cut_by_name(first_words, (*QUESTION_WORDS, "other")), all_N)
        rules["by context length"] = (_cut_by_length(context_lengths), all_N)
    rules["by length of the gold answer"] = (_cut_by_length(lengths), answerable_N)
    if hardest := hardest_groups(groups, mean_f1_N):
        title, cut = hardest
        rules[f"by article: {title}"] = cut, all_N
    return rules


def _cut_by_name(names: Sequence[str], order: Sequence[str]) -> Cut:
    names_N = np.array(names)
    present = [name for name in order if (names_N == name).any()]
    return lambda values_AN: [make_slice(name, names_N == name, values_AN) for name in present]


def _cut_by_length(lengths: Sequence[int]) -> Cut:
    return lambda values_AN: slice_by_quartile(np.array(lengths), values_AN, " words")


@dataclass(frozen=True)
class ThresholdRow:
    """An arm's scores on test at one threshold; `oracle`: the threshold was chosen on test."""

    arm: str
    seed: str
    rule: str
    threshold: float
    f1: float
    exact: float
    answerable_f1: float | None
    unanswerable_accuracy: float | None
    no_answer_share: float
    oracle: bool


def _row_at_threshold(arm: str, seed: str, rule: str, predictions: AnswerPredictions) -> ThresholdRow:
    def score(name: str) -> float:
        return evaluate(METRICS[name], predictions.items)

    both = set(predictions.gold_N.tolist())
    answerable_f1 = score("squad_f1_has_answer") if 0 in both else None
    unanswerable_accuracy = score("squad_no_answer") if 1 in both else None
    scores = score("squad_f1"), score("squad_exact"), answerable_f1, unanswerable_accuracy
    share = float(np.mean([not text for text in predictions.texts]))
    is_oracle = rule.startswith("oracle")
    return ThresholdRow(arm, seed, rule, predictions.threshold, *scores, share, is_oracle)


def threshold_rows(arms: Sequence[ArmPredictions]) -> list[ThresholdRow]:
    """Every arm with null scores at the threshold chosen on dev, the default, and the best on test."""
    rows = []
    for arm in arms:
        for seed, run in zip(arm.seeds, answer_runs(arm), strict=True):
            if not any(run.answers) or (all(run.golds) and list(run.texts) == list(run.answers)):
                continue
            seed_name = "" if seed is None or len(arm.seeds) < 2 else f"seed {seed}"
            best = best_threshold(run).threshold
            for rule, cut in (
                ("chosen on dev", run.threshold),
                ("default", run.default_threshold),
                ("oracle: best on test", best),
            ):
                rows.append(_row_at_threshold(arm.row.label, seed_name, rule, run.with_threshold(cut)))
    return rows


def no_answer_share_note(labels: Mapping[str, Mapping[str, int]]) -> str:
    """A warning if the shares of unanswerable questions in dev and test differ by 10 points or more.

    `labels` counts the labels of each part, as in splits.json.
    """
    shares = {}
    for part in ("dev", "test"):
        counts = labels.get(part) or {}
        if not sum(counts.values()):
            return ""
        shares[part] = counts.get("unanswerable", 0) / sum(counts.values())
    if abs(shares["dev"] - shares["test"]) < 0.1:
        return ""
    return (
        f"{100 * shares['dev']:.0f} % of the questions in dev and {100 * shares['test']:.0f} % in test have "
        "no answer. A threshold chosen on dev fits dev's share, so F1 and exact match on test may be far "
        "below what the same weights can reach."
    )


@dataclass(frozen=True)
class Histogram:
    """The histogram of one arm's null scores."""

    name: str
    figure: Markup


def null_score_histograms(arms: Sequence[ArmPredictions]) -> list[Histogram]:
    """Histograms of the null scores of answerable and unanswerable questions, with the threshold."""
    histograms = []
    for arm in arms:
        runs = [run for run in answer_runs(arm) if len(np.unique(run.null_N)) > 1]
        if runs:
            histograms.append(Histogram(arm.row.label, _histogram(arm.row.label, runs)))
    return histograms


def _histogram(name: str, runs: Sequence[AnswerPredictions]) -> Markup:
    null_N = np.concatenate([run.null_N for run in runs])
    has_N = np.concatenate([run.gold_N == 0 for run in runs])
    cuts = [run.threshold for run in runs]
    low, high = np.quantile(null_N, [0.005, 0.995]).tolist()
    low, high = min(low, *cuts), max(high, *cuts)
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    counts = [np.histogram(np.clip(null_N[part], low, high), edges)[0] for part in (has_N, ~has_N)]
    top = max(1, *(int(count.max()) for count in counts))
    x = Scale(float(edges[0]), float(edges[-1]), PLOT.left + 2, PLOT.right)
    y = Scale(0.0, float(top), PLOT.bottom, PLOT.top)
    marks = ticks(0, top, 4)
    drawn = frame(
        y,
        [(value, f"{value:,.0f}") for value in marks],
        [(x(value), format_number(value)) for value in ticks(float(edges[0]), float(edges[-1]), 5)],
        "null score",
        "questions",
    )
    for kind, name_of_kind, count in zip(("has", "none"), KINDS, counts, strict=True):
        corners = zip(np.repeat(edges, 2)[1:-1].tolist(), np.repeat(count, 2).tolist(), strict=True)
        line = " ".join(f"{x(edge):.1f},{y(value):.1f}" for edge, value in corners)
        title = tag("title", {}, [name_of_kind])
        drawn.append(tag("polyline", {"points": line, "class": f"null-{kind}"}, [title]))
    for cut in cuts:
        at = {"x1": x(cut), "x2": x(cut), "y1": PLOT.top, "y2": PLOT.bottom, "class": "threshold"}
        drawn.append(tag("line", at, [tag("title", {}, [f"threshold {format_number(cut)}"])]))
    text = f"threshold {', '.join(format_number(cut) for cut in cuts)}; {int(has_N.sum()):,} answerable"
    return figure((WIDTH, HEIGHT), f"Null scores of {name}", text, drawn)
