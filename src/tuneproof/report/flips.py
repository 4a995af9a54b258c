"""What changed between two arms: the items that flipped either way, with both arms' probabilities.

In: arms with predictions, the items, the comparisons. Out: plain values, compact enough for a page.
Knows nothing of: HTML, statistics, how anything was predicted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import Predicted
from tuneproof.metrics.metric import UNPARSED
from tuneproof.record.study_folder import Items
from tuneproof.report.rounding import visible
from tuneproof.report.slices import Answers
from tuneproof.tasks.question_rows import asked_from

TEXT_BUDGET = 12_000_000
PAIRS = 12
Cell = tuple[Predicted, int]  # a table and a row in it
NO_ANSWER = "(no answer)"
AROUND = 180  # characters of the context shown on either side of an answer
UNKNOWN_TEXT = "(the text is not in this study's folder)"
MOST_GOLDS = 4  # gold labels named of the lost answers


@dataclass(frozen=True)
class Flip:
    """One item that at least one seed answers differently. `gained` counts seeds, `lost` too.

    `before` and `after` are the labels that most seeds chose; the probabilities are of the gold
    label, means over seeds, None where the arm gives none.
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
class Change:
    """Two arms on the same items. The four counts run over items and `seeds` pairs of seeds."""

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

    def worse(self) -> str:
        """What got worse, in words: right answers that were lost, by their gold label."""
        each = f" (over {self.seeds} pairs of seeds)" if self.seeds > 1 else ""
        if not self.lost:
            return f"Nothing got worse: {self.arm} has right whatever {self.over} has right{each}."
        lost: Counter[str] = Counter()
        for flip in self.flips:
            lost[flip.gold] += flip.lost
        most = [(gold, count) for gold, count in lost.most_common(MOST_GOLDS) if count]
        said = [f"{count:,} {visible(gold)}" for gold, count in most]
        rest = self.lost - sum(count for _, count in most)
        said += [f"{rest:,} of other labels"] if rest else []
        held = self.both_right + self.lost
        return (
            f"What got worse: of {held:,} answers that {self.over} has right, {self.arm} has "
            f"{self.lost:,} wrong{each}: {', '.join(said)}."
        )


def _seed_pairs(over: Answers, arm: Answers) -> list[tuple[Predicted, Predicted]]:
    """Seed beside seed; an arm without seeds stands beside every seed of the other."""
    if len(over.tables) == 1 or len(arm.tables) == 1:
        return list(product(over.tables, arm.tables))
    mine = dict(zip(arm.seeds, arm.tables, strict=True))
    pairs = [(t, mine[s]) for s, t in zip(over.seeds, over.tables, strict=True) if s in mine]
    return pairs or [(over.tables[0], arm.tables[0])]


def _most(names: Sequence[str]) -> str:
    return max(dict.fromkeys(names), key=names.count)


def _name(table: Predicted, place: int) -> str:
    if isinstance(table, AnswerPredictions):
        return table.texts[place] or NO_ANSWER
    predicted = int(table.predicted_N[place])
    return "unparsed" if predicted == UNPARSED else table.labels[predicted]


def _of_gold(tables: Sequence[Cell]) -> float | None:
    known = [
        float(table.probabilities_NC[place, table.gold_N[place]])
        for table, place in tables
        if table.probabilities_NC is not None
    ]
    return float(np.mean(known)) if known else None


def _flip(id_: str, old: list[Cell], new: list[Cell], gained: int, lost: int) -> Flip:
    table, place = new[0]
    return Flip(
        id_,
        table.labels[int(table.gold_N[place])],
        gained,
        lost,
        _most([_name(*cell) for cell in old]),
        _most([_name(*cell) for cell in new]),
        _of_gold(old),
        _of_gold(new),
    )


def change(over: Answers, arm: Answers, claim: bool = False) -> Change:
    """Compare two arms item by item, on the items that all their seeds have."""
    pairs = _seed_pairs(over, arm)
    tables = list({id(t): t for pair in pairs for t in pair}.values())
    places = {id(t): {name: at for at, name in enumerate(t.ids)} for t in tables}
    shared = [i for i in tables[0].ids if all(i in places[id(t)] for t in tables)]
    where = {id(t): [places[id(t)][i] for i in shared] for t in tables}
    right = {id(t): t.right_N[where[id(t)]] for t in tables}
    gained_N, lost_N = np.zeros(len(shared), dtype=int), np.zeros(len(shared), dtype=int)
    both_right = both_wrong = 0
    for old, new in pairs:
        before_N, after_N = right[id(old)], right[id(new)]
        gained_N += ~before_N & after_N
        lost_N += before_N & ~after_N
        both_right += int((before_N & after_N).sum())
        both_wrong += int((~before_N & ~after_N).sum())
    flips = [
        _flip(
            shared[at],
            [(old, where[id(old)][at]) for old, _ in pairs],
            [(new, where[id(new)][at]) for _, new in pairs],
            int(gained_N[at]),
            int(lost_N[at]),
        )
        for at in np.flatnonzero(gained_N + lost_N).tolist()
    ]
    flips.sort(key=lambda flip: -abs((flip.after_probability or 0) - (flip.before_probability or 0)))
    return Change(
        arm=arm.row.label,
        over=over.row.label,
        claim=claim,
        items=len(shared),
        seeds=len(pairs),
        both_right=both_right,
        gained=int(gained_N.sum()),
        lost=int(lost_N.sum()),
        both_wrong=both_wrong,
        flips=flips,
    )


def _find(answers: Sequence[Answers], name: Any, model: Any) -> Answers | None:
    """The arm of that name and model; a baseline stands beside every model."""
    named = [a for a in answers if a.row.arm == name or a.row.label == name]
    exact = [a for a in named if a.row.model == model]
    alone = [a for a in named if a.row.model is None or model is None]
    return next(iter(exact or alone), None)


def changes(answers: Sequence[Answers], comparisons: Sequence[dict[str, Any]]) -> list[Change]:
    """The changes that the study compared, each pair once, the claim first.

    Where nothing was compared: the last arm beside the first.
    """
    made: dict[tuple[int, int], Change] = {}
    for pair in comparisons:
        arm = _find(answers, pair.get("arm"), pair.get("model"))
        over = _find(answers, pair.get("over"), pair.get("over_model", pair.get("model")))
        if arm and over and arm is not over and (arm.arm, over.arm) not in made:
            made[arm.arm, over.arm] = change(over, arm, bool(pair.get("claim")))
        if len(made) == PAIRS:
            break
    if not made and len(answers) > 1:
        made[0, 0] = change(answers[0], answers[-1])
    return list(made.values())


def _cut(texts: dict[str, str], budget: int) -> tuple[dict[str, str], int]:
    """Shorten the longest texts until all fit the budget; says how many were shortened."""
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


def _texts(made: Sequence[Change], known: dict[str, str], budget: int) -> tuple[dict[str, str], int]:
    """Texts of every flip; the first pair's keep their length as long as they can."""
    groups = [list(dict.fromkeys(f.id for pair in part for f in pair.flips)) for part in (made[:1], made[1:])]
    first = {i: visible(known.get(i, UNKNOWN_TEXT)) for i in groups[0]}
    rest = {i: visible(known.get(i, UNKNOWN_TEXT)) for i in groups[1] if i not in first}
    first, shortened = _cut(first, budget)
    left = budget - sum(len(text.encode("utf-8", "replace")) for text in first.values())
    rest, also = _cut(rest, max(left, 0))
    return first | rest, shortened + also


def excerpts(made: Sequence[Change], items: Items) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """For every flipped question: the question with what stands around its answers, and its golds."""
    said: dict[str, list[str]] = {}
    for pair in made:
        for flip in pair.flips:
            said.setdefault(flip.id, []).extend((flip.after, flip.before))
    texts, golds = {}, {}
    for name, text, stored in zip(items.ids, items.texts, items.asked, strict=True):
        if name not in said:
            continue
        asked = asked_from(text, stored)
        places = [(gold.start, len(gold.text)) for gold in asked.golds if gold.start >= 0]
        places += [(asked.context.find(one), len(one)) for one in said[name] if one != NO_ANSWER]
        at, length = next(((p, n) for p, n in places if p >= 0), (0, 0))
        start, end = max(0, at - AROUND), min(len(asked.context), at + length + AROUND)
        before, after = "… " if start else "", " …" if end < len(asked.context) else ""
        texts[name] = f"{asked.question}\n{before}{asked.context[start:end]}{after}"
        golds[name] = tuple(dict.fromkeys(asked.answers))
    return texts, golds


def payload(made: Sequence[Change], items: Items, budget: int = TEXT_BUDGET) -> dict[str, Any]:
    """What the page's script needs to list, search and sort the flips.

    {"labels": [...], "answers": [...], "items": [[id, gold, text, golds], ...], "shortened": int,
    "pairs": [{"name", "arm", "over", "seeds", "flips": [[item, gained, lost, before, after, p_before,
    p_after], ...]}]}; gold is a place in `labels`, item in `items`, before and after in `answers`
    (which are the labels again unless the items are questions). `golds` are a question's accepted
    answers. The texts stay within `budget` bytes.
    """
    answers = {name for pair in made for f in pair.flips for name in (f.before, f.after)}
    known = dict(zip(items.ids, items.texts, strict=True))
    accepted: dict[str, tuple[str, ...]] = {}
    if items.asked:
        known, accepted = excerpts(made, items)
    flipped = {flip.id: flip.gold for pair in made for flip in pair.flips}
    golds = {i: flipped[i] for i in [*items.ids, *flipped] if i in flipped}
    texts, shortened = _texts(made, known, budget)
    place = {name: at for at, name in enumerate(golds)}
    golds_there = {f.gold for pair in made for f in pair.flips}
    labels = sorted(golds_there if items.asked else golds_there | answers)
    said = sorted(answers) if items.asked else labels
    at_label = {name: at for at, name in enumerate(labels)}
    at_answer = {name: at for at, name in enumerate(said)}

    def short(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return {
        "questions": bool(items.asked),
        "labels": [visible(name) for name in labels],
        "answers": [visible(name) for name in said],
        "items": [
            [visible(i), at_label[golds[i]], texts[i], [visible(a) for a in accepted.get(i, ())]]
            for i in golds
        ],
        "shortened": shortened,
        "pairs": [
            {
                "name": visible(f"{pair.arm} over {pair.over}"),
                "arm": visible(pair.arm),
                "over": visible(pair.over),
                "seeds": pair.seeds,
                "flips": [
                    [
                        place[f.id],
                        f.gained,
                        f.lost,
                        at_answer[f.before],
                        at_answer[f.after],
                        short(f.before_probability),
                        short(f.after_probability),
                    ]
                    for f in pair.flips
                ],
            }
            for pair in made
        ],
    }
