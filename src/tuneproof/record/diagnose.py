"""What an arm's own curves say against it: still improving, not learning, one label only, diverged.

In: losses and learning rates of its steps, its evaluations and predictions of dev. Out: findings in words.
Knows nothing of: test items, other arms, torch.

A decaying learning rate flattens the dev loss at the end of every training, however short. So the loss is
read over the learning rate spent (the sum over the steps), not over the steps: what the second half of it
gained, and what as much again would gain, is compared with the loss that is left. `benchmarks/diagnosis.py`
measures false alarms and misses of the thresholds on real data.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.inference.prediction import AnyPredictions

Name = Literal["diverged", "not_learning", "one_label", "still_improving", "best_is_last"]
UNDER_TRAINED: tuple[Name, ...] = ("diverged", "not_learning", "still_improving")

MIN_GAIN = 0.05  # of the dev loss, which as much training again would take off
FITTED = 0.75  # of the dev loss: with a training loss below it, more training fits the train items alone
NEAR_BEST = 1.01  # of the lowest dev loss
NEAR_ENTROPY = 0.97  # of the labels' entropy: a training loss above it has learnt next to nothing
LITTLE_LEFT = 0.1  # of the labels' entropy: what is left to gain is in few items
LEARNT = 0.8  # of the labels' entropy: a dev loss below it is no chance
RISE = 1.05  # of the loss at the start
SKIPPED_SHARE = 0.1  # of the updates
START_SHARE, END_SHARE = 0.05, 1 / 3  # of the steps, over which the training loss is averaged
MIN_STEPS = 12  # from which on a curve of the training loss is more than noise
LISTED = 4  # losses in a sentence

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """One finding: a sentence about it, and what it says of the arm in the middle of another sentence."""

    name: Name
    sentence: str
    reason: str = ""


@dataclass(frozen=True)
class Curves:
    """What a training left: lines of steps.jsonl, evaluations on dev, and the training loss of every step.

    loss_S: per item, as on dev; not a number where it was not finite. entropy: the loss of predicting the
    label shares of train; None where the items have no labels.
    """

    steps: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, float]]
    loss_S: Floats
    entropy: float | None = None

    def mean_loss(self, share: float) -> float:
        """The mean training loss of the last share of the steps, or of the first if it is negative."""
        count = max(3, math.ceil(abs(share) * len(self.steps)))
        part = self.loss_S[-count:] if share > 0 else self.loss_S[:count]
        return float(np.nanmean(part)) if np.isfinite(part).any() else math.nan


def make_curves(
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, float]],
    options: Mapping[str, Any],
    label_counts: Mapping[str, float],
) -> Curves:
    """The curves of an arm with these options; label_counts: of its train items, empty for questions.

    The words of a label are several tokens, over which its training loss is a mean and its dev loss a sum.
    """
    loss_S = np.array([math.nan if step["loss"] is None else step["loss"] for step in steps], dtype=float)
    if not label_counts:
        return Curves(steps, evaluations, loss_S)
    if options.get("objective") == "words":
        loss_S *= sum(step["count"] for step in steps) / (steps[-1]["epoch"] * sum(label_counts.values()))
    return Curves(steps, evaluations, loss_S, label_entropy(list(label_counts.values())))


def diagnose_run(
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, float]],
    options: Mapping[str, Any],
    label_counts: Mapping[str, float],
    dev: AnyPredictions | None = None,
) -> list[Finding]:
    """All findings of a run; none where it took no steps. dev: its predictions, once there are any."""
    if not steps or not evaluations:
        return []
    findings = diagnose_curves(make_curves(steps, evaluations, options, label_counts))
    return findings + (diagnose_labels(dev) if dev is not None else [])


def label_entropy(counts: Sequence[float]) -> float:
    """The entropy of label counts in nats: the loss of always predicting their shares."""
    shares = np.array([count for count in counts if count], dtype=float) / sum(counts)
    return float(-(shares * np.log(shares)).sum())


def diagnose_curves(curves: Curves) -> list[Finding]:
    """The findings of the curves alone."""
    findings = [_diverged(curves), _not_learning(curves), _still_improving(curves), _best_is_last(curves)]
    return [finding for finding in findings if finding is not None]


def diagnose_labels(dev: AnyPredictions) -> list[Finding]:
    """The finding that all items of dev get one label, where their gold labels are several."""
    if dev.kind != "labels" or len(set(dev.gold_N)) < 2 or len(set(dev.predicted_N)) != 1:
        return []
    index = int(dev.predicted_N[0])
    label = dev.labels[index] if index >= 0 else "none"
    gold = len(set(dev.gold_N))
    sentence = f"All {len(dev):,} items of dev got the label {label}; their gold labels are {gold}."
    return [Finding("one_label", sentence, f"gave every item of dev the label {label}")]


def is_under_trained(findings: Sequence[Finding]) -> bool:
    """Whether the findings say that the arm had no fair chance.

    The best evaluation may well be the last, and one label for all the best that a finished arm can do.
    """
    return any(finding.name in UNDER_TRAINED for finding in findings)


def _diverged(curves: Curves) -> Finding | None:
    start, end = curves.mean_loss(-START_SHARE), curves.mean_loss(END_SHARE)
    skipped = sum(bool(step.get("skipped")) for step in curves.steps)
    cause = "the learning rate may be too high"
    if skipped > SKIPPED_SHARE * len(curves.steps):
        share = f"{skipped:,} of {len(curves.steps):,} updates"
        return Finding("diverged", f"{share} were not finite: {cause}.", f"skipped {share}")
    if len(curves.steps) < MIN_STEPS or not end > RISE * max(start, curves.entropy or 0.0):
        return None
    losses = f"training loss {start:.3g} → {end:.3g}"
    return Finding("diverged", f"The loss ended above its start ({losses}): {cause}.", f"diverged ({losses})")


def _not_learning(curves: Curves) -> Finding | None:
    end, entropy = curves.mean_loss(END_SHARE), curves.entropy
    if entropy is None or not end > NEAR_ENTROPY * entropy:
        return None
    if min(evaluation["dev_loss"] for evaluation in curves.evaluations) < LEARNT * entropy:
        return None  # what dev chose has learnt, such as a head that was fitted first
    losses = f"training loss {end:.3g}, and {entropy:.3g} for predicting the label shares"
    return Finding(
        "not_learning",
        f"Training learnt next to nothing ({losses}): it is too short, or the learning rate too low.",
        f"had learnt next to nothing when its training ended ({losses})",
    )


def _still_improving(curves: Curves) -> Finding | None:
    start, middle, end = _halves_of(curves)
    gain = expected_gain(start, middle, end)
    dev_losses = [float(evaluation["dev_loss"]) for evaluation in curves.evaluations]
    is_best = dev_losses[-1] <= NEAR_BEST * min(dev_losses)
    is_fitted = curves.mean_loss(END_SHARE) < FITTED * dev_losses[-1]
    is_learnt = curves.entropy is not None and end < LITTLE_LEFT * curves.entropy
    if is_fitted or is_learnt or not is_best or not gain > MIN_GAIN * end:
        return None
    name, losses = "dev loss", dev_losses
    if not _has_dev_curve(curves):
        name, losses = "training loss", [start, middle, end]
    if len(losses) > LISTED:
        losses = [losses[0], losses[len(losses) // 2], losses[-1]]
    path = f"{name} {' → '.join(f'{loss:.3f}' for loss in losses)}"
    outlook = f"As much training again may bring it to about {max(0.0, end - gain):.2f}."
    if middle - end >= start - middle:
        outlook = "It had not slowed down yet."  # no extrapolation would be honest
    return Finding(
        "still_improving",
        f"The loss was still falling when training ended ({path}). {outlook}",
        f"was still improving when its training ended ({path})",
    )


def _best_is_last(curves: Curves) -> Finding | None:
    losses = [evaluation["dev_loss"] for evaluation in curves.evaluations]
    if len(losses) < 2 or losses.index(min(losses)) < len(losses) - 1:
        return None
    return Finding("best_is_last", f"The last of {len(losses)} evaluations on dev is the best.")


def expected_gain(start: float, middle: float, end: float) -> float:
    """What as much training again would take off the loss, if it goes on to slow down as it did.

    start, middle, end: the loss when nothing, half and all of the learning rate was spent. Each half is
    taken to gain the same share of the half before it, at most as much as that.
    """
    first, second = start - middle, middle - end
    if not second > 0:
        return 0.0
    ratio = min(1.0, second / first) if first > 0 else 1.0
    return second * (ratio + ratio**2)


def _has_dev_curve(curves: Curves) -> bool:
    return sum(evaluation["step"] > 0 for evaluation in curves.evaluations) > 1


def _halves_of(curves: Curves) -> tuple[float, float, float]:
    """The loss when nothing, half and all of the learning rate was spent: of dev where its curve is known."""
    spent = np.cumsum([step["learning_rate"] for step in curves.steps])
    spent = spent / spent[-1] if spent[-1] > 0 else np.linspace(0, 1, len(spent))
    if not _has_dev_curve(curves):
        return _halves_of_training(curves, spent)
    steps = [int(evaluation["step"]) for evaluation in curves.evaluations]
    losses = [float(evaluation["dev_loss"]) for evaluation in curves.evaluations]
    at = [float(spent[step - 1]) if step else 0.0 for step in steps]
    if steps[0] > 0:
        at, losses = [0.0, *at], [max(curves.mean_loss(-START_SHARE), losses[0]), *losses]
    highest = curves.entropy or math.inf  # a new head's first steps, down to the label shares, learn nothing
    start, middle, end = (min(highest, float(loss)) for loss in np.interp([0.0, 0.5, 1.0], at, losses))
    return start, middle, end


def _halves_of_training(curves: Curves, spent: Floats) -> tuple[float, float, float]:
    """The same of the training loss, as a parabola through all steps: in a first epoch every item is new."""
    finite = np.isfinite(curves.loss_S)
    if finite.sum() < MIN_STEPS:
        return math.nan, math.nan, math.nan
    parabola = np.polyfit(spent[finite], curves.loss_S[finite], 2)
    start, middle, end = np.polyval(parabola, [0.0, 0.5, 1.0])
    return float(start), float(middle), float(end)
