"""The result of an arm in which nothing trains: a loaded model predicts dev and test.

In: the arm's context, its model, what predicts. Out: an ArmResult.
Knows nothing of: where the model is from, how it predicts.
"""

import time
from collections.abc import Sequence
from typing import Any

from tuneproof.context.arm_context import ArmContext
from tuneproof.context.prompt_samples import SAMPLE_ITEMS, encoding_summary, prompt_sample
from tuneproof.context.study_data import ArmResult, apply_dev_threshold
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.architecture import pretrained_entry
from tuneproof.parameters.ledger import parameter_ledger
from tuneproof.tasks.task import Example


def frozen_result(
    context: ArmContext, model: Any, predictor: Any, chosen: dict[str, Any], load_s: float
) -> ArmResult:
    """Predict dev and test; of questions, dev chooses the threshold for giving no answer.

    predictor: with `predict(model, examples, part)`, and `prompts(examples)` or `samples()`. chosen: what
    the record says was chosen.
    """
    spec, splits = context.spec, context.splits
    started = time.perf_counter()
    context.monitor.stage("predict", len(splits.dev) + len(splits.test))
    dev: AnyPredictions = predictor.predict(model, splits.dev, "dev")
    with context.test_attention():
        test: AnyPredictions = predictor.predict(model, splits.test, "test")
    if isinstance(dev, AnswerPredictions) and isinstance(test, AnswerPredictions):
        answers = apply_dev_threshold(dev, test, context.study.answers_all)
        dev, test, chosen = answers.dev, answers.test, {**chosen, "answers": answers.chosen}
    predict_s = time.perf_counter() - started
    pretrained = pretrained_on_meta(spec.source, spec.config)

    def predict(examples: Sequence[Example], part: str) -> AnyPredictions:
        with context.attention(part, examples):
            predictions: AnyPredictions = predictor.predict(model, examples, part)
            return predictions

    return ArmResult(
        test=test,
        dev=dev,
        ledger={
            **parameter_ledger(model, pretrained, spec.family, trainable=0).as_json(),
            **pretrained_entry(spec.source, spec.config, spec.family, pretrained),
        },
        chosen=chosen,
        time_s={"load": load_s, "predict": predict_s},
        encoding=encoding_summary(test, spec.max_length),
        prompts=_samples(context, predictor),
        notes=[*spec.notes, *spec.details],
        predict=predict,
    )


def _samples(context: ArmContext, predictor: Any) -> list[dict[str, Any]]:
    """Three items as the model sees them."""
    if not hasattr(predictor, "prompts"):
        return list(predictor.samples())
    examples = context.splits.test[:SAMPLE_ITEMS]
    prompts = predictor.prompts(examples)
    return [prompt_sample(context.spec, example, prompts[i], None) for i, example in enumerate(examples)]
