"""A finished arm with a model, loaded again to predict; nothing trains.

In: the arm's context, its weights, what its record says was chosen. Out: a function from items to
predictions. Knows nothing of: where the items come from, gold labels, scores.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuneproof.context.arm_context import ArmContext
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.score.decision import decided
from tuneproof.tasks.task import Example

PredictPart = Callable[[ArmContext, Sequence[Example], str], AnyPredictions]


def reload_model(context: ArmContext, weights: Path, chosen: Mapping[str, Any]) -> PredictPart:
    """What predicts items, under the name of their part, in a context like this one, by the method's kind.

    Raises: ModelError where the weights do not fit.
    """
    method = context.arm.method
    if method.kind == "prompt":
        from tuneproof.arms.prompted import load_prompt_model, make_predictor

        train = {example.id: example for example in context.splits.train}
        shots = [train[id] for id in chosen.get("shots", [])]
        predictor, model = make_predictor(context, shots), load_prompt_model(context)
        return lambda _, examples, part: predictor.predict(model, examples, part)
    if method.kind == "finished":
        from tuneproof.arms.finished_model import finished_predictor, load_finished, own_prompt

        finished = load_finished(context)
        return lambda own, examples, part: finished_predictor(own_prompt(own)).predict(
            finished, examples, part
        )
    if method.apply is None and context.study.kind == "labels":
        from tuneproof.arms.probe import load_base, load_fitting_head, predict_pooled

        head, base = load_fitting_head(context, weights), load_base(context.spec, context.compute)
        return lambda own, examples, part: predict_pooled(own, head, examples, part, base)
    from tuneproof.arms.tuned import reload_arm
    from tuneproof.objectives.make import make_objective

    tuned = reload_arm(context, weights)
    return lambda own, examples, part: make_objective(own).predict(tuned, examples, part)


def at_dev_threshold(predictions: AnyPredictions, chosen: Mapping[str, Any]) -> AnyPredictions:
    """Answers at the threshold that dev chose, labels by the decision that it chose."""
    if isinstance(predictions, AnswerPredictions):
        return predictions.with_threshold(chosen.get("answers", chosen)["no_answer_threshold"])
    return decided(predictions, chosen)
