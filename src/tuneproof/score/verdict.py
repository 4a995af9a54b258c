"""Verdicts: a comparison as a value, and as a sentence with its numbers.

In: the numbers of comparisons. Out: sentences, and the study's verdict.
Knows nothing of: predictions, how the numbers were computed, files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tuneproof.metrics import METRICS
from tuneproof.score.intervals import Estimate
from tuneproof.score.margin import MarginOutcome, MarginVerdict, judge_margin

Outcome = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """`arm` compared with `over` by one metric, on the same `n` items.

    `difference` is value - over_value, with its interval `low` to `high`; `only_arm_right` and
    `only_over_right` count the discordant items, summed over the seeds; `item_error` is the standard
    error from items only; `mde` is the smallest difference that these items, this discordance and these
    seeds detect with the power of the settings. All are in the metric's unit, written times 100 if
    `in_points`. `by_paragraph` is the interval over paragraphs instead of groups (questions).
    `withheld` says why the verdict is not given although the numbers would: the weaker arm was under-trained;
    `advice`, the end of the sentence, says what to do.
    `single_runs` are the arms that vary with the seed and ran with one. `error` is the standard error from
    items and seeds, `df` its degrees of freedom, `item_df` and `seed_df` those of its parts, `power` that of
    the MDE. `to_tell` says how many more items or seeds would detect the difference
    (`score/planning.py`). `margin` is the claim's, in the metric's unit, `margin_outcome` what is shown of it
    (`score/margin.py`). `look_factor` multiplies p because seeds were added after results (`adjust`).
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
    item_error: float
    mde: float
    outcome: Outcome
    sentence: str
    note: str
    by_paragraph: dict[str, float] | None = None
    withheld: str = ""
    advice: str = ""
    single_runs: tuple[str, ...] = ()
    error: float | None = None
    df: float | None = None
    item_df: float | None = None
    seed_df: float = 0.0
    to_tell: str = ""
    power: float = 0.8
    margin: float | None = None
    margin_outcome: str = ""
    look_factor: int = 1

    @property
    def corrected_level(self) -> float:
        """The level of the strictest test of the comparisons made together, and of repeated looks."""
        return 1 - (1 - self.level) / (self.claims * self.look_factor)

    @property
    def key(self) -> tuple[str, str, str]:
        """The arms and the metric."""
        return self.arm, self.over, self.metric

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class UnderTrained:
    """An arm whose training ended too early or failed: why (`lora was still improving ...`), what to do."""

    reason: str
    advice: str


def withhold(comparison: Comparison, under_trained: Mapping[str, UnderTrained]) -> Comparison:
    """The comparison without a verdict against an under-trained arm (by name); the numbers stay.

    A verdict in such an arm's favour stands, since more training is there to help it, and so does "cannot
    tell"; their sentences mention the diagnosis.
    """
    c = comparison
    weaker = {"worse": c.arm, "better": c.over}.get(c.outcome, "")
    if weaker in under_trained:
        diagnosis = under_trained[weaker]
        numbers = comparison_sentence(replace(c, margin=None)).partition(": ")[2]
        sentence = (
            f"Cannot tell whether {c.arm} is {c.outcome} than {c.over}: {diagnosis.reason}. "
            f"{numbers[0].upper()}{numbers[1:]} {diagnosis.advice}"
        )
        withheld = f"{diagnosis.reason}. {diagnosis.advice}"
        advice = diagnosis.advice
        decided = replace(c, outcome="cannot tell", margin_outcome="cannot tell" if c.margin else "")
        return replace(decided, withheld=withheld, advice=advice, sentence=sentence)
    reasons = [under_trained[name].reason for name in (c.arm, c.over) if name in under_trained]
    return replace(c, sentence=" ".join([c.sentence, *(f"Note: {reason}." for reason in reasons)]))


def comparison_sentence(comparison: Comparison) -> str:
    """The comparison in words: the difference with its interval and test, or what is detectable."""
    c = comparison
    values = f"{metric_name(c.metric)} {_format_value(c, c.value)} versus {_format_value(c, c.over_value)}"
    unit = " points" if c.in_points else ""
    difference = f"{_format_difference(c, c.difference, plus=True)}{unit}"
    span = f"{100 * c.level:g} % CI {_format_difference(c, c.low)} to {_format_difference(c, c.high)}"
    if c.outcome == "cannot tell":
        undecided = f"whether {_subject(c, c.arm)} or {_subject(c, c.over)} is better"
        lead, margin = f"Cannot tell {undecided}", _margin_sentence(c)
        if c.margin_outcome.startswith("as good"):  # what is shown comes first
            lead, margin = f"{margin.strip()} It cannot be told {undecided}", ""
        seeds = f" and {c.seeds} seeds" if c.seeds > 1 else ""
        to_tell = f" {c.to_tell}" if c.to_tell else ""
        return (
            f"{lead}: {values}, {difference} ({span}{_paragraph_interval(c)}).{_reason(c)} "
            f"{_detectable(c, f'this test set{seeds}')}{to_tell}{margin}"
        )
    size = f"n = {c.n:,}" + (f" in {c.clusters:,} groups" if c.clusters else "")
    subject = _subject(c, c.arm)
    subject = f"T{subject[1:]}" if c.arm in c.single_runs else subject
    return (
        f"{subject} is {c.outcome} than {_subject(c, c.over)}: {values}, {difference} "
        f"({span}, {_format_p(c)}, {size}{_seeds(c)}{_paragraph_interval(c)}).{_margin_sentence(c)}"
    )


def _seeds(comparison: Comparison) -> str:
    c = comparison
    several = [name for name in (c.arm, c.over) if name not in c.single_runs]
    if c.seeds > 1 and c.single_runs:
        return f", {c.seeds} seeds of {several[0]}, one of {c.single_runs[0]}"
    return f", {c.seeds} seeds" if c.seeds > 1 else ", one seed" if c.single_runs else ""


def _detectable(comparison: Comparison, what: str) -> str:
    c, metric = comparison, METRICS.get(comparison.metric)
    if metric is not None and c.mde >= metric.high - metric.low:
        return f"No difference is large enough for {what} to detect{_correction(c)}."
    unit = " points" if c.in_points else ""
    size = f"{_format_difference(c, c.mde)}{unit}"
    power = f"with {100 * c.power:g} % power{_correction(c)}"
    return f"The smallest difference that {what} can detect {power} is {size}."


def judge_claim(comparison: Comparison) -> MarginVerdict | None:
    """What is shown of the claim's margin, corrected for the number of claims; None without a margin."""
    c = comparison
    if c.margin is None or c.error is None or c.df is None:
        return None
    sign = 1 if c.direction == "up" else -1
    estimated = Estimate(sign * c.difference, c.item_error, c.error, c.df)
    return judge_margin(estimated, c.margin, c.corrected_level)


_MARGIN_SENTENCES = {
    "better by more": "{arm} is better than {over} by more than {margin}",
    "as good either way": "{arm} is as good as {over}, within {margin} either way",
    "as good or better": "{arm} is as good as {over} within {margin}, or better",
    "as good or worse": "{over} is as good as {arm} within {margin}, or better",
    "worse by more": "{arm} is worse than {over} by more than {margin}",
    "cannot tell": "Whether {arm} and {over} are within {margin} of each other cannot be told",
}


def _margin_sentence(comparison: Comparison) -> str:
    c, verdict = comparison, judge_claim(comparison)
    if verdict is None or c.margin is None:
        return ""
    size = f"{100 * c.margin if c.in_points else c.margin:.3g}"
    margin = f"{size} {'point' if size == '1' else 'points'}" if c.in_points else size
    names = {"arm": _subject(c, c.arm), "over": _subject(c, c.over), "margin": margin}
    sentence = _margin_template(c.outcome, verdict.outcome).format(**names, outcome=c.outcome)
    sentence = f"T{sentence[1:]}" if sentence.startswith("this run of ") else sentence
    return f" {sentence} ({_margin_ends(c, verdict)}{_margin_test(c)})."


def _margin_ends(comparison: Comparison, verdict: MarginVerdict) -> str:
    """The ends of the interval that the outcome rests on; its level is that of `judge_margin`."""
    c, is_up = comparison, comparison.direction == "up"
    ends = (verdict.interval.low, verdict.interval.high)
    low, high = (_format_difference(c, end) for end in (ends if is_up else (-ends[1], -ends[0])))
    is_bounded = {"better by more": is_up, "as good or better": is_up}
    is_bounded |= {"worse by more": not is_up, "as good or worse": not is_up}
    if verdict.outcome not in is_bounded:
        return f"between {low} and {high}"
    return f"at least {low}" if is_bounded[verdict.outcome] else f"at most {high}"


def _margin_template(outcome: Outcome, margin_outcome: MarginOutcome) -> str:
    """What the margin adds to a verdict that was given already."""
    if margin_outcome == {"better": "as good or better", "worse": "as good or worse"}.get(outcome):
        return "Whether it is {outcome} by more than {margin} cannot be told"  # the other is weaker
    if margin_outcome == f"{outcome} by more":
        return "It is {outcome} by more than {margin}"
    return _MARGIN_SENTENCES[margin_outcome]


def _margin_test(comparison: Comparison) -> str:
    """For what the test of a margin is corrected."""
    c = comparison
    corrected = f", corrected for {c.claims} comparisons" if c.claims > 1 else ""
    looks = ", corrected for the seeds added later" if c.look_factor > 1 else ""
    return f"{corrected}{looks}"


def _subject(comparison: Comparison, name: str) -> str:
    """The arm in a sentence: one run of several possible ones is not the arm."""
    return f"this run of {name}" if name in comparison.single_runs else name


def test_name(test: str) -> str:
    """The name of a comparison's test in a sentence."""
    return "t-test" if test == "t" else f"{test} test"


def metric_name(name: str) -> str:
    """The metric in the middle of a sentence."""
    metric = METRICS.get(name)
    return (metric.name_in_sentence if metric else "") or name.replace("_", " ")


def _paragraph_interval(comparison: Comparison) -> str:
    if comparison.by_paragraph is None:
        return ""
    interval = comparison.by_paragraph
    low, high = (_format_difference(comparison, interval[end]) for end in ("low", "high"))
    return f"; {low} to {high} over {interval['clusters']:,} paragraphs"


def make_verdict(claims: Sequence[Comparison], baselines: Sequence[Comparison] = ()) -> dict[str, Any]:
    """The study's verdict: outcome and sentence of the first claim, then each later claim that fails.

    `baselines` compare trained arms with arms that need no training (as `over`): a further sentence names
    each trained arm that its baseline beats or matches. Without claims the outcome is "cannot tell".

    Keys: outcome, sentence, sentences (its parts), claims [Comparison as values], baselines [likewise],
    no_better_than_baseline [{arm, baseline, outcome}].
    """
    outcome, sentence = "cannot tell", "The recipe makes no claim."
    if claims:
        outcome, sentence = claims[0].outcome, claims[0].sentence
    failed = [pair for pair in claims[1:] if pair.outcome != "better"]
    beaten = [pair for pair in baselines if pair.outcome != "better"]
    mentioned = {pair.key for pair in [*claims[:1], *failed]}
    unmentioned = [pair for pair in beaten if pair.key not in mentioned]
    judged = [pair for pair in beaten if not pair.withheld]
    sentences = [sentence, *map(_failed_sentence, failed), *_baseline_sentences(unmentioned, claims)]
    return {
        "outcome": outcome,
        "sentence": " ".join(sentences),
        "sentences": sentences,
        "claims": [pair.as_json() for pair in claims],
        "baselines": [pair.as_json() for pair in baselines],
        "no_better_than_baseline": [
            {"arm": pair.arm, "baseline": pair.over, "outcome": pair.outcome} for pair in judged
        ],
    }


def _failed_sentence(claim: Comparison) -> str:
    """A later claim that is refuted or undecided; one whose margin is shown is neither."""
    if claim.outcome == "worse":
        return f"Another claim does not hold: {claim.sentence}"
    is_shown = claim.margin_outcome not in ("", "cannot tell")
    return f"Another claim{'' if is_shown else ' is undecided'}: {claim.sentence}"


def _baseline_sentences(beaten: Sequence[Comparison], claims: Sequence[Comparison]) -> list[str]:
    """The warning of the baselines that trained arms do not beat, and what is withheld of such arms."""
    judged = [pair for pair in beaten if not pair.withheld]
    withheld = [pair for pair in beaten if pair.withheld and not any(_withholds(c, pair.arm) for c in claims)]
    warnings = [f"Caution: {_baseline_warning(judged, claims)}."] if judged else []
    return warnings + [_withheld_sentence(pair) for pair in _strongest(withheld)]


def _withholds(claim: Comparison, arm: str) -> bool:
    """Whether the claim's sentence says already that the arm is under-trained, and what to do."""
    return bool(claim.withheld) and arm in (claim.arm, claim.over)


def _strongest(pairs: Sequence[Comparison]) -> list[Comparison]:
    """Of each arm's comparisons the one with the strongest baseline."""
    rising = sorted(pairs, key=lambda p: p.over_value if p.direction == "up" else -p.over_value)
    return list({pair.arm: pair for pair in rising}.values())


def _withheld_sentence(pair: Comparison) -> str:
    baseline = f"the baseline {pair.over} ({_format_value(pair, pair.over_value)})"
    return f"Cannot tell whether {_arm_with_value(pair)} is worse than {baseline}: {pair.withheld}"


def _baseline_warning(beaten: Sequence[Comparison], claims: Sequence[Comparison]) -> str:
    """Each baseline, the strongest first, with the trained arms that it beats or matches.

    An arm is named once, beside the strongest baseline that it does not beat.
    """
    metric, up = beaten[0].metric, beaten[0].direction == "up"
    by = f"by {metric_name(metric)}, " if claims and metric != claims[0].metric else ""
    strongest = sorted(beaten, key=lambda comparison: comparison.over_value, reverse=up)
    parts, named = [], set()
    for over in dict.fromkeys(comparison.over for comparison in strongest):
        pairs = [pair for pair in beaten if pair.over == over and pair.arm not in named]
        named |= {pair.arm for pair in pairs}
        if pairs:
            value = _format_value(pairs[0], pairs[0].over_value)
            parts.append(f"the baseline {over} ({value}) {_advantage(pairs)}")
    return by + "; ".join(parts)


def _advantage(pairs: Sequence[Comparison]) -> str:
    """The trained arms that a baseline beats, then those that it matches."""
    worse = [_arm_with_value(pair) for pair in pairs if pair.outcome == "worse"]
    alike = [_arm_with_value(pair) for pair in pairs if pair.outcome != "worse"]
    phrases = [f"is better than {join_names(worse)}"] if worse else []
    phrases += [f"is not distinguishable from {join_names(alike)}"] if alike else []
    return " and ".join(phrases)


def _arm_with_value(comparison: Comparison) -> str:
    return f"{comparison.arm} ({_format_value(comparison, comparison.value)})"


def join_names(names: Sequence[str]) -> str:
    """The names as an enumeration: "a, b and c"."""
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _reason(comparison: Comparison) -> str:
    if _correction(comparison) and comparison.p_value < 1 - comparison.level <= comparison.p_adjusted:
        return f" It is not significant: {_format_p(comparison)}."
    return ""


def _format_value(comparison: Comparison, value: float) -> str:
    return f"{100 * value:.1f} %" if comparison.in_points else f"{value:.3f}"


def _format_difference(comparison: Comparison, value: float, plus: bool = False) -> str:
    """One decimal, or two if an end of the interval would otherwise read 0.0."""
    near = min(abs(comparison.low), abs(comparison.high), comparison.mde)
    if comparison.in_points:
        digits = f"{abs(100 * value):.{1 if 100 * near >= 0.05 else 2}f}"
    else:
        digits = f"{abs(value):.{3 if near >= 0.0005 else 4}f}"
    if not digits.strip("0."):
        return digits
    return f"{'−' if value < 0 else '+' if plus else ''}{digits}"


def _format_p(comparison: Comparison) -> str:
    p = comparison.p_adjusted
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    return f"{test_name(comparison.test)} {text}{_correction(comparison)}"


def _correction(comparison: Comparison) -> str:
    corrections = []
    if comparison.claims > 1:
        corrections.append(f"Holm's correction for {comparison.claims} comparisons")
    if comparison.look_factor > 1:
        corrections.append("correction for the seeds added later")
    return f" after {' and '.join(corrections)}" if corrections else ""
