"""Labels that are left out, and sets of labels, for new items: both by thresholds from an arm's dev items.

In: the folder of a finished arm, a tolerance. Out: rows of predictions with what dev can promise.
Knows nothing of: how thresholds are chosen, files other than the arm's.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import Predictions, read_predictions
from tuneproof.record.study_folder import DEV_PREDICTIONS
from tuneproof.score.selective import Abstention, choose_abstention, label_set_threshold


@dataclass(frozen=True)
class Abstaining:
    """The thresholds of an arm."""

    answers: Abstention
    set_threshold: float


@dataclass(frozen=True)
class AbstainingPredictions(Predictions):
    """Predictions that leave out the labels of which the arm is not sure enough."""

    abstaining: Abstaining | None = None

    @classmethod
    def of(cls, predictions: Predictions, abstaining: Abstaining) -> "AbstainingPredictions":
        """The same predictions with thresholds."""
        values = {entry.name: getattr(predictions, entry.name) for entry in fields(predictions)}
        return cls(**values, abstaining=abstaining)

    @property
    def sure_N(self) -> NDArray[np.bool_]:
        """Whether the arm is sure enough of an item to answer."""
        assert self.probabilities_NC is not None
        assert self.abstaining is not None
        return self.probabilities_NC.max(axis=1) >= self.abstaining.answers.threshold

    @property
    def label_sets(self) -> list[list[str]]:
        """Of each item the labels that may be right."""
        assert self.probabilities_NC is not None
        assert self.abstaining is not None
        threshold = self.abstaining.set_threshold
        return [
            [label for label, value in zip(self.labels, row, strict=True) if value >= threshold]
            for row in self.probabilities_NC.tolist()
        ]

    def predicted_label(self, index: int) -> str | None:
        """The predicted label of an item; None where the arm abstains, or its answer names none."""
        return super().predicted_label(index) if self.sure_N[index] else None


def read_abstaining(arm: Path, tolerance: float) -> Abstaining:
    """The thresholds of an arm for a share of wrong answers, from its dev predictions.

    Raises: RecipeError where the tolerance is no share; RunError where the arm has no probabilities on dev,
    or dev cannot show the tolerance.
    """
    if not 0 < tolerance < 1:
        problem = f"is {tolerance:g}."
        raise RecipeError("--abstain", problem, "Allowed: a share between 0 and 1.", "Write --abstain 0.05.")
    path = Path(arm) / DEV_PREDICTIONS
    dev = read_predictions(path) if path.is_file() else None
    if not isinstance(dev, Predictions) or dev.probabilities_NC is None:
        problem = "has no probabilities on dev, by which it could abstain."
        raise RunError(str(arm), problem, do="Leave --abstain out, or use another arm.")
    answers = choose_abstention(dev.probabilities_NC, ~dev.right_N, tolerance)
    if answers is None:
        problem = (
            f"its {len(dev):,} dev items cannot show an error of at most {100 * tolerance:g} %, whatever "
            "share of them is answered."
        )
        do = "Raise --abstain, or give the study more dev items (split.dev_share)."
        raise RunError(str(arm), problem, do=do)
    return Abstaining(answers, label_set_threshold(dev.probabilities_NC, dev.gold_N, tolerance))
