"""A baseline arm: no language model.

In: what all arms share, one arm. Out: events and an Outcome. Knows nothing of: models, torch.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuneproof.atomic import write_json
from tuneproof.context.monitor import Running, StageBegun
from tuneproof.context.study_data import Outcome, Shared, as_answers, as_predictions, decided, labelled
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.methods.method import Answered
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.task import Example


def run_baseline(shared: Shared, arm: Arm) -> Running[Outcome]:
    """Fit on train, choose on dev, predict dev and test. Returns the Outcome."""
    if shared.kind == "questions":
        return (yield from _answer(shared, arm))
    splits = shared.splits
    fit = arm.method.fit
    assert fit is not None
    yield StageBegun("fit", None)
    begun = time.perf_counter()
    fitted = fit(
        arm.options,
        labelled(splits.train),
        labelled(splits.dev),
        [example.text for example in splits.test],
        len(splits.labels),
    )
    seconds = time.perf_counter() - begun

    def save(folder: Path) -> None:
        write_json(folder / "baseline.json", fitted.weights)

    def rows(examples, probabilities_NC):
        words_N = np.array([len(example.text.split()) for example in examples], dtype=np.int64)
        nothing_N = np.zeros(len(examples), dtype=bool)
        return as_predictions(splits.labels, examples, probabilities_NC, words_N, nothing_N)

    return Outcome(
        test=rows(splits.test, fitted.test_NC),
        dev=rows(splits.dev, fitted.dev_NC),
        ledger={
            "base": 0,
            "total": fitted.parameters,
            "trainable": fitted.parameters,
            "lines": [{"what": "coefficients", "count": fitted.parameters, "why": arm.method.title}]
            if fitted.parameters
            else [],
        },
        chosen=fitted.chosen,
        time_s={"train": seconds},
        save=save if fitted.weights else None,
    )


def _answer(shared: Shared, arm: Arm) -> Running[Outcome]:
    """The same for questions. Returns the Outcome."""
    splits, answer = shared.splits, arm.method.answer
    assert answer is not None
    yield StageBegun("answer", None)
    begun = time.perf_counter()
    found = {part: answer(splits.train, splits.part(part)) for part in ("dev", "test")}
    seconds = time.perf_counter() - begun
    dev, test = (_answers(splits.part(part), found[part]) for part in ("dev", "test"))
    known = decided(dev, test)
    size = found["test"].parameters
    why = [{"what": "weights of words", "count": size, "why": arm.method.title}] if size else []
    return Outcome(
        test=known.test,
        dev=known.dev,
        ledger={"base": 0, "total": size, "trainable": size, "lines": why},
        chosen=known.chosen,
        time_s={"predict": seconds},
    )


def _answers(examples: Sequence[Example], found: Answered) -> AnswerPredictions:
    nothing_N = np.zeros(len(examples), dtype=bool)
    words_N = np.array([len(example.text.split()) for example in examples], dtype=np.int64)
    return as_answers(examples, found.answers, found.null_N, found.score_N, words_N, nothing_N, nothing_N)
