"""What a method is: how predictions come about.

In: nothing. Out: the types that every method on the shelf fills in.
Knows nothing of: files, scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from tuneproof.methods.layers import checked_layers
from tuneproof.settings import Settings
from tuneproof.tasks.task import Example

Kind = Literal["baseline", "prompt", "tuned"]


class MethodOptions(Settings):
    """Settings of a method; every method's options are a subclass with its own fields."""

    name: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="What the arm is called (default: the method's name); two arms of one method "
        "need two names.",
    )


class PromptOptions(MethodOptions):
    """Settings of every method that asks by a prompt and trains nothing."""

    scoring: Literal["likelihood", "generate"] = Field(
        "likelihood",
        description="likelihood: the log-probability of each label's words; generate: greedy text, "
        "in which a label is looked for (what holds none counts as unparsed, never as a label). "
        "Questions are always answered by generating.",
    )
    calibration: Literal["contextual", "none"] = Field(
        "contextual",
        description="contextual: divide by the label probabilities of content-free inputs "
        "(Zhao et al. 2021, arXiv:2102.09690, section 5); the raw score is recorded as well.",
    )


class TunedOptions(MethodOptions):
    """Settings of every method with a training loop."""

    objective: Literal["head", "words"] = Field(
        "head",
        description="head: a classification head on the last real token (decoder) or the first "
        "(encoder), for questions one that marks the answer's begin and end; words: a decoder "
        "continues with the label's words or the answer, the loss on them alone.",
    )
    epochs: int | None = Field(None, ge=1, le=1000, description="Passes over train (default: train.epochs).")
    engine: Literal["loop", "trainer"] = Field(
        "loop",
        description="What takes the steps: our loop, or the Hugging Face Trainer with its own optimizer, "
        "schedule and clipping, which keeps no checkpoints. Both in one study are compared step by step.",
    )
    layers: str = Field(
        "all",
        description="Which layers train. last N: the upper N and what follows them; the embeddings and "
        "the lower layers stay as they are and are read once an item: every epoch, evaluation and seed "
        "starts from their kept states.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _all_or_last(cls, value: Any) -> str:
        return checked_layers(value)


@dataclass(frozen=True)
class Fitted:
    """What a baseline gives: probabilities of dev and test items, and what dev chose."""

    dev_NC: NDArray[np.float64]
    test_NC: NDArray[np.float64]
    chosen: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """What a baseline says to N questions: its best answers, and scores in its own unit.

    `null_N` grows with how sure it is that there is no answer; above 0 the answer is withheld unless
    dev chooses another threshold.
    """

    answers: Sequence[str]
    null_N: NDArray[np.float64]
    score_N: NDArray[np.float64]
    parameters: int = 0


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels as indices 0..C-1."""

    texts: Sequence[str]
    labels_N: NDArray[np.int64]


def nothing_frozen(options: Any) -> bool:
    """Every weight trains."""
    return False


def base_frozen(options: Any) -> bool:
    """What is added to the base trains alone."""
    return True


@dataclass(frozen=True)
class Method:
    """One item of the shelf; the stages read these fields and never the name.

    `kind` is what carries it out. A baseline has `fit` for labels and `answer` for questions (those of
    train, those to answer); a prompt has none; a tuned one has
    `probe` (a convex fit of the head on cached features comes first), `apply` (model, family, options,
    names of the weights that the checkpoint did not hold → the model with what trains marked or added;
    None: nothing but the probe).
    `freezes` says of options whether the base's own weights stay as they are.
    `chance` says whether a seed changes the outcome. `packs`: the frozen base's linear layers are
    held in 4 bits. `check` raises RecipeError where a package that it needs is missing.
    """

    name: str
    kind: Kind
    title: str
    options: type[MethodOptions]
    chance: bool
    paper: str
    differs: str = ""
    fit: Callable[[Any, Labelled, Labelled, Sequence[str], int], Fitted] | None = None
    answer: Callable[[Sequence[Example], Sequence[Example]], Answered] | None = None
    shots: Callable[[Any], int] | None = None
    probe: bool = False
    apply: Callable[[Any, Any, Any, Sequence[str]], Any] | None = None
    freezes: Callable[[Any], bool] = nothing_frozen
    packs: bool = False
    check: Callable[[], None] | None = None
