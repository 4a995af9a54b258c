"""The one arm to take: the cheapest that is as good as the best, why, its cost, and what would change it.

In: a study read back. Out: a Recommendation, in sentences. Knows nothing of: HTML, how arms were compared.

The best was chosen on dev, and each arm was compared with it on test, corrected for their number, before
costs were looked at (`record/as_good.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.as_good import AS_GOOD, BEST, LEFT_OUT
from tuneproof.record.costs import ArmCost, study_costs
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.cost_text import break_even_sentence, break_even_text, items_of_cost
from tuneproof.report.formatting import format_percent
from tuneproof.report.prices import study_prices
from tuneproof.report.recommended_cost import recommended_cost
from tuneproof.report.recommended_on_test import ON_TEST_TITLE, on_test
from tuneproof.score.cost import BreakEven
from tuneproof.score.verdict import join_names, metric_name

PAYS_TITLE = "When it pays"
WORSE = "worse by more"
FEW = 3  # arms that a sentence names
FAR = 10  # margins: a difference that nobody would accept is not worth a sentence


@dataclass(frozen=True)
class Recommendation:
    """The arm to take, in sentences: why, what it costs, what would change that, what is uncertain.

    name: of the arm, with its model if the study has several. equals: the arms that are as good as the best.
    on_test: what test shows of it and the others, and what chose it; pairs: those comparisons, without that
    with the best arm on dev by which another arm was recommended.
    pays: from how many items it costs less than each other arm.
    """

    name: str
    arm: str
    model: str | None
    best: str
    equals: tuple[str, ...]
    reason: str
    on_test: str
    cost: str
    pays: str
    would_change: tuple[str, ...]
    uncertain: tuple[str, ...]
    pairs: tuple[dict[str, Any], ...]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """A title and a paragraph for each part that is not empty."""
        parts = (
            ("Take", f"{self.name}: {self.reason}"),
            (ON_TEST_TITLE, self.on_test),
            ("Cost", self.cost),
            (PAYS_TITLE, self.pays),
            ("What would change it", " ".join(self.would_change)),
            ("Uncertain", " ".join(self.uncertain)),
        )
        return [(title, text) for title, text in parts if text]

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Candidate:
    """An arm with what test shows of it and what it costs."""

    entry: Mapping[str, Any]
    cost: ArmCost

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def is_as_good(self) -> bool:
        return self.entry["outcome"] in (*AS_GOOD, BEST)

    @property
    def is_worse(self) -> bool:
        """Whether dev or test shows that it is worse by more than the margin."""
        return self.entry["outcome"] in (LEFT_OUT, WORSE)

    @property
    def is_open(self) -> bool:
        """Whether test compared it, and shows neither."""
        return "low" in self.entry and not self.is_as_good and not self.is_worse

    def is_cheaper(self, over: "_Candidate") -> bool:
        """Whether an item costs less by more than the spread; among equals, whether it costs less once."""
        own, other = self.cost.per_item, over.cost.per_item
        if own is None or other is None:
            return own is not None
        if own.overlaps(other):
            return self.cost.once < over.cost.once
        return own.value < other.value


def _costing_less_than(over: _Candidate, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The arms that are shown to cost less; none where one of both costs is not known."""
    return [c for c in candidates if over.cost.per_item is not None and c.is_cheaper(over)]


def recommend(study: StudyRecord) -> Recommendation | None:
    """The recommendation; None where the study compared no arms, or was concluded before there was one."""
    compared = study.comparisons.get("as_good")
    if not compared:
        return None
    costs = {(cost.arm, cost.model): cost for cost in study_costs(study)}
    keyed = [(entry, costs.get((entry["arm"], entry.get("model")))) for entry in compared["arms"]]
    candidates = [_Candidate(entry, cost) for entry, cost in keyed if cost is not None]
    best = next((candidate for candidate in candidates if candidate.name == compared["best"]), None)
    if best is None:
        return None
    recommended = best
    for candidate in sorted(candidates, key=_order):
        if candidate.is_as_good and candidate.is_cheaper(recommended):
            recommended = candidate
    pairs = _exploratory_pairs(compared, recommended)
    return Recommendation(
        name=recommended.name,
        arm=recommended.cost.arm,
        model=recommended.cost.model,
        best=best.name,
        equals=tuple(candidate.name for candidate in candidates if candidate.is_as_good),
        reason=_reason(compared, recommended, candidates),
        on_test=on_test(pairs, best.name, compared["compared"] > 0),
        cost=_cost(study, recommended, costs.values()),
        pays=_pays(recommended, candidates),
        would_change=tuple(_changes(compared, recommended, candidates)),
        uncertain=tuple(_doubts(compared, recommended, best, candidates)),
        pairs=tuple(pairs),
    )


def _exploratory_pairs(compared: Mapping[str, Any], recommended: _Candidate) -> list[dict[str, Any]]:
    """Its comparisons on test, without that with the best on dev, by which test let it be recommended."""
    pairs = [pair for pair in compared.get("pairs") or [] if pair["arm"] == recommended.name]
    return [pair for pair in pairs if pair["over"] != compared["best"]]


def _order(candidate: _Candidate) -> tuple[float, float]:
    cost = candidate.cost
    return (cost.per_item.value if cost.per_item else float("inf")), cost.once


def _cost(study: StudyRecord, recommended: _Candidate, costs: Iterable[ArmCost]) -> str:
    """What the recommended arm costs, for as many items as the table of costs."""
    count = items_of_cost([cost.per_item for cost in costs], recommended.cost.unit)
    return recommended_cost(recommended.cost, study_prices(study), count)


def _reason(compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]) -> str:
    margin, metric = _size(compared, compared["margin"]), compared["metric"]
    value = _value(compared, compared["dev_score"])
    on_dev = f"on dev ({metric_name(metric)} {value})"
    if recommended.name != compared["best"]:
        test = f"{_difference(compared, recommended)} on test"
        unknown = any(c.is_as_good and c.cost.per_item is None for c in candidates)
        arms = "arms of known cost that are" if unknown else "arms"
        lead = f"the cheapest per item of the {arms} as good as {compared['best']}, the best {on_dev}"
        return f"{lead}, within {margin}: {test}."
    if recommended.cost.per_item is None:
        return f"the best {on_dev}; no arm of known cost is shown to be as good within {margin}."
    return f"the best {on_dev}; {_cheaper_ones(_costing_less_than(recommended, candidates), margin)}."


def _cheaper_ones(cheaper: Sequence[_Candidate], margin: str) -> str:
    """What is shown of the arms that cost less per item than the best, none of which is as good."""
    if not cheaper:
        return "no arm is shown to cost less per item"
    undecided = [candidate.name for candidate in cheaper if not candidate.is_worse]
    if undecided:
        rest = f"{_are(undecided)} not shown to be worse by more either"
        return f"no arm that costs less per item is shown to be as good within {margin} ({rest})"
    on_test = {candidate.entry["outcome"] == WORSE for candidate in cheaper}
    by = {(False,): "dev shows", (True,): "test shows"}.get(tuple(on_test), "dev and test show")
    return f"{by} {_costing_less(cheaper)} to be worse by more than {margin}"


def _costing_less(cheaper: Sequence[_Candidate]) -> str:
    if len(cheaper) > FEW:
        return f"all {len(cheaper)} arms that cost less per item"
    names = join_names([candidate.name for candidate in cheaper])
    return f"{names}, which {'costs' if len(cheaper) == 1 else 'cost'} less per item,"


def _pays(recommended: _Candidate, candidates: Sequence[_Candidate]) -> str:
    """From how many items the recommended arm costs less than each other one."""
    if recommended.cost.per_item is None:
        return ""
    others = [candidate for candidate in candidates if candidate is not recommended]
    pairs = [(candidate.name, recommended.cost.pays_against(candidate.cost)) for candidate in others]
    return break_even_sentence(pairs, recommended.cost.unit)


def _changes(
    compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """The margin at which a cheaper arm would do, fewer items, more test items, another price."""
    sentences = _nearest_margin(compared, recommended, candidates)
    others_as_good = [c for c in candidates if c.is_as_good and c is not recommended]
    for candidate in others_as_good:
        pays = candidate.cost.pays_against(recommended.cost)
        if pays and pays.items:
            sentences.append(f"{candidate.name}, as good, costs less in all {break_even_text(pays)}.")
    if not sentences and not others_as_good:
        margin = _size(compared, compared["margin"])
        sentences.append(f"No price would change it: no other arm is shown to be as good within {margin}.")
    return sentences + _undecided(compared, recommended, candidates)


def _nearest_margin(
    compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """The margin at which an arm that costs less per item would do, unless nobody would accept it."""
    less = _costing_less_than(recommended, candidates)
    cheaper = [c for c in less if "low" in c.entry and not c.is_as_good]
    nearest = max(cheaper, key=lambda candidate: candidate.entry["low"], default=None)
    if nearest is None or -nearest.entry["low"] > FAR * compared["margin"]:
        return []
    margin = _size(compared, -nearest.entry["low"])
    loss = f"If a loss of up to {margin} were acceptable"
    return [f"{loss}, {nearest.name} would do, which costs less per item."]


def _may_cost_less(
    recommended: _Candidate, candidates: Sequence[_Candidate]
) -> list[tuple[_Candidate, BreakEven | None]]:
    """The arms that are shown neither to be as good nor worse by more, and up to when they cost less."""
    open_ones = [candidate for candidate in candidates if candidate is not recommended and candidate.is_open]
    pairs = [(candidate, candidate.cost.pays_against(recommended.cost)) for candidate in open_ones]
    return [(candidate, pays) for candidate, pays in pairs if pays is None or pays.outcome != "never"]


def _undecided(
    compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """What more test items, or few items to predict, might change."""
    pairs = _may_cost_less(recommended, candidates)
    if not pairs:
        return []
    names = [f"{candidate.name} ({_test_interval(compared, candidate)})" for candidate, _ in pairs]
    within = f"as good within {_size(compared, compared['margin'])}"
    size = {"from": "Many", "up to": "Few"}
    items = [
        f"{size[pays.outcome]} items might: {candidate.name} costs less in all {break_even_text(pays)}."
        for candidate, pays in pairs
        if pays and pays.items and pays.outcome in size
    ]
    return [f"More test items might: whether {_are(names)} {within} is not decided.", *items]


def _test_interval(compared: Mapping[str, Any], candidate: _Candidate) -> str:
    """The difference on test, with the interval that decided."""
    value, low, high = (_signed(compared, candidate.entry[key]) for key in ("difference", "low", "high"))
    low, high = (end.removesuffix(" points").removesuffix(" point") for end in (low, high))
    return f"{value} on test, between {low} and {high}{_corrected(compared)}"


def _doubts(
    compared: Mapping[str, Any], recommended: _Candidate, best: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """Where the reader would otherwise go wrong."""
    sentences = []
    untried = [c for c in candidates if c.entry["under_trained"] and (c is recommended or not c.is_as_good)]
    sentences += [f"{c.entry['under_trained']}: it may be better than it seems." for c in untried]
    better = [c.name for c in candidates if c.entry["outcome"] == AS_GOOD[0] and c is not recommended]
    if better:
        sentences.append(
            f"{_are(better)} better than {best.name} on test by more than the margin, which dev did not show."
        )
    if recommended is best:
        sentences += _open_questions(
            compared, [c for c in candidates if c is not recommended and c not in untried]
        )
    return sentences + _assumptions(compared, candidates)


def _assumptions(compared: Mapping[str, Any], candidates: Sequence[_Candidate]) -> list[str]:
    """Costs that are not known, and a margin that nobody chose."""
    unknown: dict[str, list[str]] = {}
    for candidate in candidates:
        if candidate.cost.per_item is None:
            unknown.setdefault(candidate.cost.reason, []).append(candidate.name)
    sentences = [_unknown_cost(names, reason) for reason, names in unknown.items()]
    if compared["is_default"]:
        sentences.append(
            f"The margin of {_size(compared, compared['margin'])} is the default; the claim's margin sets it."
        )
    return sentences


def _unknown_cost(names: Sequence[str], reason: str) -> str:
    if len(names) == 1:
        return f"The cost of {names[0]} is not known ({reason}), so it was not taken as cheap."
    costs = f"The costs of {join_names(names)} are not known (of each: {reason})"
    return f"{costs}, so they were not taken as cheap."


def _open_questions(compared: Mapping[str, Any], others: Sequence[_Candidate]) -> list[str]:
    """That test does not rule out that other arms are better than the best on dev."""
    possible = [candidate for candidate in others if _may_be_better(candidate, compared["margin"])]
    if not possible:
        return []
    ahead = max(possible, key=lambda candidate: candidate.entry["difference"])
    names = _are([candidate.name for candidate in possible])
    value, most = (_signed(compared, ahead.entry[key]) for key in ("difference", "high"))
    return [
        f"Test does not rule out that {names} better by more than "
        f"the margin ({ahead.name}: {value}, at most {most}): more dev and test items would tell."
    ]


def _are(names: Sequence[str]) -> str:
    """The names as the subject of a sentence: "a and b are"."""
    return f"{join_names(names)} {'is' if len(names) == 1 else 'are'}"


def _may_be_better(candidate: _Candidate, margin: float) -> bool:
    """Whether test favours the arm and does not rule out that it is better by more than the margin."""
    entry = candidate.entry
    return (
        "high" in entry
        and entry["difference"] > 0
        and entry["high"] > margin
        and entry["outcome"] != AS_GOOD[0]
    )


def _signed(compared: Mapping[str, Any], value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{_size(compared, value)}"


def _size(compared: Mapping[str, Any], value: float) -> str:
    """A margin or a difference without its sign: 1 point, 2.5 points."""
    if not _in_points(compared):
        return f"{abs(value):.3g}"
    text = f"{abs(100 * value):.2g}" if abs(value) < 0.1 else f"{abs(100 * value):.0f}"
    return f"{text} {'point' if text == '1' else 'points'}"


def _difference(compared: Mapping[str, Any], candidate: _Candidate) -> str:
    entry = candidate.entry
    value, low = (_signed(compared, entry[key]) for key in ("difference", "low"))
    low = low.removesuffix(" points").removesuffix(" point")
    return f"{value} (at least {low}{_corrected(compared)})"


def _corrected(compared: Mapping[str, Any]) -> str:
    count = compared["compared"]
    return f", corrected for {count:.0f} comparisons" if count > 1 else ""


def _value(compared: Mapping[str, Any], value: float) -> str:
    return f"{format_percent(value)} %" if _in_points(compared) else f"{value:.3f}"


def _in_points(compared: Mapping[str, Any]) -> bool:
    metric = METRICS[compared["metric"]]
    return metric.high - metric.low == 1.0
