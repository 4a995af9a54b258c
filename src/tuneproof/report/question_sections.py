"""Where arms fail on questions, and what the no-answer threshold does.

In: arms with their answers, the items. Out: slices, thresholds and histograms for the page.
Knows nothing of: HTML, how anything was answered.
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
from tuneproof.report.charts.forest import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, frame
from tuneproof.report.charts.svg import Scale, figure, tag, ticks
from tuneproof.report.rounding import plain
from tuneproof.report.slices import Answers, Slice, by_group, by_quarter, slice_of
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.question_rows import asked_from

ASKING = ("what", "who", "when", "where", "which", "why", "how many", "how much", "how")
BARS = 40
_FIRST = re.compile(r"\b(how many|how much|what|who|whom|whose|when|where|which|why|how)\b")


def question_kind(question: str) -> str:
    """The question word that stands first: what, who, when, …; "other" where there is none."""
    found = _FIRST.search(question.lower())
    word = found[1] if found else "other"
    return {"whom": "who", "whose": "who"}.get(word, word)


def tables_of(answers: Answers) -> list[AnswerPredictions]:
    """The arm's answers, a table a seed."""
    return [table for table in answers.tables if isinstance(table, AnswerPredictions)]


def _values(arm: Answers, ids: Sequence[str], of: Any) -> NDArray[np.float64]:
    """A score of every question, the mean over the seeds."""
    total_N = np.zeros(len(ids))
    for table in tables_of(arm):
        known = dict(zip(table.ids, of(table.items), strict=True))
        total_N += np.array([known[name] for name in ids])
    return total_N / len(arm.tables)


def question_slices(answers: Sequence[Answers], items: Items) -> dict[str, list[Slice]]:
    """F1 of every arm, exact match beside it: by what is asked, by lengths, by article."""
    if not answers:
        return {}
    first = tables_of(answers[0])[0]
    everywhere = set(first.ids).intersection(*(t.ids for arm in answers for t in arm.tables))
    keep = [place for place, name in enumerate(first.ids) if name in everywhere]
    ids = [first.ids[place] for place in keep]
    f1_AN = np.stack([_values(arm, ids, f1_N) for arm in answers])
    exact_AN = np.stack([_values(arm, ids, exact_N) for arm in answers])
    has_N = first.gold_N[keep] == 0
    everything = np.ones(len(ids), dtype=bool)
    rules: list[tuple[str, Any, NDArray[np.bool_]]] = []

    def named(names: Sequence[str], order: Sequence[str]) -> Any:
        names_N = np.array(names)
        return lambda values_AN: [
            slice_of(name, names_N == name, values_AN) for name in order if (names_N == name).any()
        ]

    kinds = [("answerable", "unanswerable")[int(not has)] for has in has_N]
    rules.append(("answerable or not", named(kinds, ("answerable", "unanswerable")), everything))
    texts = dict(zip(items.ids, zip(items.texts, items.asked, strict=False), strict=False))
    if all(name in texts for name in ids):
        asked = [asked_from(*texts[name]) for name in ids]
        words = [question_kind(one.question) for one in asked]
        rules.append(("by question word", named(words, (*ASKING, "other")), everything))
        context_N = np.array([len(one.context.split()) for one in asked])
        rules.append(("by length of the context", lambda v: by_quarter(context_N, v, " words"), everything))
    length_N = np.array([len(first.golds[place][0].split()) if first.golds[place] else 0 for place in keep])
    rules.append(("by length of the gold answer", lambda v: by_quarter(length_N[has_N], v, " words"), has_N))
    groups = [first.groups[place] for place in keep]
    hardest_N = f1_AN.mean(axis=0)
    rules.append(("by article, the hardest first", lambda v: by_group(groups, v, hardest_N), everything))
    found = {}
    for name, rule, inside_N in rules:
        parts, beside = rule(f1_AN[:, inside_N]), rule(exact_AN[:, inside_N])
        found[name] = [
            replace(part, beside=tuple(score.value or 0.0 for score in other.accuracies))
            for part, other in zip(parts, beside, strict=True)
        ]
    return {name: parts for name, parts in found.items() if parts}


@dataclass(frozen=True)
class AtThreshold:
    """An arm's scores on test at one threshold; `oracle`: chosen on test itself."""

    arm: str
    seed: str
    which: str
    threshold: float
    f1: float
    exact: float
    has_f1: float | None
    no_answer: float | None
    withheld: float
    oracle: bool


def _at(arm: str, seed: str, which: str, found: AnswerPredictions) -> AtThreshold:
    def score(name: str) -> float:
        return evaluate(METRICS[name], found.items)

    both = set(found.gold_N.tolist())
    return AtThreshold(
        arm=arm,
        seed=seed,
        which=which,
        threshold=found.threshold,
        f1=score("squad_f1"),
        exact=score("squad_exact"),
        has_f1=score("squad_f1_has_answer") if 0 in both else None,
        no_answer=score("squad_no_answer") if 1 in both else None,
        withheld=float(np.mean([not text for text in found.texts])),
        oracle=which.startswith("oracle"),
    )


def thresholds(answers: Sequence[Answers]) -> list[AtThreshold]:
    """Every arm with null scores: at the threshold that dev chose, at the default, at test's best."""
    rows = []
    for arm in answers:
        for seed, table in zip(arm.seeds, tables_of(arm), strict=True):
            if not any(table.answers):
                continue
            shown = "" if seed is None or len(arm.seeds) < 2 else f"seed {seed}"
            best = best_threshold(table).threshold
            for which, cut in (
                ("chosen on dev", table.threshold),
                ("default", table.default_threshold),
                ("oracle: best on test", best),
            ):
                rows.append(_at(arm.row.label, shown, which, table.at(cut)))
    return rows


def no_answer_shares(labels: Mapping[str, Mapping[str, int]]) -> str:
    """A sentence where dev and test differ by 10 points or more in questions without an answer.

    `labels` counts the labels of each part, as splits.json does.
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
        f"Dev has {100 * shares['dev']:.0f} % questions without an answer and test "
        f"{100 * shares['test']:.0f} %: a threshold chosen on dev withholds for dev's share, so F1 and "
        "exact match over all questions of test may fall far from what the same weights reach."
    )


@dataclass(frozen=True)
class Histogram:
    """One arm's null scores."""

    name: str
    picture: Markup


def histograms(answers: Sequence[Answers]) -> list[Histogram]:
    """Null scores of answerable and unanswerable questions, and the threshold between answers and none."""
    made = []
    for arm in answers:
        tables = [table for table in tables_of(arm) if len(np.unique(table.null_N)) > 1]
        if tables:
            made.append(Histogram(arm.row.label, _histogram(arm.row.label, tables)))
    return made


def _histogram(name: str, tables: Sequence[AnswerPredictions]) -> Markup:
    null_N = np.concatenate([table.null_N for table in tables])
    has_N = np.concatenate([table.gold_N == 0 for table in tables])
    cuts = [table.threshold for table in tables]
    low, high = np.quantile(null_N, [0.005, 0.995]).tolist()
    low, high = min(low, *cuts), max(high, *cuts)
    edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
    counts = [np.histogram(np.clip(null_N[part], low, high), edges)[0] for part in (has_N, ~has_N)]
    top = max(1, *(int(count.max()) for count in counts))
    x = Scale(float(edges[0]), float(edges[-1]), float(LEFT + 2), float(WIDTH - RIGHT))
    y = Scale(0.0, float(top), float(HEIGHT - BOTTOM), float(TOP))
    marks = ticks(0, top, 4)
    drawn = frame(
        y,
        [(value, f"{value:,.0f}") for value in marks],
        [(x(value), plain(value)) for value in ticks(float(edges[0]), float(edges[-1]), 5)],
        "null score",
        "questions",
    )
    for kind, count in zip(("has", "none"), counts, strict=True):
        points = []
        for place, value in enumerate(count.tolist()):
            points += [(x(float(edges[place])), y(value)), (x(float(edges[place + 1])), y(value))]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        said = {"has": "answerable", "none": "unanswerable"}[kind]
        drawn.append(tag("polyline", {"points": line, "class": f"null-{kind}"}, [tag("title", {}, [said])]))
    for cut in cuts:
        at = {"x1": x(cut), "x2": x(cut), "y1": TOP, "y2": HEIGHT - BOTTOM, "class": "threshold"}
        drawn.append(tag("line", at, [tag("title", {}, [f"threshold {plain(cut)}"])]))
    text = f"threshold {', '.join(plain(cut) for cut in cuts)}; {int(has_N.sum()):,} answerable"
    return figure((WIDTH, HEIGHT), f"Null scores of {name}", text, drawn)
