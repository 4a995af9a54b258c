"""The gate: a fresh process loads the written files and must reproduce the study's predictions.

In: a written folder, the study's predictions of test. Out: by how much they differ, or an error.
Knows nothing of: the card, the hub.

The process runs the card's own code. It has no token, no network and nothing of tuneproof in it but the
lines that end it with this process.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.atomic import sha256_of_file
from tuneproof.errors import RunError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import AnyPredictions, read_predictions
from tuneproof.methods.fresh_process import ProgramError, run_program
from tuneproof.publish.files import Publication, copied_files
from tuneproof.publish.load_code import SKOPS, LoadSpec, make_program
from tuneproof.publish.skops_file import holds_weights
from tuneproof.record.study_folder import PREDICTIONS, read_items
from tuneproof.score.decision import Decision, read_decision
from tuneproof.tasks.question_rows import question_from_json

SAMPLE_ITEMS = 32
BATCH_SIZE = 8
# Of probabilities (of the null score in logits ten times as much). In float32 only the order of sums
# differs; half precision on another device rounds every layer differently.
TOLERANCES = {"fp64": 1e-9, "fp32": 1e-3, "bf16": 5e-2, "fp16": 2e-2}
NULL_FACTOR = 10.0


@dataclass(frozen=True)
class Sample:
    """Test items: the inputs of the program, and the study's predictions."""

    inputs: list[Any]
    expected: AnyPredictions


@dataclass(frozen=True)
class GateResult:
    """The largest differences over `items`, in `unit`.

    `merged`: between the adapter and the adapter merged into its base; None without an adapter.
    """

    items: int
    difference: float
    tolerance: float
    unit: str
    merged: float | None = None


@dataclass(frozen=True)
class DecidedLabels:
    """The labels of the process; decision: how they were decided, None: as the most probable ones."""

    labels_N: NDArray[np.int64]
    decision: Decision | None = None

    def count_changed(
        self, study_NC: NDArray[np.float64], study_N: NDArray[np.int64], tolerance: float
    ) -> int:
        """How many differ from the study's labels by more than rounding moves.

        study_NC: the study's probabilities; tolerance: of each.
        """
        rows_N = np.arange(len(study_N))
        if self.decision is None:
            losses_NC, slack = -study_NC, 2 * tolerance
        else:
            losses_NC, costs_CC = self.decision.expected_costs(study_NC), self.decision.costs_CC
            sharpness = min(1.0, self.decision.temperature)
            slack = 2 * tolerance * float(costs_CC.max()) * len(costs_CC) / sharpness
        more_N = losses_NC[rows_N, self.labels_N] - losses_NC[rows_N, study_N]
        return int((more_N > slack).sum())


def take_sample(publication: Publication) -> Sample:
    """The first test items by id that the model read without truncation.

    Raises: RunError if the study keeps no texts, or every item was truncated.
    """
    expected = read_predictions(publication.record.folder / PREDICTIONS)
    items = read_items(publication.study.folder)
    if not items.ids:
        problem = "keeps no texts of its items, so the predictions cannot be reproduced."
        do = "Put items.parquet back, or run the study again."
        raise RunError(str(publication.study.folder), problem, do=do)
    item_rows = {name: row for row, name in enumerate(items.ids)}
    usable = [
        row
        for row, name in enumerate(expected.ids)
        if name in item_rows and not bool(expected.truncated_N[row])
    ]
    sampled = sorted(usable, key=lambda row: expected.ids[row])[:SAMPLE_ITEMS]
    if not sampled:
        problem = "every test item was truncated, so no prediction can be reproduced."
        do = "Raise encode.max_length and run the arm again."
        raise RunError(str(publication.record.folder), problem, do=do)
    rows = [item_rows[expected.ids[row]] for row in sampled]
    if items.questions:
        questions = [question_from_json(items.texts[row], items.questions[row]) for row in rows]
        inputs: list[Any] = [[q.question, q.context] for q in questions if q is not None]
    else:
        texts = [items.texts[row] for row in rows]
        inputs = [texts[first : first + BATCH_SIZE] for first in range(0, len(texts), BATCH_SIZE)]
    return Sample(inputs, expected.take(sampled))


def run_gate(publication: Publication, load_spec: LoadSpec, folder: Path) -> GateResult:
    """Predict with the written folder in a fresh process, with adapters merged too, and compare.

    Raises: RunError if the folder cannot be loaded or its predictions differ from the study's.
    """
    sample = take_sample(publication)
    tolerance = TOLERANCES[publication.precision]
    if load_spec.objective == "span":
        tolerance *= NULL_FACTOR
    needs_base = load_spec.form in ("adapter", "head") and not publication.merged
    local_spec = load_spec.with_base(publication.base_folder) if needs_base else load_spec
    outputs = predict_in_fresh_process(local_spec, str(folder), sample)
    decided = None
    if local_spec.decision is not None:
        decision = read_decision(local_spec.decision, len(local_spec.labels))
        assert decision is not None
        decided = DecidedLabels(np.array([label for _, label in outputs], dtype=np.int64), decision)
        outputs = [row for row, _ in outputs]
    difference = compare(sample.expected, outputs, tolerance, str(folder), decided)
    _check_copies(publication, folder)
    if load_spec.form == "baseline" and not holds_weights(folder / SKOPS, publication.weights):
        raise _error(str(folder), f"{SKOPS} holds other weights than the arm's")
    unit = "logits" if load_spec.objective == "span" else "of a probability"
    merged_difference = None
    if publication.load_spec.form == "adapter" and not load_spec.quantized:
        adapter = replace(publication.load_spec.with_base(publication.base_folder), decision=None)
        weights = str(publication.weights)
        other = predict_in_fresh_process(adapter, weights, sample, merge=not publication.merged)
        merged_difference = max_difference(as_numbers(outputs), as_numbers(other))
        if not merged_difference <= tolerance:
            raise _error(
                str(folder),
                "the adapter and the adapter merged into its base differ by "
                f"{merged_difference:.2g} ({tolerance:g} is allowed)",
            )
    return GateResult(len(sample.expected), difference, tolerance, unit, merged_difference)


def _check_copies(publication: Publication, folder: Path) -> None:
    """Check that copied files equal the arm's: a single changed weight may move no sampled prediction.

    Raises: RunError naming the first file that differs.
    """
    for name, digest in copied_files(publication).items():
        file = folder / name
        if not file.is_file() or sha256_of_file(file) != digest:
            raise _error(str(folder), f"{name} is not the file that the arm saved (checksum differs)")


def compare(
    expected: AnyPredictions,
    outputs: list[Any],
    tolerance: float,
    where: str,
    decided: DecidedLabels | None = None,
) -> float:
    """The largest difference between the study's predictions and those of the process.

    Labels and answers must be equal, except for labels whose probabilities in the study are equal within
    the tolerance. decided: the labels of the process, where they are not the most probable ones.

    Raises: RunError if they are not, or a number differs by more than the tolerance.
    """
    if len(outputs) != len(expected):
        raise _error(where, f"{len(expected)} items got {len(outputs)} predictions")
    if isinstance(expected, AnswerPredictions):
        texts = [str(answer) for answer, _ in outputs]
        changed = sum(text != answer for text, answer in zip(texts, expected.texts, strict=True))
        difference = max_difference(as_numbers(outputs), np.asarray(expected.null_N)[:, None])
    else:
        assert expected.probabilities_NC is not None
        new_NC, study_NC = as_numbers(outputs), expected.probabilities_NC
        if new_NC.shape != study_NC.shape:
            raise _error(where, f"it has {new_NC.shape[-1]} labels and the study {study_NC.shape[-1]}")
        decided = decided or DecidedLabels(new_NC.argmax(axis=1))
        changed = decided.count_changed(study_NC, np.asarray(expected.predicted_N), tolerance)
        difference = max_difference(new_NC, study_NC)
    if changed or not difference <= tolerance:
        raise _error(
            where,
            f"{changed} of {len(expected)} sampled test items get another prediction, and numbers differ "
            f"by up to {difference:.2g} ({tolerance:g} is allowed)",
        )
    return difference


def as_numbers(outputs: list[Any]) -> np.ndarray:
    """The numbers of the outputs: probabilities [N, C], or null scores [N, 1]."""
    if outputs and isinstance(outputs[0][0], str):
        return np.array([[score] for _, score in outputs], dtype=np.float64)
    return np.array(outputs, dtype=np.float64)


def max_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; NaN if any number is NaN."""
    return float(np.abs(a - b).max())


def predict_in_fresh_process(
    load_spec: LoadSpec, location: str, sample: Sample, merge: bool = False
) -> list[Any]:
    """The predictions of a fresh process that runs the card's code on the sample.

    Raises: RunError if it fails, takes too long or prints anything else.
    """
    try:
        return list(run_program(make_program(load_spec, location, merge), sample.inputs))
    except ProgramError as error:
        raise _error(location, str(error)) from None


def _error(where: str, reason: str) -> RunError:
    problem = f"The written files do not reproduce the study: {reason}."
    do = "If the base has changed or files are damaged, run the arm again."
    return RunError(where, problem, "Nothing is uploaded.", do)
