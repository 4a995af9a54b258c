"""The catalog of metrics.

In: the files beside this one. Out: METRICS, name to metric. Knows nothing of: models, files.
"""

from tuneproof.metrics.labels import LABEL_METRICS, confusion, per_class
from tuneproof.metrics.metric import (
    UNPARSED,
    AnswerItems,
    Items,
    LabelItems,
    Metric,
    evaluate,
    why_not_computable,
)
from tuneproof.metrics.squad import SQUAD_METRICS
from tuneproof.metrics.text import TEXT_METRICS

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*LABEL_METRICS, *SQUAD_METRICS, *TEXT_METRICS)
}

__all__ = [
    "METRICS",
    "UNPARSED",
    "AnswerItems",
    "Items",
    "LabelItems",
    "Metric",
    "confusion",
    "evaluate",
    "per_class",
    "why_not_computable",
]
