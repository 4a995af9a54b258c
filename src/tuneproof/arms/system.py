"""An arm of a system made elsewhere: its replies become predictions of the frozen items.

In: study data, an arm, its folder, a monitor. Out: an ArmResult.
Knows nothing of: where replies come from, models, torch.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.arms.serving_speed import serving_entry
from tuneproof.context.few_shot import shots_of
from tuneproof.context.monitor import Monitor
from tuneproof.context.study_data import ArmResult, StudyData, apply_dev_threshold, as_answers, as_predictions
from tuneproof.data.findings import Finding
from tuneproof.inference.answers import MISSING_ANSWER, AnswerPredictions
from tuneproof.inference.parse import parse_answer, parse_question_answer
from tuneproof.inference.prediction import Predictions
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.metrics.metric import UNPARSED
from tuneproof.recipe.recipe import Arm
from tuneproof.tasks.label_spellings import plain_spelling
from tuneproof.tasks.task import Example


def run_system(
    study: StudyData, arm: Arm, monitor: Monitor, shots: Sequence[Example] = (), folder: Path | None = None
) -> ArmResult:
    """The system's replies on dev and test. What a reply does not say is counted, never filled in.

    shots: the examples in its prompt. folder: of the arm, for what must survive a stop.
    """
    reply = arm.method.reply
    assert reply is not None
    request = _request_of(study, arm, shots, folder)
    request = replace(request, report=monitor.progress, message=monitor.message)
    monitor.stage("predict", len(request.examples))
    replies = reply(arm.options, request)
    predictions, counted = _read_replies(study, replies)
    chosen: dict[str, Any] = {}
    if _has_null_scores(replies):
        thresholded = apply_dev_threshold(predictions["dev"], predictions["test"], study.answers_all)
        predictions = {"dev": thresholded.dev, "test": thresholded.test}
        chosen = thresholded.chosen
    return ArmResult(
        test=predictions["test"],
        dev=predictions["dev"],
        ledger={"usage": dict(replies.usage)} if replies.usage else {},
        chosen={**chosen, **replies.about},
        time_s={} if replies.seconds is None else {"predict": replies.seconds},
        serving=serving_entry(replies.single_s, replies.batch_s, replies.batch_size),
        notes=[*replies.notes, *(finding.message for finding in counted)],
    )


def announce_system(study: StudyData, arm: Arm, folder: Path, seed: int = 0) -> list[Finding]:
    """What is known of the arm before it runs: what its replies will cost, or what its file lacks.

    folder: of the arm, where earlier replies may be.

    Raises: DataError where the file cannot be read; RecipeError where the replies are not allowed to cost.
    """
    announce, reply = arm.method.announce, arm.method.reply
    assert reply is not None
    request = _request_of(study, arm, shots_of(study, arm, seed), folder)
    if announce is not None:
        further = [item for test in study.tests for item in test.items]
        request = replace(request, examples=[*request.examples, *further])
        findings = [_note(sentence) for sentence in announce(arm.options, request)]
    else:
        replies = reply(arm.options, request)
        findings = [*map(_note, replies.notes), *_read_replies(study, replies)[1]]
    return [replace(finding, message=f"{arm.name}: {finding.message}") for finding in findings]


def _note(sentence: str) -> Finding:
    return Finding("systems", "note", sentence)


def _request_of(study: StudyData, arm: Arm, shots: Sequence[Example], folder: Path | None) -> SystemRequest:
    """The items of dev and test, and what the recipe says of the arm's prices."""
    prices = study.recipe.prices
    own = prices.arms.get(arm.name)
    return SystemRequest(
        [*study.splits.dev, *study.splits.test],
        study.labels,
        study.words,
        shots,
        folder,
        prices=own.per_million_tokens if own and own.per_million_tokens else prices.per_million_tokens,
        currency=prices.currency,
        timing_s=study.recipe.predict.timing_limit_s(math.inf),
        threads=study.recipe.compute.threads,
    )


def _read_replies(study: StudyData, replies: SystemReplies) -> tuple[dict[str, Any], list[Finding]]:
    """Predictions of dev and test, and what was counted, as findings."""
    splits = study.splits
    if replies.null_N is not None and not _has_null_scores(replies):  # their unit is not that of the others
        replies = replace(replies, null_N=None)
    read = _read_answers if study.kind == "questions" else _read_labels
    predictions, counts = {}, {}
    for part, rows in (("dev", slice(len(splits.dev))), ("test", slice(len(splits.dev), None))):
        counts[part] = Counter[str]()
        predictions[part] = read(study, splits.part(part), _take(replies, rows), counts[part])
    return predictions, _describe(counts, {part: len(splits.part(part)) for part in counts})


def _has_null_scores(replies: SystemReplies) -> bool:
    """Whether every item has a score for giving no answer; scores of some alone compare with nothing."""
    has_all = replies.null_N is not None and not np.isnan(replies.null_N).any()
    return has_all and None not in replies.texts


def _take(replies: SystemReplies, rows: slice) -> SystemReplies:
    def part(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        return None if values is None else values[rows]

    return SystemReplies(replies.texts[rows], part(replies.probabilities_NC), part(replies.null_N))


def _read_labels(
    study: StudyData, examples: Sequence[Example], replies: SystemReplies, counts: Counter[str]
) -> Predictions:
    """The label that each reply names; UNPARSED where there is none, or it names no label."""
    labels, words, probabilities_NC = study.labels, study.prompt.words, replies.probabilities_NC
    exact = _exact_names(labels, words)
    has_shares_N = np.zeros(len(examples), dtype=bool)
    if probabilities_NC is not None:
        has_shares_N = np.all(np.isfinite(probabilities_NC), axis=1)
        counts["without probabilities"] += int((~has_shares_N).sum())
    predicted_N = np.full(len(examples), UNPARSED, dtype=np.int64)
    for row, text in enumerate(replies.texts):
        if text:
            predicted_N[row] = _parse(text, exact, labels, words, counts)
        elif text is not None and has_shares_N[row]:
            assert probabilities_NC is not None
            predicted_N[row] = probabilities_NC[row].argmax()
        else:
            counts["missing"] += 1
    return as_predictions(
        labels,
        examples,
        probabilities_NC if has_shares_N.all() else None,
        _word_counts(examples),
        np.zeros(len(examples), dtype=bool),
        predicted_N=predicted_N,
        texts=[text or "" for text in replies.texts],
    )


def _exact_names(labels: Sequence[str], words: Sequence[str]) -> dict[str, int]:
    """Label names, then the words of their prompt, in one spelling; names of two labels are left out."""
    names: dict[str, int] = {}
    for spelled in (labels, words):
        plain = [plain_spelling(name).casefold() for name in spelled]
        names |= {
            name: label for label, name in enumerate(plain) if plain.count(name) == 1 and name not in names
        }
    return names


def _parse(
    text: str, exact: dict[str, int], labels: Sequence[str], words: Sequence[str], counts: Counter[str]
) -> int:
    label = exact.get(plain_spelling(text).casefold())
    if label is not None:
        return label
    named = {parse_answer(text, names) for names in (words, labels)} - {UNPARSED}
    if len(named) != 1:
        counts["unparsed"] += 1
        return UNPARSED
    counts["in a longer text"] += 1
    return named.pop()


def _read_answers(
    study: StudyData, examples: Sequence[Example], replies: SystemReplies, counts: Counter[str]
) -> AnswerPredictions:
    """Each reply as an answer; a missing one is a wrong answer of its own, never "no answer"."""
    counts["missing"] += sum(text is None for text in replies.texts)
    no_answer = study.question_prompt.no_answer
    answers = [
        MISSING_ANSWER if text is None else parse_question_answer(text, no_answer) for text in replies.texts
    ]
    null_N = np.array([0.0 if answer else 1.0 for answer in answers])
    if replies.null_N is not None:
        null_N = replies.null_N
    nothing_N = np.zeros(len(examples), dtype=bool)
    zeros_N = np.zeros(len(examples))
    return as_answers(examples, answers, null_N, zeros_N, _word_counts(examples), nothing_N, nothing_N)


def _word_counts(examples: Sequence[Example]) -> NDArray[np.int64]:
    return np.array([len(example.text.split()) for example in examples], dtype=np.int64)


COUNTED: dict[str, tuple[Literal["note", "warning"], str]] = {
    "missing": ("warning", "{} items have no prediction; they count as wrong, as a class of their own."),
    "unparsed": ("warning", "{} predictions name no label, or several; they count as wrong."),
    "in a longer text": ("note", "{} predictions were read at the beginning of a longer text."),
    "without probabilities": ("note", "{} items have no probabilities: none are used."),
}


def _describe(counts: Mapping[str, Counter[str]], sizes: Mapping[str, int]) -> list[Finding]:
    """A finding for each count that is not zero."""
    return [
        Finding("systems", level, sentence.format(f"{counts[part][name]:,} of {sizes[part]:,} {part}"))
        for name, (level, sentence) in COUNTED.items()
        for part in counts
        if counts[part][name]
    ]
