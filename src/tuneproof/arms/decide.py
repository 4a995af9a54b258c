"""The decision of an arm: dev chooses how probabilities become labels, and all later items get theirs so.

In: what an arm returns, the recipe. Out: the same with decided labels, and the choice in its record.
Knows nothing of: how the arm predicts, costs, thresholds.
"""

from collections.abc import Sequence
from dataclasses import replace

from tuneproof.arms.reload import at_dev_threshold
from tuneproof.context.study_data import ArmResult
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.recipe.recipe import Recipe
from tuneproof.score.decision import WITHOUT_PROBABILITIES, choose_decision
from tuneproof.tasks.task import Example


def decide_on_dev(result: ArmResult, recipe: Recipe) -> ArmResult:
    """The result with labels as the recipe's `decision` asks; test has no part in the choice."""
    entry = choose_decision(recipe.decision, recipe.decision_metric, result.dev)
    if not entry:
        return result
    chosen, predict = {**result.chosen, "decision": entry}, result.predict

    def predict_decided(examples: Sequence[Example], part: str) -> AnyPredictions:
        assert predict is not None
        return at_dev_threshold(predict(examples, part), chosen)

    return replace(
        result,
        dev=at_dev_threshold(result.dev, chosen),
        test=at_dev_threshold(result.test, chosen),
        chosen=chosen,
        notes=[*result.notes, *([WITHOUT_PROBABILITIES] if entry.get("applies") is False else [])],
        predict=predict_decided if predict is not None else None,
    )
