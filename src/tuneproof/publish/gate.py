"""The gate: what was written is loaded in a fresh process and must say what the study's file says.

In: a written folder, the study's predictions of test. Out: by how much they differ, or an error.
Knows nothing of: the card, the hub.

The process runs the card's own lines. It has no token, no network and nothing of ours in it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.atomic import sha256_of_file
from tuneproof.errors import RunError
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import Predicted, read_predictions
from tuneproof.publish.files import Material, copied
from tuneproof.publish.load_code import Published, program
from tuneproof.record.study_folder import PREDICTIONS, read_items
from tuneproof.redact import is_secret
from tuneproof.tasks.question_rows import asked_from

SAMPLE = 32  # items
AT_ONCE = 8
LONGEST_S = 3600.0
# Of probabilities (of the null score in logits ten times as much). In float32 only the order of sums
# differs; half precision on another device rounds every layer otherwise.
TOLERANCES = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 2e-2}
NULL_FACTOR = 10.0


@dataclass(frozen=True)
class Sample:
    """Items of test: what is asked, and what the study's file says."""

    asked: list[Any]
    told: Predicted


@dataclass(frozen=True)
class Passed:
    """What the gate saw over `items`: the largest differences, in `unit`.

    `merged`: between adapter and the adapter merged into its base; None where there is no adapter.
    """

    items: int
    difference: float
    tolerance: float
    unit: str
    merged: float | None = None


def take_sample(material: Material) -> Sample:
    """The first items of test by id that were read whole.

    Raises: RunError where the study keeps no texts, or every item was cut.
    """
    told = read_predictions(material.record.folder / PREDICTIONS)
    items = read_items(material.study.folder)
    if not items.ids:
        raise RunError(
            str(material.study.folder),
            "keeps no texts of its items, so nothing can be asked again.",
            do="Put items.parquet back, or run the study again.",
        )
    place = {name: at for at, name in enumerate(items.ids)}
    whole = [at for at, name in enumerate(told.ids) if name in place and not bool(told.truncated_N[at])]
    chosen = sorted(whole, key=lambda at: told.ids[at])[:SAMPLE]
    if not chosen:
        raise RunError(
            str(material.record.folder),
            "every test item was cut to what the model reads, so none can be asked again as it was.",
            do="Raise encode.max_length and run the arm again.",
        )
    where = [place[told.ids[at]] for at in chosen]
    if items.asked:
        pairs = [asked_from(items.texts[at], items.asked[at]) for at in where]
        asked: list[Any] = [[pair.question, pair.context] for pair in pairs if pair is not None]
    else:
        texts = [items.texts[at] for at in where]
        asked = [texts[at : at + AT_ONCE] for at in range(0, len(texts), AT_ONCE)]
    return Sample(asked, told.take(chosen))


def pass_gate(material: Material, it: Published, folder: Path) -> Passed:
    """Ask the written folder in a fresh process, adapters also merged, and compare.

    Raises: RunError where the folder cannot be loaded or says anything else than the study's file.
    """
    sample = take_sample(material)
    tolerance = TOLERANCES[material.precision]
    if it.asks == "span":
        tolerance *= NULL_FACTOR
    beside = it.holds != "model" and not material.merged
    here = it.at(material.base_folder) if beside else it
    found = ask(here, str(folder), sample)
    difference = compare(sample.told, found, tolerance, str(folder))
    _check_copies(material, folder)
    unit = "logits" if it.asks == "span" else "of a probability"
    other = None
    if material.it.holds == "adapter" and not it.packed:
        adapter = material.it.at(material.base_folder)
        weights = str(material.weights)
        again = ask(adapter, weights, sample, merge=not material.merged)
        other = largest(numbers(found), numbers(again))
        if not other <= tolerance:
            raise _failed(
                str(folder),
                "the adapter and the adapter merged into its base differ by "
                f"{other:.2g} ({tolerance:g} is allowed)",
            )
    return Passed(len(sample.told), difference, tolerance, unit, other)


def _check_copies(material: Material, folder: Path) -> None:
    """What was copied is the arm's own byte for byte: one weight may move no sampled prediction.

    Raises: RunError naming the first file that is not.
    """
    for name, digest in copied(material).items():
        file = folder / name
        if not file.is_file() or sha256_of_file(file) != digest:
            raise _failed(str(folder), f"{name} is not the file that the arm saved (checksum differs)")


def compare(told: Predicted, found: list[Any], tolerance: float, where: str) -> float:
    """The largest difference between the study's predictions and what the process said.

    Labels and answers must be equal, but for labels that the study itself holds equally probable
    within the tolerance.

    Raises: RunError where they are not, or a number differs by more than the tolerance.
    """
    if len(found) != len(told):
        raise _failed(where, f"{len(found)} answers came to {len(told)} items")
    if isinstance(told, AnswerPredictions):
        unlike = sum(answer != text for answer, text in zip(texts(found), told.texts, strict=True))
        difference = largest(numbers(found), np.asarray(told.null_N)[:, None])
    else:
        assert told.probabilities_NC is not None
        now_NC, then_NC = numbers(found), told.probabilities_NC
        if now_NC.shape != then_NC.shape:
            raise _failed(where, f"it has {now_NC.shape[-1]} labels and the study {then_NC.shape[-1]}")
        best_N = then_NC[np.arange(len(told)), told.predicted_N]
        at_now_N = then_NC[np.arange(len(told)), now_NC.argmax(axis=1)]
        unlike = int((best_N - at_now_N > 2 * tolerance).sum())
        difference = largest(now_NC, then_NC)
    if unlike or not difference <= tolerance:
        raise _failed(
            where,
            f"{unlike} of {len(told)} sampled test items come out otherwise, and numbers differ by up "
            f"to {difference:.2g} ({tolerance:g} is allowed)",
        )
    return difference


def texts(found: list[Any]) -> list[str]:
    """The answers to questions."""
    return [str(answer) for answer, _ in found]


def numbers(found: list[Any]) -> np.ndarray:
    """What can be measured of the answers: probabilities [N, C], or null scores [N, 1]."""
    if found and isinstance(found[0][0], str):
        return np.array([[score] for _, score in found], dtype=np.float64)
    return np.array(found, dtype=np.float64)


def largest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference; NaN where one is none."""
    return float(np.abs(a - b).max())


def ask(it: Published, place: str, sample: Sample, merge: bool = False) -> list[Any]:
    """What a fresh process says to the sample by the card's lines.

    Raises: RunError where it fails, takes too long or writes anything else.
    """
    source = program(it, place, merge)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", source],
            input=json.dumps(sample.asked),
            text=True,
            capture_output=True,
            env=_environment(),
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(place, f"its process ran for more than {LONGEST_S / 60:g} minutes") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise _failed(place, f"it cannot be loaded and asked in a fresh process: {said.rstrip('.')}")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise _failed(place, "its process gave no answer") from None
    return list(found)


def _environment() -> dict[str, str]:
    """The environment without secrets, and with the network shut for the hub's libraries."""
    kept = {name: value for name, value in os.environ.items() if not is_secret(name)}
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_DISABLE_TELEMETRY",
    ):
        kept[name] = "1"
    return {**kept, "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}


def _failed(where: str, why: str) -> RunError:
    return RunError(
        where,
        f"what was written does not reproduce the study: {why}.",
        "Nothing is uploaded.",
        "Where the base has changed or the files are damaged, run the arm again; of an adapter, "
        "try --merged.",
    )
