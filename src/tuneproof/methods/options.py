"""Settings that methods share: a method's options inherit the groups that it honours, and no other.

In: nothing. Out: one frozen class for each group, and what the stages read from options of any method.
Knows nothing of: how a method is carried out.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tuneproof.methods.learning_rate import DESCRIPTION as RATE_DESCRIPTION
from tuneproof.settings import Settings

LAST = re.compile(r"last ([1-9][0-9]{0,5})")
LearningRate = Annotated[float, Field(gt=0, le=1)] | Literal["auto"] | None


class MethodOptions(Settings):
    """Settings of every method."""

    name: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="Name of the arm (default: the method's name); two arms with one method need "
        "different names.",
    )


class FinishedModelOptions(MethodOptions):
    """Settings of every method that evaluates a finished model of its own."""

    model: str = Field(
        min_length=1,
        description="A folder or hub id: a whole model, or a LoRA adapter beside its base (as TRL, Unsloth, "
        "LLaMA-Factory, AutoTrain or a study here writes it).",
    )
    revision: str | None = Field(None, min_length=1, description="Commit or tag on the hub.")
    base: str | None = Field(
        None,
        min_length=1,
        description="The adapter's base: a short name, hub id or folder (default: the one that it names).",
    )
    labels: tuple[str, ...] = Field(
        (),
        description="The labels in the order of the outputs of the model's classification head, where its "
        "configuration does not name them.",
    )


class StudyModelOptions(MethodOptions):
    """Settings of every method that runs on the models of the study."""

    models: tuple[str, ...] = Field(
        (), description="The models, by name, that the arm runs on (default: every model of the study)."
    )


class PromptOptions(MethodOptions):
    """Settings of every method that prompts the pretrained model and trains nothing."""

    scoring: Literal["likelihood", "generate"] = Field(
        "likelihood",
        description="likelihood: the log-probability of each label's words; generate: greedy text that is "
        "searched for a label (text without one counts as unparsed, never as a label). "
        "Questions are always answered by generating.",
    )
    calibration: Literal["contextual", "none"] = Field(
        "contextual",
        description="contextual: divide by the label probabilities of content-free inputs "
        "(Zhao et al. 2021, arXiv:2102.09690, section 5); the raw score is recorded as well.",
    )


class PoolingOption(StudyModelOptions):
    """The setting of a method whose head reads pooled features of the frozen base."""

    pooling: Literal["auto", "first", "mean", "last", "unit-mean"] = Field(
        "auto",
        description="Which hidden states become the features; auto: the best on dev of first and mean "
        "(encoder) or last and mean (decoder). unit-mean: the mean, scaled to length 1.",
    )


class StrengthsOption(MethodOptions):
    """The setting of a method that fits a head by regularised regression."""

    strengths: tuple[float, ...] = Field(
        (0.01, 0.1, 1.0, 10.0),
        min_length=1,
        description="Inverse L2 strengths of the head (scikit-learn's C, for 1,000 items) on standardised "
        "features; the one with the lowest dev loss wins.",
    )


class TunedOptions(StudyModelOptions):
    """Settings of every method with a training loop."""

    objective: Literal["head", "words"] = Field(
        "head",
        description="head: a classification head on the last real token (decoder) or the first "
        "(encoder); for questions, a head that marks the answer's start and end. words: a decoder "
        "learns to write the label's words or the answer; only these count in the loss.",
    )
    epochs: int | None = Field(None, ge=1, le=1000, description="Passes over train (default: train.epochs).")
    more_epochs: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (),
        description="Passes over train after the schedule has ended, one number for each further cycle with "
        "its own warm-up and decay; optimizer and best weights are carried over (Loshchilov and Hutter 2017, "
        "arXiv:1608.03983, section 3). `run --extend` adds one.",
    )
    learning_rate: LearningRate = Field(None, description=RATE_DESCRIPTION)

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _check_learning_rate(cls, value: Any) -> Any:
        if value is None or value == "auto" or (isinstance(value, int | float) and 0 < value <= 1):
            return value
        raise ValueError("it should be a number above 0 and at most 1, or auto")

    @field_validator("more_epochs", mode="before")
    @classmethod
    def _list_cycles(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


class EngineOption(MethodOptions):
    """The setting of a method that the Hugging Face Trainer can train as well."""

    engine: Literal["loop", "trainer"] = Field(
        "loop",
        description="loop: the training loop of tuneproof. trainer: the Hugging Face Trainer with its own "
        "optimizer, schedule and clipping, without checkpoints. A study with both compares them step by "
        "step.",
    )


class LayersOption(MethodOptions):
    """The setting of a method that can train the last layers alone."""

    layers: str = Field(
        "all",
        description="Which layers train. last N: the last N and everything after them. The embeddings and "
        "the lower layers stay frozen: they process each item once, and every epoch, evaluation and "
        "seed starts from their cached activations.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _check_layers(cls, value: Any) -> str:
        if isinstance(value, str) and (value == "all" or LAST.fullmatch(value)):
            return value
        raise ValueError("it should be all, or last N with N from 1, such as last 4")


class WeightsOption(MethodOptions):
    """The setting of a method that can start from random weights."""

    weights: Literal["pretrained", "random"] = Field(
        "pretrained",
        description="random: the same architecture from random weights, which shows the effect of "
        "pretraining.",
    )


class AdapterOptions(LayersOption, EngineOption, TunedOptions):
    """Settings of every method that trains adapters beside a frozen base."""

    targets: Literal["all-linear", "attention"] | tuple[str, ...] = Field(
        "all-linear",
        description="all-linear: every linear layer of the blocks (Schulman 2025, LoRA Without Regret), with "
        "lora each routed expert of a mixture, too, whose training then takes as much memory again as the "
        "experts, unless train.gradient_checkpointing is on; attention: only those of the attention; or a "
        "list of layer names, such as [q_proj, v_proj].",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _check_targets(cls, value: Any) -> Any:
        names = value if isinstance(value, list | tuple) else ()
        if value in ("all-linear", "attention") or (names and all(isinstance(n, str) and n for n in names)):
            return value
        raise ValueError("it should be all-linear, attention or a list of layer names")


def trains_words(options: MethodOptions) -> bool:
    """Whether the model learns to continue with words (otherwise a head learns, or nothing does)."""
    return isinstance(options, TunedOptions) and options.objective == "words"


def starts_random(options: MethodOptions) -> bool:
    """Whether training starts from random weights."""
    return isinstance(options, WeightsOption) and options.weights == "random"


def uses_trainer(options: MethodOptions) -> bool:
    """Whether the Hugging Face Trainer trains."""
    return isinstance(options, EngineOption) and options.engine == "trainer"


def generates_text(options: MethodOptions) -> bool:
    """Whether labels are read off generated text."""
    return isinstance(options, PromptOptions) and options.scoring == "generate"


def last_layers(options: MethodOptions) -> int | None:
    """How many of the last layers train; None: all do, or the method has no such setting."""
    match = LAST.fullmatch(options.layers) if isinstance(options, LayersOption) else None
    return int(match[1]) if match else None
