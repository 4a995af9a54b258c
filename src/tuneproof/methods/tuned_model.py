"""A finished model or adapter, evaluated as it is: nothing trains.

In: options. Out: the catalog entry. Knows nothing of: how the model is loaded, what its heads mean.
"""

from typing import Literal

from pydantic import Field

from tuneproof.methods.method import Method
from tuneproof.methods.options import FinishedModelOptions, PromptOptions
from tuneproof.methods.prompts import no_shots


class TunedModelOptions(FinishedModelOptions, PromptOptions):
    """Settings of a finished model."""

    instruction: str | None = Field(
        None, description="The instruction that the model was tuned with (default: the task's)."
    )
    template: str | None = Field(
        None,
        min_length=1,
        description="The prompt around {text} that it was tuned with (default: the task's).",
    )
    words: tuple[str, ...] = Field(
        (),
        description="The words that it was tuned to write, in the order of the labels (default: the task's).",
    )
    calibration: Literal["contextual", "none"] = Field(
        "none", description="contextual: as zero-shot; none: the scores as the model gives them."
    )


TUNED_MODEL = Method(
    name="tuned-model",
    kind="finished",
    title="a model or adapter that was tuned elsewhere, evaluated as it is",
    options=TunedModelOptions,
    chance=False,
    paper="none",
    shots=no_shots,
)
