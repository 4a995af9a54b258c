"""The shelf of metrics.

In: the files beside this one. Out: METRICS, name to metric. Knows nothing of: models, files.
"""

from tuneproof.metrics.labels import LABEL_METRICS, confusion, per_class
from tuneproof.metrics.metric import UNPARSED, LabelItems, Metric, evaluate, why_not

METRICS: dict[str, Metric] = {metric.name: metric for metric in LABEL_METRICS}

__all__ = [
    "METRICS",
    "UNPARSED",
    "LabelItems",
    "Metric",
    "confusion",
    "evaluate",
    "per_class",
    "why_not",
]
