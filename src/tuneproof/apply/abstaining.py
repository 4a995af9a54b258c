"""Labels that are left out, and sets of labels, for new items: both by thresholds from an arm's dev items.

In: the folder of a finished arm, a tolerance. Out: rows of predictions with what dev can promise.
Knows nothing of: how thresholds are chosen, files other than the arm's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.errors import RecipeError, RunError
from tuneproof.inference.prediction import Predictions, read_predictions
from tuneproof.record.study_folder import DEV_PREDICTIONS
from tuneproof.score.selective import Abstention, choose_abstention, label_set_threshold


@dataclass(frozen=True)
class Abstaining:
    """The thresholds of an arm."""

    answers: Abstention
    set_threshold: float

    def columns(self, predictions: Predictions, index: int) -> dict[str, Any]:
        """Of an item: predicted, None where the arm abstains, and label_set."""
        assert predictions.probabilities_NC is not None
        probabilities_C = predictions.probabilities_NC[index]
        labels = zip(predictions.labels, probabilities_C, strict=True)
        held = [label for label, probability in labels if probability >= self.set_threshold]
        is_sure = float(probabilities_C.max()) >= self.answers.threshold
        label = predictions.predicted_label(index) if is_sure else None
        return {"predicted": label, "label_set": " | ".join(held)}


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
    answers = choose_abstention(dev.probabilities_NC, dev.gold_N, tolerance)
    if answers is None:
        problem = (
            f"its {len(dev):,} dev items cannot show an error of at most {100 * tolerance:g} %, whatever "
            "share of them is answered."
        )
        do = "Raise --abstain, or give the study more dev items (split.dev_share)."
        raise RunError(str(arm), problem, do=do)
    return Abstaining(answers, label_set_threshold(dev.probabilities_NC, dev.gold_N, tolerance))
