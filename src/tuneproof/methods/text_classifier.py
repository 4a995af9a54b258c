"""Fitted baselines of labels: how they classify texts, and their files, which need no text of train.

In: fitted weights, or the folder that holds them; texts. Out: probabilities of labels; the files.
Knows nothing of: how a baseline is fitted, studies.

`baseline.json` holds the label shares, or the features; then the terms and weights are beside it, as JSON and
safetensors. What is read back predicts the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tuneproof.atomic import read_json, write_json, write_with
from tuneproof.errors import RunError
from tuneproof.methods.lexical_features import make_vectorizer

BASELINE = "baseline.json"
TENSORS = "baseline.safetensors"
DAMAGED = "Restore the folder from a backup, or run the arm again with --restart."
FloatArray = NDArray[np.float64]


class TextClassifier(Protocol):
    """A fitted baseline. Shapes: N texts, C labels."""

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """The labels' probabilities [N, C]."""

    def save(self, folder: Path) -> None:
        """Write the files that `load_classifier` reads."""


@dataclass(frozen=True)
class LabelShares:
    """Every text gets the label shares of train."""

    shares_C: FloatArray

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """The shares, a row for each text."""
        return np.tile(self.shares_C, (len(texts), 1))

    def save(self, folder: Path) -> None:
        """One file."""
        write_json(folder / BASELINE, {"shares": self.shares_C.tolist()})


@dataclass(frozen=True)
class TermWeights:
    """TF-IDF of D terms, the columns of a matrix; `scale` multiplies its rows."""

    kind: Literal["words", "characters"]
    longest: int
    scale: float
    terms: Sequence[str]
    idf_D: FloatArray

    @cached_property
    def vectorizer(self) -> Any:
        """scikit-learn's, as it was fitted."""
        vectorizer = make_vectorizer(self.kind, self.longest)
        vectorizer.set_params(vocabulary={term: column for column, term in enumerate(self.terms)})
        vectorizer.idf_ = self.idf_D
        return vectorizer

    @classmethod
    def of(
        cls, kind: Literal["words", "characters"], longest: int, scale: float, fitted: Any
    ) -> "TermWeights":
        """The terms of a fitted vectorizer."""
        return cls(kind, longest, scale, fitted.get_feature_names_out().tolist(), fitted.idf_)


@dataclass(frozen=True)
class TermRegression:
    """Logistic regression on terms; K rows of weights: one for two labels, else one for each.

    `classes` are those labels, of `labels`, that train has.
    """

    features: tuple[TermWeights, ...]
    weight_KD: FloatArray
    bias_K: FloatArray
    classes: Sequence[int]
    labels: int

    @cached_property
    def regression(self) -> Any:
        """scikit-learn's, as it was fitted."""
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression()
        regression.classes_ = np.array(self.classes, dtype=np.int64)
        regression.coef_, regression.intercept_ = self.weight_KD, self.bias_K
        regression.n_features_in_ = self.weight_KD.shape[1]
        return regression

    def probabilities(self, texts: Sequence[str]) -> FloatArray:
        """Probabilities by the regression; none for a label that train does not have."""
        from scipy.sparse import hstack

        rows = [terms.vectorizer.transform(texts) * terms.scale for terms in self.features]
        probabilities_NC = np.zeros((len(texts), self.labels))
        probabilities_NC[:, list(self.classes)] = self.regression.predict_proba(hstack(rows).tocsr())
        return probabilities_NC

    def save(self, folder: Path) -> None:
        """The features, their terms and idf, and the weights."""
        from safetensors.numpy import save_file

        tensors = {"weight": np.ascontiguousarray(self.weight_KD), "bias": np.ascontiguousarray(self.bias_K)}
        for terms in self.features:
            tensors[f"idf.{terms.kind}"] = np.ascontiguousarray(terms.idf_D)
            write_json(folder / f"{terms.kind}.json", list(terms.terms))
        write_with(folder / TENSORS, lambda file: save_file(tensors, str(file)))
        features = [
            {"kind": terms.kind, "longest": terms.longest, "scale": terms.scale} for terms in self.features
        ]
        about = {"features": features, "classes": [*map(int, self.classes)], "labels": self.labels}
        write_json(folder / BASELINE, about)


def load_classifier(folder: Path) -> TextClassifier:
    """The baseline that was saved into the folder. Raises: RunError where its files do not fit together."""
    from safetensors import SafetensorError

    try:
        about = read_json(folder / BASELINE)
        classifier: LabelShares | TermRegression
        if "shares" in about:
            classifier = LabelShares(np.array(about["shares"], dtype=np.float64))
        else:
            classifier = _read_regression(folder, about)
        _check(classifier)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip() or type(error).__name__
        raise RunError(str(folder), f"its files do not make a baseline: {reason}.", do=DAMAGED) from None
    return classifier


def _read_regression(folder: Path, about: dict[str, Any]) -> TermRegression:
    from safetensors.numpy import load_file

    tensors = load_file(str(folder / TENSORS))
    features = [
        TermWeights(
            entry["kind"],
            entry["longest"],
            entry["scale"],
            read_json(folder / f"{entry['kind']}.json"),
            tensors[f"idf.{entry['kind']}"],
        )
        for entry in about["features"]
        if entry["kind"] in ("words", "characters")
    ]
    return TermRegression(
        tuple(features), tensors["weight"], tensors["bias"], about["classes"], about["labels"]
    )


def _check(classifier: LabelShares | TermRegression) -> None:
    """Raises ValueError where shapes differ, or a value is not finite."""
    if isinstance(classifier, LabelShares):
        arrays = [classifier.shares_C]
    else:
        arrays = [classifier.weight_KD, classifier.bias_K, *(terms.idf_D for terms in classifier.features)]
        columns = sum(len(terms.terms) for terms in classifier.features)
        rows = 1 if len(classifier.classes) == 2 else len(classifier.classes)
        if classifier.weight_KD.shape != (rows, columns) or classifier.bias_K.shape != (rows,):
            shape = list(classifier.weight_KD.shape)
            raise ValueError(f"weight has the shape {shape}, not [{rows}, {columns}]")
        if not set(classifier.classes) <= set(range(classifier.labels)):
            raise ValueError(f"its classes are {classifier.classes}, of {classifier.labels} labels")
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a weight is not finite")
