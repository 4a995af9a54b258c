"""Items that two arms answer differently, with both arms' answers and probabilities.

In: arms with predictions, the items, the comparisons. Out: plain values, compact enough for a page.
Knows nothing of: HTML, statistics, how predictions were made.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.metrics.metric import UNPARSED
from tuneproof.record.study_folder import Items
from tuneproof.report.formatting import show_hidden
from tuneproof.report.slices import ArmPredictions
from tuneproof.tasks.question_rows import question_from_json

TEXT_BUDGET = 12_000_000
MAX_PAIRS = 12
Cell = tuple[AnyPredictions, int]  # a run and a row of it
NO_ANSWER = "(no answer)"
CONTEXT_CHARACTERS = 180  # on either side of an answer
UNKNOWN_TEXT = "(the text is not in this study's folder)"
MAX_GOLDS = 4  # gold labels named in the sentence on regressions


@dataclass(frozen=True)
class Flip:
    """One item that at least one pair of seeds answers differently; `gained` and `lost` count pairs.

    `before` and `after` are the labels that most seeds chose. The probabilities are those of the gold
    label, averaged over seeds; None if the arm gives none.
    """

    id: str
    gold: str
    gained: int
    lost: int
    before: str
    after: str
    before_probability: float | None
    after_probability: float | None


@dataclass(frozen=True)
class AnswerChanges:
    """The answers of two arms on the same items; the four counts cover all `seeds` pairs of seeds."""

    arm: str
    over: str
    claim: bool
    items: int
    seeds: int
    both_right: int
    gained: int
    lost: int
    both_wrong: int
    flips: list[Flip]

    def describe_losses(self) -> str:
        """The regressions in words: lost correct answers by gold label."""
        note = f", counted over {self.seeds} pairs of seeds" if self.seeds > 1 else ""
        right_before = self.both_right + self.lost
        correct = f"{right_before:,} correct answers of {self.over}{note}"
        if not self.lost:
            return f"No regressions: {self.arm} keeps all {correct}."
        lost: Counter[str] = Counter()
        for flip in self.flips:
            lost[flip.gold] += flip.lost
        largest = [(gold, count) for gold, count in lost.most_common(MAX_GOLDS) if count]
        counts = [f"{count:,} {show_hidden(gold)}" for gold, count in largest]
        rest = self.lost - sum(count for _, count in largest)
        counts += [f"{rest:,} of other labels"] if rest else []
        return f"Regressions: {self.arm} loses {self.lost:,} of the {correct} ({', '.join(counts)})."


def _seed_pairs(over: ArmPredictions, arm: ArmPredictions) -> list[tuple[AnyPredictions, AnyPredictions]]:
    """Pair equal seeds; an arm without seeds is paired with every seed of the other."""
    if len(over.runs) == 1 or len(arm.runs) == 1:
        return list(product(over.runs, arm.runs))
    by_seed = dict(zip(arm.seeds, arm.runs, strict=True))
    pairs = [(run, by_seed[s]) for s, run in zip(over.seeds, over.runs, strict=True) if s in by_seed]
    return pairs or [(over.runs[0], arm.runs[0])]


def _answer_name(run: AnyPredictions, row: int) -> str:
    if isinstance(run, AnswerPredictions):
        return run.texts[row] or NO_ANSWER
    predicted = int(run.predicted_N[row])
    return "unparsed" if predicted == UNPARSED else run.labels[predicted]


def _gold_probability(cells: Sequence[Cell]) -> float | None:
    probabilities = [
        float(run.probabilities_NC[row, run.gold_N[row]])
        for run, row in cells
        if run.probabilities_NC is not None
    ]
    return float(np.mean(probabilities)) if probabilities else None


def _flip(id_: str, old: list[Cell], new: list[Cell], gained: int, lost: int) -> Flip:
    run, row = new[0]
    gold = run.labels[int(run.gold_N[row])]
    names = [[_answer_name(*cell) for cell in cells] for cells in (old, new)]
    before, after = (max(dict.fromkeys(each), key=each.count) for each in names)  # the most common
    return Flip(id_, gold, gained, lost, before, after, _gold_probability(old), _gold_probability(new))


def compare_answers(over: ArmPredictions, arm: ArmPredictions, claim: bool = False) -> AnswerChanges:
    """Compare two arms item by item, on the items that all their seeds predicted."""
    pairs = _seed_pairs(over, arm)
    shared, rows = _shared_rows(list({id(run): run for pair in pairs for run in pair}.values()))
    gained_N, lost_N = np.zeros(len(shared), dtype=int), np.zeros(len(shared), dtype=int)
    both_right = both_wrong = 0
    for old, new in pairs:
        before_N, after_N = old.right_N[rows[id(old)]], new.right_N[rows[id(new)]]
        gained_N += ~before_N & after_N
        lost_N += before_N & ~after_N
        both_right += int((before_N & after_N).sum())
        both_wrong += int((~before_N & ~after_N).sum())
    flips = []
    for row in np.flatnonzero(gained_N + lost_N).tolist():
        before = [(old, rows[id(old)][row]) for old, _ in pairs]
        after = [(new, rows[id(new)][row]) for _, new in pairs]
        flips.append(_flip(shared[row], before, after, int(gained_N[row]), int(lost_N[row])))
    flips.sort(key=lambda flip: -abs((flip.after_probability or 0) - (flip.before_probability or 0)))
    counts = both_right, int(gained_N.sum()), int(lost_N.sum()), both_wrong
    return AnswerChanges(arm.row.label, over.row.label, claim, len(shared), len(pairs), *counts, flips)


def _shared_rows(runs: Sequence[AnyPredictions]) -> tuple[list[str], dict[int, list[int]]]:
    """The ids that all runs predicted, and their rows in each run, by the run's `id`."""
    rows = {id(run): _indices(run.ids) for run in runs}
    shared = [name for name in runs[0].ids if all(name in row_by_id for row_by_id in rows.values())]
    return shared, {key: [row_by_id[name] for name in shared] for key, row_by_id in rows.items()}


def _find_arm(arms: Sequence[ArmPredictions], name: Any, model: Any) -> ArmPredictions | None:
    """The arm with this name and model; a baseline matches every model."""
    named = [a for a in arms if a.row.arm == name or a.row.label == name]
    exact = [a for a in named if a.row.model == model]
    alone = [a for a in named if a.row.model is None or model is None]
    return next(iter(exact or alone), None)


def compare_all_answers(
    arms: Sequence[ArmPredictions], comparisons: Sequence[dict[str, Any]]
) -> list[AnswerChanges]:
    """The answers of every pair that the study compared, each pair once, the claim first.

    If nothing was compared: the last arm with the first.
    """
    compared: dict[tuple[int, int], AnswerChanges] = {}
    for pair in comparisons:
        arm = _find_arm(arms, pair.get("arm"), pair.get("model"))
        over = _find_arm(arms, pair.get("over"), pair.get("over_model", pair.get("model")))
        if arm and over and arm is not over and (arm.index, over.index) not in compared:
            compared[arm.index, over.index] = compare_answers(over, arm, bool(pair.get("claim")))
        if len(compared) == MAX_PAIRS:
            break
    if not compared and len(arms) > 1:
        compared[0, 0] = compare_answers(arms[0], arms[-1])
    return list(compared.values())


def _shorten(texts: dict[str, str], budget: int) -> tuple[dict[str, str], int]:
    """Shorten the longest texts until all fit the budget in bytes; also returns how many it shortened."""
    if not texts:
        return texts, 0
    sizes = np.array([len(text.encode("utf-8", "replace")) for text in texts.values()])
    if sizes.sum() <= budget:
        return texts, 0
    low, high = 80, int(sizes.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= budget else (low, middle - 1)
    cut = {
        i: text if size <= low else text.encode("utf-8", "replace")[:low].decode("utf-8", "ignore") + " …"
        for (i, text), size in zip(texts.items(), sizes, strict=True)
    }
    return cut, int((sizes > low).sum())


def _texts(
    pairs: Sequence[AnswerChanges], text_by_id: dict[str, str], budget: int
) -> tuple[dict[str, str], int]:
    """The text of every flip; those of the first pair are shortened last."""
    groups = [
        list(dict.fromkeys(f.id for pair in part for f in pair.flips)) for part in (pairs[:1], pairs[1:])
    ]
    first = {i: show_hidden(text_by_id.get(i, UNKNOWN_TEXT)) for i in groups[0]}
    rest = {i: show_hidden(text_by_id.get(i, UNKNOWN_TEXT)) for i in groups[1] if i not in first}
    first, shortened = _shorten(first, budget)
    left = budget - sum(len(text.encode("utf-8", "replace")) for text in first.values())
    rest, also = _shorten(rest, max(left, 0))
    return first | rest, shortened + also


def make_excerpts(
    pairs: Sequence[AnswerChanges], items: Items
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """For every flipped question: the question with the context of its answers, and its gold answers."""
    answers: dict[str, list[str]] = {}
    for pair in pairs:
        for flip in pair.flips:
            answers.setdefault(flip.id, []).extend((flip.after, flip.before))
    texts, golds = {}, {}
    for name, text, stored in zip(items.ids, items.texts, items.questions, strict=True):
        if name not in answers:
            continue
        question = question_from_json(text, stored)
        spans = [(gold.start, len(gold.text)) for gold in question.golds]
        spans += [(question.context.find(a), len(a)) for a in answers[name] if a != NO_ANSWER]
        excerpt = _excerpt(question.context, spans)
        texts[name] = f"{question.question}\n{excerpt}" if question.question else question.context
        golds[name] = tuple(dict.fromkeys(question.answers))
    return texts, golds


def _excerpt(context: str, spans: Sequence[tuple[int, int]]) -> str:
    """The context around the first span (start, length) with a valid start."""
    position, length = next((span for span in spans if span[0] >= 0), (0, 0))
    start, end = max(0, position - CONTEXT_CHARACTERS), position + length + CONTEXT_CHARACTERS
    before, after = "… " if start else "", " …" if end < len(context) else ""
    return f"{before}{context[start:end]}{after}"


def flips_payload(pairs: Sequence[AnswerChanges], items: Items, budget: int = TEXT_BUDGET) -> dict[str, Any]:
    """The values with which the page's script lists, searches and sorts the flips.

    {"labels": [...], "answers": [...], "items": [[id, gold, text, golds], ...], "shortened": int,
    "pairs": [{"name", "arm", "over", "seeds", "flips": [[item, gained, lost, before, after, p_before,
    p_after], ...]}]}; gold is an index into `labels`, item into `items`, before and after into
    `answers` (equal to the labels unless the items are questions). `golds` are a question's accepted
    answers. The texts fit into `budget` bytes.
    """
    flips = [flip for pair in pairs for flip in pair.flips]
    text_by_id = dict(zip(items.ids, items.texts, strict=True))
    accepted: dict[str, tuple[str, ...]] = {}
    if items.questions:
        text_by_id, accepted = make_excerpts(pairs, items)
    gold_by_id = {flip.id: flip.gold for flip in flips}
    ids = [name for name in dict.fromkeys([*items.ids, *gold_by_id]) if name in gold_by_id]
    texts, shortened = _texts(pairs, text_by_id, budget)
    golds, answers = set(gold_by_id.values()), {name for f in flips for name in (f.before, f.after)}
    labels = sorted(golds if items.questions else golds | answers)
    answer_names = sorted(answers) if items.questions else labels
    label_index, item_index, answer_index = _indices(labels), _indices(ids), _indices(answer_names)
    return {
        "questions": bool(items.questions),
        "labels": [show_hidden(name) for name in labels],
        "answers": [show_hidden(name) for name in answer_names],
        "items": [
            [show_hidden(i), label_index[gold_by_id[i]], texts[i], [*map(show_hidden, accepted.get(i, ()))]]
            for i in ids
        ],
        "shortened": shortened,
        "pairs": [_pair_payload(pair, item_index, answer_index) for pair in pairs],
    }


def _indices(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _pair_payload(
    pair: AnswerChanges, item_index: dict[str, int], answer_index: dict[str, int]
) -> dict[str, Any]:
    flips: list[list[Any]] = []
    for flip in pair.flips:
        probabilities = flip.before_probability, flip.after_probability
        rounded = [None if value is None else round(value, 3) for value in probabilities]
        answers = answer_index[flip.before], answer_index[flip.after]
        flips.append([item_index[flip.id], flip.gained, flip.lost, *answers, *rounded])
    arm, over = show_hidden(pair.arm), show_hidden(pair.over)
    return {"name": f"{arm} over {over}", "arm": arm, "over": over, "seeds": pair.seeds, "flips": flips}
