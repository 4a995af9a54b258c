"""What an exported model is: the settings that stand beside its weights in export.json.

In: a folder that `tuneproof export` wrote. Out: an ExportedModel, checked.
Knows nothing of: how it was exported, how it predicts.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuneproof.atomic import MANIFEST, check_folder, read_json
from tuneproof.errors import RecipeError, RunError

EXPORT = "export.json"
Format = Literal["onnx", "gguf"]
WEIGHTS: dict[str, str] = {"onnx": "model.onnx", "gguf": "model.gguf"}
RUNTIMES = {"onnx": ("onnxruntime", "tokenizers"), "gguf": ("llama_cpp",)}
PACKAGES = {"onnx": "onnxruntime tokenizers", "gguf": "llama-cpp-python"}


class ExportedModel(BaseModel):
    """Settings of an exported model.

    `objective`: it predicts labels by a head, labels by their words, or a span. `before`, `after`, `words`:
    the prompt around a text, and the words of each label; `markup`: they hold the marks of a chat template.
    `inputs`: the names that the graph takes besides the tokens and their mask. `threshold`: the null score
    above which no answer is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format
    precision: str
    objective: Literal["labels", "words", "span"]
    labels: tuple[str, ...]
    max_length: int = Field(ge=1, le=10_000_000)
    pad_id: int = Field(0, ge=0, le=10_000_000)
    truncation_side: Literal["left", "right"] = "right"
    before: str = ""
    after: str = ""
    words: tuple[str, ...] = ()
    markup: bool = False
    inputs: tuple[str, ...] = ()
    answer_tokens: int = Field(30, ge=1, le=100_000)
    threshold: float = Field(0.0, allow_inf_nan=False)


def read_exported(folder: Path | str) -> ExportedModel:
    """The settings of an exported model whose files are as they were written.

    Raises: RunError where the folder holds none, or its files were changed.
    """
    path = Path(folder).expanduser()
    if not (path / EXPORT).is_file() or not (path / MANIFEST).is_file():
        do = "Name a folder that `tuneproof export --format onnx` or `--format gguf` wrote."
        if (path / "config.json").is_file():
            do = "It is a whole model: evaluate it with the method tuned-model."
        raise RunError(str(folder), f"is no exported model ({EXPORT} is missing).", do=do)
    check_folder(path)
    try:
        return ExportedModel.model_validate(read_json(path / EXPORT)["model"])
    except (ValidationError, KeyError, TypeError) as error:
        problem = f"does not describe an exported model ({str(error).splitlines()[0]})."
        raise RunError(str(path / EXPORT), problem, do="Export the arm again.") from None


def read_origin(folder: Path) -> dict[str, Any]:
    """What export.json says of the arm that was exported: arm, model, training_s, labels."""
    origin = read_json(folder / EXPORT).get("origin")
    if not isinstance(origin, dict):
        return {}
    numbers = {name: origin[name] for name in ("training_s", "labels") if is_number(origin.get(name))}
    return {**{name: str(origin.get(name)) for name in ("arm", "model")}, **numbers}


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number of at least 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def check_runtime(format: str) -> None:
    """Raises: RecipeError where a package that runs the format is missing."""
    missing = [name for name in RUNTIMES[format] if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"{format} needs {missing[0]}, which is not installed."
        raise RecipeError("export", problem, do=f"Install it: pip install {PACKAGES[format]}.")


def label_columns(model: ExportedModel, labels: Sequence[str], where: str) -> list[int]:
    """For each label of a study, the model's column. Raises: RunError where the labels are others."""
    if sorted(model.labels) != sorted(labels):
        problem = f"gives the labels {', '.join(model.labels)}; the study's are {', '.join(labels)}."
        raise RunError(where, problem, do="Export an arm that was trained on these labels.")
    return [model.labels.index(label) for label in labels]
