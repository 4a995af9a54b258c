"""What all arms of a study share: the same items, prompt, settings; and what an arm gives back.

In: recipe and splits. Out: Shared and Outcome. Knows nothing of: how any kind of arm works.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.splits import Splits, sample_places
from tuneproof.methods.method import Labelled
from tuneproof.predict.prediction import Predictions
from tuneproof.recipe import Recipe
from tuneproof.tasks.task import Example, Prompt


@dataclass(frozen=True)
class Sample:
    """Some of the train items: `places` of them in the whole of train, drawn by `seed`."""

    places: NDArray[np.int64]
    seed: int
    whole: list[Example]


@dataclass(frozen=True)
class Shared:
    """The same for every arm by construction. `cache` is a folder for features.

    `sample` says how train was drawn where an arm learns from less than the whole of it.
    """

    recipe: Recipe
    splits: Splits
    prompt: Prompt
    cache: Path
    sample: Sample | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in their order."""
        return self.splits.labels

    @property
    def train_name(self) -> str:
        """What encoded train items are kept under: a sample is another part than the whole."""
        if self.sample is None:
            return "train"
        return f"{len(self.sample.places)} of train, seed {self.sample.seed}"

    def sampled(self, size: int, seed: int) -> "Shared":
        """The same with `size` items of train, stratified; smaller samples of a seed are in larger."""
        whole = self.splits.train
        places = sample_places(whole, size, seed)
        train = [whole[place] for place in places]
        return replace(
            self,
            splits=replace(self.splits, train=train),
            sample=Sample(places, seed, whole),
        )


@dataclass(frozen=True)
class Outcome:
    """What an arm gives: predictions of the frozen items, and how they came about."""

    test: Predictions
    dev: Predictions
    ledger: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    time_s: dict[str, float] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    save: Callable[[Path], None] | None = None


def labelled(examples: Sequence[Example]) -> Labelled:
    """Texts and label indices."""
    return Labelled(
        [example.text for example in examples],
        np.array([example.label for example in examples], dtype=np.int64),
    )


def as_predictions(
    labels: tuple[str, ...],
    examples: Sequence[Example],
    probabilities_NC: NDArray[np.float64] | None,
    tokens_N: NDArray[np.int64],
    truncated_N: NDArray[np.bool_],
    uncalibrated_NC: NDArray[np.float64] | None = None,
    predicted_N: NDArray[np.int64] | None = None,
    texts: Sequence[str] | None = None,
) -> Predictions:
    """Rows for these examples; without `predicted_N` the most probable label is predicted."""
    if predicted_N is None:
        assert probabilities_NC is not None
        predicted_N = probabilities_NC.argmax(axis=1).astype(np.int64)
    return Predictions(
        labels=labels,
        ids=[example.id for example in examples],
        groups=[example.group for example in examples],
        gold_N=np.array([example.label for example in examples], dtype=np.int64),
        predicted_N=predicted_N,
        tokens_N=tokens_N,
        truncated_N=truncated_N,
        probabilities_NC=probabilities_NC,
        uncalibrated_NC=uncalibrated_NC,
        texts=texts,
    )
