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
from tuneproof.inference.answers import AnswerPredictions
from tuneproof.inference.prediction import Predicted, Predictions
from tuneproof.methods.method import Labelled
from tuneproof.recipe.recipe import Recipe
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.task import Example, Prompt, QuestionPrompt


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
    words: Prompt | QuestionPrompt
    cache: Path
    sample: Sample | None = None

    @property
    def kind(self) -> str:
        """What the task asks for: labels or questions."""
        return self.recipe.task.kind

    @property
    def prompt(self) -> Prompt:
        """The words around an item of a task of labels."""
        assert isinstance(self.words, Prompt)
        return self.words

    @property
    def question_prompt(self) -> QuestionPrompt:
        """The words around a question."""
        assert isinstance(self.words, QuestionPrompt)
        return self.words

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
        return replace(self, splits=replace(self.splits, train=train), sample=Sample(places, seed, whole))


@dataclass(frozen=True)
class Outcome:
    """What an arm gives: predictions of the frozen items, and how they came about.

    rate: more of the ledger, measured when it is called: after the arm's peak of memory is.
    """

    test: Predicted
    dev: Predicted
    ledger: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    time_s: dict[str, float] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    save: Callable[[Path], None] | None = None
    rate: Callable[[], dict[str, Any]] = dict


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


def as_answers(
    examples: Sequence[Example],
    answers: Sequence[str],
    null_N: NDArray[np.float64],
    score_N: NDArray[np.float64],
    tokens_N: NDArray[np.int64],
    truncated_N: NDArray[np.bool_],
    outside_N: NDArray[np.bool_],
    nbest: Sequence[Sequence[dict[str, Any]]] | None = None,
) -> AnswerPredictions:
    """Rows for these questions, at the threshold 0."""
    if nbest is None:
        pairs = zip(answers, score_N.tolist(), strict=True)
        nbest = [[{"text": text, "score": value}] if text else [] for text, value in pairs]
    return AnswerPredictions(
        ids=[example.id for example in examples],
        groups=[example.group for example in examples],
        paragraphs=[example.asked.paragraph for example in examples],
        golds=[example.asked.answers for example in examples],
        answers=list(answers),
        null_N=null_N,
        score_N=score_N,
        nbest=nbest,
        tokens_N=tokens_N,
        truncated_N=truncated_N,
        outside_N=outside_N,
    )


@dataclass(frozen=True)
class Decided:
    """Answers of dev and test at the threshold that dev chose, and what it chose."""

    dev: AnswerPredictions
    test: AnswerPredictions
    chosen: dict[str, Any]


def decided(dev: AnswerPredictions, test: AnswerPredictions) -> Decided:
    """Choose on dev above which null score no answer is given; test is only told."""
    found = best_threshold(dev)
    chosen = {
        "no_answer_threshold": found.threshold,
        "default_threshold": dev.default_threshold,
        "dev_f1": found.f1,
        "dev_f1_at_default": found.default_f1,
        "by": "highest F1 on dev",
    }
    return Decided(dev.at(found.threshold), test.at(found.threshold), chosen)
