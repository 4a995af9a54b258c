"""The lexical baseline: TF-IDF of words, signs and characters, and logistic regression.

In: texts and labels of train. Out: probabilities for every item. Knows nothing of: language models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from tuneproof.methods.lexical_features import Features, character_features, word_features
from tuneproof.methods.majority import fit_majority
from tuneproof.methods.method import BaselineFit, LabelledTexts, Method
from tuneproof.methods.options import MethodOptions
from tuneproof.methods.overlap import answer_by_overlap
from tuneproof.methods.text_classifier import TermRegression, TermWeights

NOTHING_TO_READ = "No text of train has a word or a sign: every item gets the label shares of train."


class LexicalOptions(MethodOptions):
    """Settings of the lexical baseline."""

    ngrams: int = Field(2, ge=1, le=4, description="Longest word sequence that is a feature.")
    characters: int = Field(
        4,
        ge=0,
        le=6,
        description="Longest character sequence that is a feature beside the words, if that lowers the dev "
        "loss by more than its standard error; 0: words alone.",
    )
    strengths: tuple[float, ...] = Field(
        (0.5, 2.0, 8.0, 32.0),
        min_length=1,
        description="Inverse L2 strengths C of the regression; the one with the lowest dev loss wins.",
    )


@dataclass(frozen=True)
class _Regression:
    """A regression on one set of features, with its log loss on each item of dev, times the item's weight."""

    name: str
    strength: float
    features: Features
    model: Any
    dev_NC: np.ndarray
    loss_N: np.ndarray

    @property
    def loss(self) -> float:
        """The mean log loss on dev."""
        return float(self.loss_N.mean())

    def beats(self, simpler: "_Regression") -> bool:
        """Whether dev's loss is lower by more than the standard error of the difference."""
        gain_N = simpler.loss_N - self.loss_N
        return bool(gain_N.mean() > gain_N.std() / np.sqrt(len(gain_N)))


@dataclass(frozen=True)
class _Fitter:
    """Fits regressions on one set of features."""

    name: str
    features: Features
    train: LabelledTexts
    dev: LabelledTexts
    classes: int

    def fit(self, strength: float) -> _Regression:
        """The regression with this inverse strength."""
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=strength, max_iter=2000)
        model = regression.fit(self.features.train, self.train.labels_N, self.train.weights_N)
        dev_NC = _all_classes(model, self.features.dev, self.classes)
        loss_N = -np.log(dev_NC[np.arange(len(dev_NC)), self.dev.labels_N] + 1e-12)
        if self.dev.weights_N is not None:
            loss_N *= self.dev.weights_N / self.dev.weights_N.mean()
        return _Regression(self.name, strength, self.features, model, dev_NC, loss_N)

    def best(self, strengths: Sequence[float]) -> _Regression:
        """The lowest loss of all strengths."""
        return min((self.fit(strength) for strength in strengths), key=lambda fitted: fitted.loss)

    def best_from(self, start: float, strengths: Sequence[float]) -> _Regression:
        """The lowest loss, from one strength on and further as long as the loss falls."""
        above = sorted(strength for strength in strengths if strength > start)
        below = sorted((strength for strength in strengths if strength < start), reverse=True)
        best = self.fit(start)
        for direction in (above, below):
            for strength in direction:
                fitted = self.fit(strength)
                if fitted.loss >= best.loss:
                    break
                best = fitted
        return best


def fit_lexical(
    options: Any, train: LabelledTexts, dev: LabelledTexts, texts: Sequence[str], classes: int
) -> BaselineFit:
    """Fit words with each strength, then words and characters with the best and those that lower the loss.

    Dev chooses the strength by the loss, and characters where they beat the words alone.
    """
    best = _choose(options, train, dev, texts, classes)
    if best is None:
        return replace(fit_majority(options, train, dev, texts, classes), notes=(NOTHING_TO_READ,))
    classifier = _classifier(best, classes)
    return BaselineFit(
        dev_NC=best.dev_NC,
        test_NC=_all_classes(best.model, best.features.test, classes),
        chosen={"features": best.name, "strength": best.strength, "dev_loss": best.loss},
        parameters=int(best.model.coef_.size + best.model.intercept_.size),
        predict=classifier.probabilities,
        save=classifier.save,
    )


def _classifier(best: _Regression, classes: int) -> TermRegression:
    model = best.model
    terms = tuple(
        TermWeights.of(source.kind, source.longest, source.scale, source.vectorizer)
        for source in best.features.sources
    )
    return TermRegression(terms, model.coef_, model.intercept_, model.classes_.tolist(), classes)


def _choose(
    options: Any, train: LabelledTexts, dev: LabelledTexts, texts: Sequence[str], classes: int
) -> _Regression | None:
    """What dev chooses; None where train has nothing to read."""
    parts = (train.texts, dev.texts, texts)
    words, characters = word_features(options.ngrams, *parts), character_features(options.characters, *parts)
    if words is None:
        alone = characters and _Fitter("characters", characters, train, dev, classes)
        return alone.best(options.strengths) if alone else None
    best = _Fitter("words", words, train, dev, classes).best(options.strengths)
    if characters is None:
        return best
    both = _Fitter("words and characters", words.beside(characters), train, dev, classes)
    richer = both.best_from(best.strength, options.strengths)
    return richer if richer.beats(best) else best


def _all_classes(model: Any, features: Any, classes: int) -> np.ndarray:
    probabilities_NC = np.zeros((features.shape[0], classes))
    probabilities_NC[:, model.classes_] = model.predict_proba(features)
    return probabilities_NC


LEXICAL = Method(
    name="lexical",
    kind="baseline",
    title="TF-IDF with logistic regression; for questions, the sentence that shares the most words; for "
    "written answers, that of the most similar text in train",
    options=LexicalOptions,
    chance=False,
    paper="Salton and Buckley 1988; scikit-learn's TfidfVectorizer and LogisticRegression",
    fit=fit_lexical,
    weighs_classes=True,
    answer=answer_by_overlap,
)
