"""Parity of an exported model with its arm: every test item is predicted again, and the two are compared.

In: an arm's predictions of test, the export's outputs. Out: how far they differ, and whether that is allowed.
Knows nothing of: formats, files, the card.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tuneproof.errors import RunError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions, Predictions
from tuneproof.record.as_good import AS_GOOD
from tuneproof.score.verdict import Comparison, judge_claim

EXACT = ("float32",)  # precisions whose predictions must be the arm's


@dataclass(frozen=True)
class Parity:
    """How an export compares with its arm on the test items.

    equal: items with the same prediction, of `items`. difference: the largest of a probability (of questions,
    of a null score). arm_value, value: of the metric. change, low, high: the paired difference and its
    interval at `level`, positive where the export is better. margin: by how much it may be worse. outcome: of
    `judge_margin`.
    """

    items: int
    equal: int
    difference: float
    metric: str
    arm_value: float
    value: float
    change: float
    low: float
    high: float
    level: float
    margin: float
    in_points: bool
    outcome: str

    @property
    def is_as_good(self) -> bool:
        """Whether the export is shown not to be worse by more than the margin."""
        return self.outcome in AS_GOOD

    def as_json(self) -> dict[str, Any]:
        """The values, for export.json."""
        return asdict(self)


def with_outputs(expected: AnyPredictions, outputs: Sequence[Any]) -> AnyPredictions:
    """Predictions of the same items from an export's outputs: probabilities, or [answer, null score].

    Raises: RunError where there are more or fewer of them, or one is not finite.
    """
    if len(outputs) != len(expected):
        problem = f"gave {len(outputs)} predictions for {len(expected)} items."
        raise RunError("the exported model", problem, do="Export the arm again.")
    if isinstance(expected, AnswerPredictions):
        null_N = np.array([score for _, score in outputs], dtype=np.float64)
        made: AnyPredictions = replace(expected, answers=[str(text) for text, _ in outputs], null_N=null_N)
        numbers = null_N
    else:
        numbers = np.array(outputs, dtype=np.float64)
        made = replace(
            expected,
            probabilities_NC=numbers,
            predicted_N=numbers.argmax(axis=1),
            uncalibrated_NC=None,
            texts=None,
        )
    if not np.isfinite(numbers).all():
        raise RunError("the exported model", "gave a number that is not finite.", do="Use another format.")
    return made


def measure_parity(arm: AnyPredictions, export: AnyPredictions, pair: Comparison) -> Parity:
    """What the comparison of an export with its arm shows of its margin."""
    sign = 1 if pair.direction == "up" else -1
    verdict = judge_claim(pair)
    assert verdict is not None
    assert pair.margin is not None
    return Parity(
        items=len(arm),
        equal=_count_equal(arm, export),
        difference=_largest_difference(arm, export),
        metric=pair.metric,
        arm_value=pair.over_value,
        value=pair.value,
        change=sign * pair.difference,
        low=verdict.interval.low,
        high=verdict.interval.high,
        level=verdict.level,
        margin=pair.margin,
        in_points=pair.in_points,
        outcome=verdict.outcome,
    )


def exact_sentence(parity: Parity) -> str:
    """How near the predictions are to those that they must equal."""
    return (
        f"{parity.equal:,} of {parity.items:,} test items get the same prediction, and no number differs by "
        f"more than {parity.difference:.1g}."
    )


def margin_sentence(parity: Parity) -> str:
    """What was compared, and whether it is as good within the margin."""
    scale, unit = (100.0, " points") if parity.in_points else (1.0, "")
    digits = ".1f" if parity.in_points else ".3g"
    values = [f"{scale * value:{digits}}" for value in (parity.arm_value, parity.value)]
    numbers = [f"{scale * value:+{digits}}" for value in (parity.change, parity.low, parity.high)]
    size = f"{scale * parity.margin:g}"
    allowed = f"{size} point" if parity.in_points and size == "1" else f"{size}{unit}"
    verdict = (
        f"as good within {allowed}" if parity.is_as_good else f"not shown to be as good within {allowed}"
    )
    return (
        f"{parity.equal:,} of {parity.items:,} test items get the same prediction; {parity.metric} "
        f"{values[0]} → {values[1]} ({numbers[0]}{unit}, {100 * parity.level:.3g} % CI {numbers[1]} to "
        f"{numbers[2]}): {verdict}."
    )


def _count_equal(arm: AnyPredictions, export: AnyPredictions) -> int:
    if isinstance(arm, AnswerPredictions):
        assert isinstance(export, AnswerPredictions)
        return sum(a == b for a, b in zip(arm.texts, export.texts, strict=True))
    return int((np.asarray(arm.predicted_N) == np.asarray(export.predicted_N)).sum())


def _largest_difference(arm: AnyPredictions, export: AnyPredictions) -> float:
    if isinstance(arm, AnswerPredictions):
        assert isinstance(export, AnswerPredictions)
        return float(np.abs(arm.null_N - export.null_N).max())
    assert isinstance(export, Predictions)
    own_NC, other_NC = arm.probabilities_NC, export.probabilities_NC
    assert own_NC is not None
    assert other_NC is not None
    return float(np.abs(own_NC - other_NC).max())
