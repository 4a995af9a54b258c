"""What a method is: how predictions come about.

In: nothing. Out: the types that every method fills in. Knows nothing of: files, scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tuneproof.methods.linear_head import HeadData, LinearHead, LinearSpanHead, SpanStates
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.system import SystemReplies, SystemRequest
from tuneproof.tasks.task import Example

Kind = Literal["baseline", "prompt", "tuned", "finished", "system"]


@dataclass(frozen=True)
class BaselineFit:
    """What a baseline returns for labels: probabilities of dev and test items, and what dev chose.

    notes: what a reader has to know of it, in sentences. predict: new texts → their probabilities.
    save: writes what predicts into a folder (`methods/text_classifier.py`).
    """

    dev_NC: NDArray[np.float64]
    test_NC: NDArray[np.float64]
    chosen: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    notes: tuple[str, ...] = ()
    predict: Callable[[Sequence[str]], NDArray[np.float64]] | None = None
    save: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class BaselineAnswers:
    """What a baseline returns for N questions: its best answers, and scores in its own unit.

    `null_N` grows with how sure it is that there is no answer; above 0 the answer is withheld unless
    dev chooses another threshold.
    """

    answers: Sequence[str]
    null_N: NDArray[np.float64]
    score_N: NDArray[np.float64]
    parameters: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their labels as indices 0..C-1. weights_N: of their losses; None: all the same."""

    texts: Sequence[str]
    labels_N: NDArray[np.int64]
    weights_N: NDArray[np.float64] | None = None


def nothing_frozen(options: Any) -> bool:
    """Every weight trains."""
    return False


def base_frozen(options: Any) -> bool:
    """Only what is added to the base trains."""
    return True


def no_inputs(options: Any) -> Mapping[str, str]:
    """Nothing besides the settings."""
    return {}


def exact_start(options: Any) -> float:
    """The first logits are the base's to the bit."""
    return 0.0


@dataclass(frozen=True)
class Method:
    """One entry of the catalog; the stages read these fields and never the name.

    `kind` decides which fields count:

    - baseline: `fit` for labels (options, train, dev, texts of test, number of labels), `answer` for
      questions (those of train → what answers others).
    - prompt: `shots`, the number of examples in the prompt.
    - tuned: `fit_head` or `fit_span_head` (a convex fit of the head on cached features comes first),
      `apply` (model, family, options, names of the weights that the checkpoint did not hold → the model
      with what trains marked or added), or both; without `apply` nothing but the head is fitted. A method
      of peft's writes `apply=with_adapters(make_config)`.
    - finished: a model of its own, named by the option `model`, which is evaluated as it is.
    - system: made elsewhere; `reply` (options, the items) gives its predictions. `inputs` (options) names
      what the result depends on besides, such as the checksum of a file. `announce`: what is said
      of it before it replies, where replies take time or money. `neutral`: options that change no result.

    `chance`: whether a seed changes the outcome. `freezes_base`: whether the base's own weights stay as
    they are. `weighs_classes`: whether `train.class_weights` changes a baseline.
    `start_error`: by how much the logits before the first step may differ from the base's.
    `merges`: whether its adapters can be merged into the base's weights. `quantizes`: the frozen base's
    linear layers are held in 4 bits. `check` raises RecipeError where a package that it needs is missing.
    """

    name: str
    kind: Kind
    title: str
    options: type[MethodOptions]
    chance: bool
    paper: str
    differs: str = ""
    fit: Callable[[Any, LabelledTexts, LabelledTexts, Sequence[str], int], BaselineFit] | None = None
    answer: Callable[[Sequence[Example]], Callable[[Sequence[Example]], BaselineAnswers]] | None = None
    shots: Callable[[Any], int] | None = None
    fit_head: Callable[[Any, HeadData], LinearHead] | None = None
    fit_span_head: Callable[[Any, SpanStates, SpanStates], LinearSpanHead] | None = None
    apply: Callable[[Any, Any, Any, Sequence[str]], Any] | None = None
    freezes_base: Callable[[Any], bool] = nothing_frozen
    start_error: Callable[[Any], float] = exact_start
    weighs_classes: bool = False
    merges: bool = True
    quantizes: bool = False
    check: Callable[[], None] | None = None
    reply: Callable[[Any, SystemRequest], SystemReplies] | None = None
    announce: Callable[[Any, SystemRequest], Sequence[str]] | None = None
    inputs: Callable[[Any], Mapping[str, str]] = no_inputs
    neutral: tuple[str, ...] = ()

    @property
    def needs_model(self) -> bool:
        """Whether it runs on each model of the study."""
        return self.kind in ("prompt", "tuned")

    @property
    def learns_labels(self) -> bool:
        """Whether it learns from labels by a loss in which classes may weigh differently."""
        return self.kind == "tuned" or self.weighs_classes

    @property
    def fits_head(self) -> bool:
        """Whether a convex fit of the head comes first."""
        return self.fit_head is not None or self.fit_span_head is not None
