"""What all arms of a study share: items, prompt, settings; and what an arm returns.

In: recipe and splits. Out: StudyData and ArmResult. Knows nothing of: how an arm of any kind works.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.class_weights import class_weights
from tuneproof.data.further_tests import FurtherSet
from tuneproof.data.splits import Splits, sample_indices
from tuneproof.inference.answers import ALWAYS_ANSWER, AnswerPredictions
from tuneproof.inference.finite import refuse_nonfinite
from tuneproof.inference.prediction import AnyPredictions, Predictions
from tuneproof.methods.method import LabelledTexts
from tuneproof.recipe.recipe import Recipe
from tuneproof.score.threshold import best_threshold
from tuneproof.tasks.task import Example, Prompt, QuestionPrompt


@dataclass(frozen=True)
class Sample:
    """A sample of the train items: their `indices` in `whole`, all of train, drawn with `seed`."""

    indices: NDArray[np.int64]
    seed: int
    whole: Sequence[Example]


@dataclass(frozen=True)
class StudyData:
    """The same for every arm by construction.

    words: the prompt. cache: the folder of cached activations. sample: how train was drawn where an arm
    learns from a part of it. tests: further test sets, which choose nothing.
    """

    recipe: Recipe
    splits: Splits
    words: Prompt | QuestionPrompt
    cache: Path
    sample: Sample | None = None
    tests: tuple[FurtherSet, ...] = ()

    @property
    def kind(self) -> str:
        """What the task asks for: "labels" or "questions"."""
        return self.recipe.task.kind

    @property
    def prompt(self) -> Prompt:
        """The prompt of a task with labels."""
        assert isinstance(self.words, Prompt)
        return self.words

    @property
    def question_prompt(self) -> QuestionPrompt:
        """The prompt of a task with questions."""
        assert isinstance(self.words, QuestionPrompt)
        return self.words

    @property
    def answers_all(self) -> bool:
        """Of questions: whether each one of train and dev has an answer."""
        return all(
            item.required_question.golds for part in ("train", "dev") for item in self.splits.part(part)
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in their order."""
        return self.splits.labels

    @property
    def class_weights_C(self) -> NDArray[np.float64] | None:
        """How much an item of each label weighs when an arm learns from these train items; None: the same."""
        if self.recipe.train.class_weights is None:
            return None
        label_N = [example.label for example in self.splits.train]
        counts_C = np.bincount(label_N, minlength=len(self.labels)).tolist()
        return class_weights(self.recipe.train.class_weights, self.labels, counts_C)

    @property
    def train_name(self) -> str:
        """The key of the encoded train items: a sample is another part than the whole."""
        if self.sample is None:
            return "train"
        return f"{len(self.sample.indices)} of train, seed {self.sample.seed}"

    def sampled(self, size: int, seed: int) -> "StudyData":
        """The same with a stratified sample of train; a seed's larger samples contain its smaller ones."""
        whole = self.splits.train
        indices = sample_indices(whole, size, seed)
        train = [whole[i] for i in indices]
        splits = replace(self.splits, train=train)
        return replace(self, splits=splits, sample=Sample(indices, seed, whole), tests=())


@dataclass(frozen=True)
class ArmResult:
    """Predictions of the frozen items, and how they came about.

    search: the settings tried on dev, and which it chose. training_speed: measures more of the ledger;
    called after the arm's peak memory is read. save: writes the weights into a folder. predict: predicts
    further items as test was predicted; their part has a name. serve: the size of a batch → what predicts
    items with all that is loaded, for timing it; serving: the entry of a system that timed itself.
    """

    test: AnyPredictions
    dev: AnyPredictions
    ledger: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] | None = None
    time_s: dict[str, float] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    save: Callable[[Path], None] | None = None
    training_speed: Callable[[], dict[str, Any]] = dict
    serve: Callable[[int], Callable[[Sequence[Example]], Any]] | None = None
    predict: Callable[[Sequence[Example], str], AnyPredictions] | None = None
    serving: dict[str, Any] | None = None

    @property
    def items_per_s(self) -> float | None:
        """The rate at which dev and test were predicted; None where it was not timed."""
        seconds = self.time_s.get("predict")
        return (len(self.test) + len(self.dev)) / seconds if seconds else None


def labelled_texts(
    examples: Sequence[Example], weights_C: NDArray[np.float64] | None = None
) -> LabelledTexts:
    """Texts, label indices, and the items' weights by the weights of their labels."""
    labels_N = np.array([example.label for example in examples], dtype=np.int64)
    weights_N = None if weights_C is None else weights_C[labels_N]
    return LabelledTexts([example.text for example in examples], labels_N, weights_N)


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
    """Rows for these examples; without `predicted_N` the most probable label is predicted.

    Raises: RunError where a probability is not finite.
    """
    if probabilities_NC is not None:
        refuse_nonfinite(examples, probabilities_NC)
    if uncalibrated_NC is not None:
        refuse_nonfinite(examples, uncalibrated_NC)
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
    """Rows for these questions, at the threshold 0. Raises: RunError where a score is not finite."""
    refuse_nonfinite(examples, np.stack([null_N, score_N], axis=1))
    if nbest is None:
        pairs = zip(answers, score_N.tolist(), strict=True)
        nbest = [[{"text": text, "score": value}] if text else [] for text, value in pairs]
    return AnswerPredictions(
        ids=[example.id for example in examples],
        groups=[example.group for example in examples],
        paragraphs=[example.required_question.paragraph for example in examples],
        golds=[example.required_question.answers for example in examples],
        answers=list(answers),
        null_N=null_N,
        score_N=score_N,
        nbest=nbest,
        tokens_N=tokens_N,
        truncated_N=truncated_N,
        outside_N=outside_N,
    )


@dataclass(frozen=True)
class AnswersAtThreshold:
    """Answers of dev and test at the threshold that dev chose."""

    dev: AnswerPredictions
    test: AnswerPredictions
    chosen: dict[str, Any]


def apply_dev_threshold(
    dev: AnswerPredictions, test: AnswerPredictions, answers_all: bool = False
) -> AnswersAtThreshold:
    """Choose on dev above which null score no answer is given; test is only reported.

    answers_all: every question of train and dev has an answer, so none is ever withheld, as in SQuAD 1.1.
    """
    if answers_all:
        by = "every question of train and dev has an answer"
        chosen = {"no_answer_threshold": ALWAYS_ANSWER, "by": by}
        return AnswersAtThreshold(
            dev.with_threshold(ALWAYS_ANSWER), test.with_threshold(ALWAYS_ANSWER), chosen
        )
    best = best_threshold(dev)
    chosen = {
        "no_answer_threshold": best.threshold,
        "default_threshold": dev.default_threshold,
        "dev_f1": best.f1,
        "dev_f1_at_default": best.default_f1,
        "by": "highest F1 on dev",
    }
    return AnswersAtThreshold(dev.with_threshold(best.threshold), test.with_threshold(best.threshold), chosen)
