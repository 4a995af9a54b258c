"""The one arm to take: the cheapest that is as good as the best, why, its cost, and what would change it.

In: a study read back. Out: a Recommendation, in sentences. Knows nothing of: HTML, how arms were compared.

The best was chosen on dev, and each arm was compared with it on test, corrected for their number, before
costs were looked at (`record/as_good.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.metrics import METRICS
from tuneproof.record.as_good import AS_GOOD, BEST
from tuneproof.record.costs import SECONDS, ArmCost, study_costs
from tuneproof.record.study_folder import StudyRecord
from tuneproof.report.cost_text import amount_text, break_even_text, cost_text, latency_text
from tuneproof.report.formatting import format_percent
from tuneproof.score.verdict import join_names, metric_name

FAR = 10  # margins: a difference that nobody would accept is not worth a sentence


@dataclass(frozen=True)
class Recommendation:
    """The arm to take, in sentences: why, what it costs, what would change that, what is uncertain.

    name: of the arm, with its model if the study has several. equals: the arms that are as good as the best.
    """

    name: str
    arm: str
    model: str | None
    best: str
    equals: tuple[str, ...]
    reason: str
    cost: str
    would_change: tuple[str, ...]
    uncertain: tuple[str, ...]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """A title and a paragraph for each part that is not empty."""
        parts = (
            ("Take", f"{self.name}: {self.reason}"),
            ("Cost", self.cost),
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

    def is_cheaper(self, over: "_Candidate") -> bool:
        """Whether an item costs less by more than the spread; among equals, whether it costs less once."""
        own, other = self.cost.per_item, over.cost.per_item
        if own is None or other is None:
            return own is not None
        if own.overlaps(other):
            return self.cost.once < over.cost.once
        return own.value < other.value


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
    return Recommendation(
        name=recommended.name,
        arm=recommended.cost.arm,
        model=recommended.cost.model,
        best=best.name,
        equals=tuple(candidate.name for candidate in candidates if candidate.is_as_good),
        reason=_reason(compared, recommended, candidates),
        cost=_cost(recommended.cost),
        would_change=tuple(_changes(compared, recommended, candidates)),
        uncertain=tuple(_doubts(compared, recommended, best, candidates)),
    )


def _order(candidate: _Candidate) -> tuple[float, float]:
    cost = candidate.cost
    return (cost.per_item.value if cost.per_item else float("inf")), cost.once


def _reason(compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]) -> str:
    margin, metric = _size(compared, compared["margin"]), compared["metric"]
    value = _value(compared, compared["dev_score"])
    on_dev = f"on dev ({metric_name(metric)} {value})"
    if recommended.name != compared["best"]:
        test = f"on test {_difference(compared, recommended)}"
        lead = f"the cheapest arm that is as good as {compared['best']}, the best {on_dev}"
        return f"{lead}, within {margin}: {test}."
    cheaper = [candidate for candidate in candidates if candidate.is_cheaper(recommended)]
    if not cheaper:
        return f"the best {on_dev}, and none is cheaper."
    return f"the best {on_dev}; no cheaper arm is shown to be as good within {margin}."


def _cost(cost: ArmCost) -> str:
    """What the arm costs, in one or two sentences."""
    latency = cost.latency_s
    tail = next((name for name in ("p99", "p95") if name in latency), None)
    tail_text = f" ({tail} {latency_text(latency[tail])})" if tail else ""
    single = f" A single item takes {latency_text(latency['p50'])}{tail_text}." if latency else ""
    if cost.per_item is None:
        return f"The cost of an item is not known: {cost.reason}.{single}"
    thousand = amount_text(cost.per_thousand, cost.unit)
    once = _once(cost)
    if cost.unit == SECONDS:
        return (
            f"{thousand} for 1,000 items{once}, in time of this machine.{single} Prices turn it into money."
        )
    return f"{thousand} for 1,000 items{once}.{single}"


def _once(cost: ArmCost) -> str:
    parts = [("training", cost.training), (f"{cost.labels or 0:,} labels", cost.label_cost)]
    named = [f"{cost_text(value, cost.unit)} for {name}" for name, value in parts if value]
    return f", and once {join_names(named)}" if named else ""


def _changes(
    compared: Mapping[str, Any], recommended: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """The margin at which a cheaper arm would do, fewer items, more training, another price."""
    sentences = []
    cheaper = [c for c in candidates if c.is_cheaper(recommended) and "low" in c.entry and not c.is_as_good]
    nearest = max(cheaper, key=lambda candidate: candidate.entry["low"], default=None)
    if nearest is not None and -nearest.entry["low"] <= FAR * compared["margin"]:
        sentences.append(
            f"A margin of {_size(compared, -nearest.entry['low'])} would be met by {nearest.name}, which is "
            "cheaper."
        )
    for candidate in candidates:
        pays = candidate.cost.pays_against(recommended.cost)
        if candidate.is_as_good and candidate is not recommended and pays and pays.items:
            sentences.append(f"{candidate.name}, as good, is cheaper in all {break_even_text(pays)}.")
    if not sentences and not any(c.is_as_good for c in candidates if c is not recommended):
        return ["No price would: no other arm is shown to be as good."]
    return sentences


def _doubts(
    compared: Mapping[str, Any], recommended: _Candidate, best: _Candidate, candidates: Sequence[_Candidate]
) -> list[str]:
    """Where the reader would otherwise go wrong."""
    sentences = []
    untried = [c for c in candidates if c.entry["under_trained"] and (c is recommended or not c.is_as_good)]
    sentences += [f"{c.entry['under_trained']}: it may be better than it seems." for c in untried]
    better = [c.name for c in candidates if c.entry["outcome"] == AS_GOOD[0] and c is not recommended]
    if better:
        verb = "is" if len(better) == 1 else "are"
        sentences.append(
            f"{join_names(better)} {verb} better than {best.name} on test by more than the margin, which dev "
            "did not show."
        )
    if recommended is best:
        sentences += _open_questions(
            compared, [c for c in candidates if c is not recommended and c not in untried]
        )
    unknown = [c for c in candidates if c.cost.per_item is None]
    sentences += [
        f"The cost of {c.name} is not known ({c.cost.reason}), so it was not taken as cheap." for c in unknown
    ]
    if compared["is_default"]:
        sentences.append(
            f"The margin of {_size(compared, compared['margin'])} is the default; the claim's margin sets it."
        )
    return sentences


def _open_questions(compared: Mapping[str, Any], others: Sequence[_Candidate]) -> list[str]:
    """That test does not rule out that other arms are better than the best on dev."""
    possible = [candidate for candidate in others if _may_be_better(candidate, compared["margin"])]
    if not possible:
        return []
    ahead = max(possible, key=lambda candidate: candidate.entry["difference"])
    names = join_names([candidate.name for candidate in possible])
    value, most = (_signed(compared, ahead.entry[key]) for key in ("difference", "high"))
    return [
        f"Test does not rule out that {names} {'is' if len(possible) == 1 else 'are'} better by more than "
        f"the margin ({ahead.name}: {value}, at most {most}): more dev and test items would tell."
    ]


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
    count = compared["compared"]
    corrected = f", corrected for {count:.0f} comparisons" if count > 1 else ""
    side = f"above {low} with {format_percent((1 + entry['level']) / 2, 1)} % confidence"
    return f"{value} ({side}{corrected})"


def _value(compared: Mapping[str, Any], value: float) -> str:
    return f"{format_percent(value)} %" if _in_points(compared) else f"{value:.3f}"


def _in_points(compared: Mapping[str, Any]) -> bool:
    metric = METRICS[compared["metric"]]
    return metric.high - metric.low == 1.0
