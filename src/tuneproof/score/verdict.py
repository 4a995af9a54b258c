"""Verdicts: a comparison as a value, and what it says in a sentence with numbers.

In: the numbers of comparisons. Out: better, worse or cannot tell, in words.
Knows nothing of: predictions, how the numbers were computed, files.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneproof.metrics import METRICS

Outcome = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """`arm` against `over` by one metric, on the same `n` items.

    `difference` is value - over_value, with its interval `low` to `high`; `only_arm_right` and
    `only_over_right` count the discordant items, summed over the seeds; `seed_spread` is the
    standard deviation of the per-seed difference (None with one seed), `item_error` the standard
    error from items alone; `mde` the smallest difference that these items, this discordance and
    these seeds show with the power of the settings. All in the metric's unit; `in_points`: shown times 100.
    `by_paragraph` is the interval where paragraphs are resampled instead of groups (questions alone).
    """

    arm: str
    over: str
    metric: str
    direction: Literal["up", "down"]
    in_points: bool
    value: float
    over_value: float
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    p_adjusted: float
    claims: int
    test: str
    only_arm_right: int
    only_over_right: int
    n: int
    clusters: int | None
    seeds: int
    seed_spread: float | None
    item_error: float
    mde: float
    outcome: Outcome
    sentence: str
    note: str
    by_paragraph: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def sentence_of(found: Comparison) -> str:
    """The comparison in words: who, by how much, how sure; or what could have been shown."""
    values = f"{_spoken(found.metric)} {_value(found, found.value)} against {_value(found, found.over_value)}"
    unit = " points" if found.in_points else ""
    difference = f"{_difference(found, found.difference, plus=True)}{unit}"
    span = f"{_difference(found, found.low)} to {_difference(found, found.high)}"
    if found.outcome == "cannot tell":
        seeds = f" with {found.seeds} seeds" if found.seeds > 1 else ""
        return (
            f"Cannot tell whether {found.arm} or {found.over} is better: {values}, {difference} "
            f"({span}){_why(found)}{_finer(found)}; this test set{seeds} could have shown "
            f"{_difference(found, found.mde)}{unit}."
        )
    size = f"n = {found.n:,}" + (f" in {found.clusters:,} groups" if found.clusters else "")
    seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""
    return (
        f"{found.arm} is {found.outcome} than {found.over}: {values}, {difference} "
        f"({100 * found.level:g} % interval {span}, {_p(found)}, {size}{seeds}{_finer(found)})."
    )


def _spoken(metric: str) -> str:
    known = METRICS.get(metric)
    return (known.spoken if known else "") or metric.replace("_", " ")


def _finer(found: Comparison) -> str:
    if found.by_paragraph is None:
        return ""
    fine = found.by_paragraph
    low, high = _difference(found, fine["low"]), _difference(found, fine["high"])
    return f"; by {fine['clusters']:,} paragraphs {low} to {high}"


def verdict(claims: Sequence[Comparison], baselines: Sequence[Comparison] = ()) -> dict[str, Any]:
    """The study's verdict: outcome and sentence of the first claim, and every claim.

    A later claim that does not hold is said with its difference.
    `baselines` compare trained arms with arms that need no training (as `over`): a second sentence
    names each trained arm that its baseline beats or matches. Without claims the outcome is
    "cannot tell".

    Keys: outcome, sentence, claims [Comparison as values], baselines [the same], no_better_than_baseline
    [{arm, baseline, outcome}].
    """
    outcome, sentence = "cannot tell", "No claim was made: there is nothing to compare."
    if claims:
        outcome, sentence = claims[0].outcome, claims[0].sentence
    failed = [each for each in claims[1:] if each.outcome != "better"]
    for each in failed:
        sentence = f"{sentence} Another claim does not stand: {each.sentence}"
    beaten = [each for each in baselines if each.outcome != "better"]
    said = {(each.arm, each.over, each.metric) for each in [*claims[:1], *failed]}
    unsaid = [each for each in beaten if (each.arm, each.over, each.metric) not in said]
    if unsaid:
        other = unsaid[0].metric if claims and unsaid[0].metric != claims[0].metric else ""
        by = f"by {_spoken(other)} " if other else ""
        sentence = f"{sentence} Beware: {by}{_beware(unsaid)}."
    return {
        "outcome": outcome,
        "sentence": sentence,
        "claims": [each.as_json() for each in claims],
        "baselines": [each.as_json() for each in baselines],
        "no_better_than_baseline": [
            {"arm": each.arm, "baseline": each.over, "outcome": each.outcome} for each in beaten
        ],
    }


def _beware(beaten: Sequence[Comparison]) -> str:
    """Each baseline, the strongest first, with the trained arms that it beats or matches.

    An arm is named once, beside the strongest baseline that it does not beat.
    """
    up = beaten[0].direction == "up"
    strongest = sorted(beaten, key=lambda each: each.over_value, reverse=up)
    parts, named = [], set()
    for over in dict.fromkeys(each.over for each in strongest):
        found = [each for each in beaten if each.over == over and each.arm not in named]
        named |= {each.arm for each in found}
        worse = [_named(each) for each in found if each.outcome == "worse"]
        alike = [_named(each) for each in found if each.outcome != "worse"]
        said = [f"is better than {_listed(worse)}"] if worse else []
        said += [f"cannot be told from {_listed(alike)}"] if alike else []
        if found:
            value = _value(found[0], found[0].over_value)
            parts.append(f"the baseline {over} ({value}) {' and '.join(said)}")
    return "; ".join(parts)


def _named(found: Comparison) -> str:
    return f"{found.arm} ({_value(found, found.value)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _why(found: Comparison) -> str:
    spread = found.seed_spread
    if spread is not None and 0 < abs(found.difference) <= spread:
        unit = " points" if found.in_points else ""
        return f", inside the spread of the seeds of {_difference(found, spread)}{unit}"
    if found.claims > 1 and found.p_value < 1 - found.level <= found.p_adjusted:
        return f", {_p(found)}"
    return ""


def _value(found: Comparison, value: float) -> str:
    return f"{100 * value:.1f} %" if found.in_points else f"{value:.3f}"


def _difference(found: Comparison, value: float, plus: bool = False) -> str:
    """One decimal, or two where an end of the interval would else read as 0.0."""
    near = min(abs(found.low), abs(found.high), found.mde)
    if found.in_points:
        digits = f"{abs(100 * value):.{1 if 100 * near >= 0.05 else 2}f}"
    else:
        digits = f"{abs(value):.{3 if near >= 0.0005 else 4}f}"
    if not digits.strip("0."):
        return digits
    return f"{'−' if value < 0 else '+' if plus else ''}{digits}"


def _p(found: Comparison) -> str:
    p = found.p_adjusted
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    after = f" after Holm's correction for {found.claims} claims" if found.claims > 1 else ""
    return f"{found.test} {shown}{after}"
