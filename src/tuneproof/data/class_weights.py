"""How much an item of each label weighs in the training loss, and on dev, which chooses.

In: the setting `train.class_weights`, labels, the train items' labels. Out: a weight for each label.
Knows nothing of: losses, models. Shapes: N items, C labels.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ClassWeights = Literal["balanced"] | Mapping[str, float] | None
Floats = NDArray[np.float64]


def class_weights(setting: ClassWeights, labels: Sequence[str], counts: Sequence[float]) -> Floats | None:
    """The labels' weights; None where all items weigh the same. counts: train items of each label.

    balanced: n / (K * n_k), with K the labels that train has, as scikit-learn. A label that the setting
    does not name, or train does not have, weighs 1.

    Source: King and Zeng 2001, Logistic Regression in Rare Events Data, section 4.2.
    """
    if setting is None:
        return None
    if setting != "balanced":
        return np.array([float(setting.get(label, 1.0)) for label in labels])
    counts_C = np.asarray(counts, dtype=np.float64)
    weights_C = np.ones(len(labels))
    present_C = counts_C > 0
    weights_C[present_C] = counts_C.sum() / (present_C.sum() * counts_C[present_C])
    return weights_C


def weighted_counts(setting: ClassWeights, counts: Mapping[str, float]) -> dict[str, float]:
    """Counts of labels times their weights, of which shares and entropies are those of the weighted loss."""
    weights_C = class_weights(setting, list(counts), list(counts.values()))
    if weights_C is None:
        return dict(counts)
    return dict(zip(counts, (weights_C * list(counts.values())).tolist(), strict=True))


def weighted_mean(values_N: Floats, weights_N: Floats | None) -> float:
    """The mean of the items' values, which the sum of their weights divides."""
    if weights_N is None:
        return float(values_N.mean())
    return float((values_N * weights_N).sum() / weights_N.sum())
