"""An exported model as an arm: it predicts in a process of its own, with its own runtime.

In: the folder of an exported model, the study's items. Out: a reply for each item, and how fast it was.
Knows nothing of: golds, scores, the arm that was exported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tuneproof.atomic import MANIFEST, sha256_of_file
from tuneproof.errors import RunError
from tuneproof.methods.export_code import make_program
from tuneproof.methods.exported_model import (
    ExportedModel,
    check_runtime,
    label_columns,
    read_exported,
    read_origin,
)
from tuneproof.methods.fresh_process import ProgramError, run_program
from tuneproof.methods.method import Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.tasks.task import Example

BATCH_SIZE = 16
SINGLE_CALLS = 200
NO_THRESHOLD = 1e30  # above every null score: dev chooses the threshold of the arm


class ExportedOptions(MethodOptions):
    """Settings of an exported model."""

    folder: str = Field(
        min_length=1, description="The folder that `tuneproof export` wrote: STUDY/exports/NAME, or its --to."
    )


def run_exported(
    model: ExportedModel, folder: Path, examples: Sequence[Example], seconds: float, threads: int | None
) -> dict[str, Any]:
    """Predict items in a fresh process. seconds: to time single items, at most.

    Returns: predictions (a list of probabilities, or [answer, null score], an item), group_s and single_s
    (seconds of each call), batch_size.

    Raises: RunError where the process fails, or a number is not finite.
    """
    check_runtime(model.format)
    if model.objective == "span":
        groups: list[Any] = [
            [item.required_question.question, item.required_question.context] for item in examples
        ]
        single, size = groups[:SINGLE_CALLS], 1
    else:
        texts, size = [item.text for item in examples], BATCH_SIZE
        groups = [texts[first : first + size] for first in range(0, len(texts), size)]
        single = [[text] for text in texts[:SINGLE_CALLS]]
    request = {"groups": groups, "single": single, "seconds": seconds}
    try:
        result: dict[str, Any] = run_program(make_program(model, str(folder.resolve()), threads), request)
    except ProgramError as error:
        raise RunError(str(folder), f"{error}.", do="Export the arm again.") from None
    numbers = [row[1:] if model.objective == "span" else row for row in result["predictions"]]
    if len(numbers) != len(examples) or not np.isfinite(np.array(numbers, dtype=np.float64)).all():
        problem = f"gave {len(numbers)} predictions for {len(examples)} items, or one that is not finite."
        raise RunError(str(folder), problem, do="Export the arm again.")
    return {**result, "batch_size": size}


def reply_exported(options: Any, request: SystemRequest) -> SystemReplies:
    """The model's prediction of each item."""
    folder = Path(options.folder).expanduser()
    model = read_exported(folder)
    is_span = model.objective == "span"
    if is_span:
        model = model.model_copy(update={"threshold": NO_THRESHOLD})
    columns = [] if is_span else label_columns(model, request.labels, options.folder)
    result = run_exported(model, folder, request.examples, request.timing_s, request.threads)
    request.report(len(request.examples))
    predictions, seconds = result["predictions"], sum(result["group_s"])
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return SystemReplies(
        texts=[row[0] if is_span else "" for row in predictions],
        probabilities_NC=None if is_span else np.array(predictions)[:, columns],
        null_N=np.array([row[1] for row in predictions]) if is_span else None,
        seconds=seconds,
        single_s=result["single_s"],
        batch_s=result["group_s"][: len(predictions) // result["batch_size"]],
        batch_size=result["batch_size"],
        about={
            "format": model.format,
            "precision": model.precision,
            "size_bytes": size,
            "origin": read_origin(folder),
        },
        notes=(f"The model was exported to {model.format} in {model.precision}; it ran in its own runtime.",),
    )


def announce_exported(options: Any, request: SystemRequest) -> list[str]:
    """What is known before it runs. Raises: RunError or RecipeError where it cannot run on these items."""
    model = read_exported(options.folder)
    check_runtime(model.format)
    if model.objective != "span":
        label_columns(model, request.labels, options.folder)
    return [
        f"{len(request.examples):,} items will be predicted by a model in {model.format}, {model.precision}."
    ]


def exported_inputs(options: Any) -> Mapping[str, str]:
    """The checksum of the folder's manifest. Raises: RunError where it holds no exported model."""
    read_exported(options.folder)
    return {f"the model {options.folder}": sha256_of_file(Path(options.folder).expanduser() / MANIFEST)}


EXPORTED = Method(
    name="exported",
    kind="system",
    title="an arm that was exported to ONNX or GGUF, run in its own runtime",
    options=ExportedOptions,
    chance=False,
    paper="none",
    reply=reply_exported,
    announce=announce_exported,
    inputs=exported_inputs,
)
