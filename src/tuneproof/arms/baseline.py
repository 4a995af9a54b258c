"""A baseline arm: no language model.

In: study data, an arm, a monitor. Out: an ArmResult. Knows nothing of: models, torch.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import (
    ArmResult,
    StudyData,
    apply_dev_threshold,
    as_answers,
    as_predictions,
    labelled_texts,
)
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.method import BaselineAnswers
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example


def run_baseline(study: StudyData, arm: Arm, monitor: Monitor) -> ArmResult:
    """Fit on train, choose on dev, predict dev and test."""
    if study.kind == "questions":
        return _answer_questions(study, arm, monitor)
    splits, labels, fit = study.splits, study.labels, arm.method.fit
    assert fit is not None
    monitor.stage("fit")
    train, dev = (labelled_texts(part, study.class_weights_C) for part in (splits.train, splits.dev))
    texts = [example.text for example in splits.test]
    started = time.perf_counter()
    fitted = fit(arm.options, train, dev, texts, len(splits.labels))
    seconds = time.perf_counter() - started

    def serve(size: int) -> Callable[[Sequence[Example]], Predictions]:
        assert fitted.predict is not None
        predict = fitted.predict
        return lambda examples: label_predictions(labels, examples, predict([item.text for item in examples]))

    return ArmResult(
        test=label_predictions(labels, splits.test, fitted.test_NC),
        dev=label_predictions(labels, splits.dev, fitted.dev_NC),
        ledger=_ledger("coefficients", fitted.parameters, arm.method.title),
        chosen=fitted.chosen,
        time_s={"train": seconds},
        notes=list(fitted.notes),
        save=fitted.save,
        serve=serve if fitted.predict is not None else None,
    )


def label_predictions(
    labels: tuple[str, ...], examples: Sequence[Example], probabilities_NC: NDArray[np.float64]
) -> Predictions:
    """A baseline's probabilities of these items as predictions."""
    nothing_N = np.zeros(len(examples), dtype=bool)
    return as_predictions(labels, examples, probabilities_NC, _word_counts(examples), nothing_N)


def _answer_questions(study: StudyData, arm: Arm, monitor: Monitor) -> ArmResult:
    splits, answer = study.splits, arm.method.answer
    assert answer is not None
    monitor.stage("answer")
    started = time.perf_counter()
    answer_questions = answer(splits.train)
    fitted = time.perf_counter()
    answers = {part: answer_questions(splits.part(part)) for part in ("dev", "test")}
    seconds = {"train": fitted - started, "predict": time.perf_counter() - fitted}
    dev, test = (answer_predictions(splits.part(part), answers[part]) for part in ("dev", "test"))
    thresholded = apply_dev_threshold(dev, test, study.answers_all)
    return ArmResult(
        test=thresholded.test,
        dev=thresholded.dev,
        ledger=_ledger("word weights", answers["test"].parameters, arm.method.title),
        chosen=thresholded.chosen,
        time_s=seconds,
        notes=list(answers["test"].notes),
        serve=lambda size: lambda examples: answer_predictions(examples, answer_questions(examples)),
    )


def _ledger(name: str, parameters: int, title: str) -> dict[str, Any]:
    lines = [{"part": name, "count": parameters, "reason": title}] if parameters else []
    return {"base": 0, "total": parameters, "trainable": parameters, "lines": lines}


def _word_counts(examples: Sequence[Example]) -> NDArray[np.int64]:
    return np.array([len(example.text.split()) for example in examples], dtype=np.int64)


def answer_predictions(examples: Sequence[Example], answers: BaselineAnswers) -> AnswerPredictions:
    """A baseline's answers to these questions as predictions."""
    nothing_N = np.zeros(len(examples), dtype=bool)
    words_N = _word_counts(examples)
    return as_answers(
        examples, answers.answers, answers.null_N, answers.score_N, words_N, nothing_N, nothing_N
    )
