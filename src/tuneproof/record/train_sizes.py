"""What the number of train items is worth: scores on samples of train, and what more items add.

In: a finished study. Out: entries of comparisons.json. Knows nothing of: models, how samples are drawn.

A seed also draws the sample, so the intervals over items and seeds include the luck of the draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuneproof.inference.prediction import read_predictions
from tuneproof.metrics import METRICS, evaluate
from tuneproof.record.finished_arms import FinishedArm, finished_arms
from tuneproof.record.finished_study import FinishedStudy
from tuneproof.record.study_folder import DEV_PREDICTIONS, StudyRecord
from tuneproof.score.compare import adjust
from tuneproof.score.verdict import Comparison, withhold

MARGIN = 0.01  # within which a sample is as good as all of train, if no claim names a margin


def by_train_size(study: FinishedStudy, record: StudyRecord) -> list[dict[str, Any]]:
    """An entry for each arm on each sample of train and on all of it.

    Keys: the arm's identity, train_size, metric, score; as comparisons or None: gain_from_full_train (all of
    train over the sample, with the margin within which the sample is as good; corrected for the samples),
    gain_from_previous (over the next smaller sample), over_prompted (over the prompted arm that is best on
    dev).
    """
    by_identity: dict[tuple[str, str | None], dict[int, FinishedArm]] = {}
    for size in sorted({arm.about["train_size"] for arm in record.sampled}):
        for arm in finished_arms([entry for entry in record.sampled if entry.about["train_size"] == size]):
            by_identity.setdefault((arm.arm, arm.model), {})[size] = arm
    entries = []
    for (name, model), samples in by_identity.items():
        curve = _Curve(study, samples, study.find(name, model), int(record.splits["sizes"]["train"]))
        entries += curve.entries(_best_prompted(study, record, model))
    return sorted(entries, key=lambda entry: int(entry["train_size"]))


@dataclass(frozen=True)
class _Curve:
    """One arm on samples of train, by size, and on all of it, if that finished."""

    study: FinishedStudy
    samples: dict[int, FinishedArm]
    full: FinishedArm | None
    train_size: int

    def entries(self, prompted: FinishedArm | None) -> list[dict[str, Any]]:
        """The entries of the arm, the smallest sample first."""
        named = {size: arm.on_sample(size) for size, arm in self.samples.items()}
        if self.full is not None:
            named[self.train_size] = self.full
        gains, entries, previous = self._gains(named), [], None
        for size, arm in named.items():
            pairs = {
                "gain_from_full_train": gains.get(size),
                "gain_from_previous": self._compared(arm, previous),
                "over_prompted": self._compared(arm, prompted),
            }
            previous = arm
            entries.append(
                {**self._at_size(size), **{key: self._as_json(pair) for key, pair in pairs.items()}}
            )
        return entries

    def _at_size(self, size: int) -> dict[str, Any]:
        arm, metric = self.samples.get(size) or self.full, self.study.metric
        assert arm is not None
        score = self.study.scores(arm, [metric])[metric]
        return {**arm.about(), "train_size": size, "metric": metric, "score": score}

    def _compared(self, arm: FinishedArm | None, over: FinishedArm | None) -> Comparison | None:
        pairs = self.study.compare(arm, over, self.study.metric) if arm and over else []
        return pairs[0] if pairs else None

    def _gains(self, named: Mapping[int, FinishedArm]) -> dict[int, Comparison]:
        """All of train over each sample, with the margin, corrected for the number of samples."""
        pairs = {size: self._compared(self.full, named[size]) for size in self.samples}
        gains = {size: replace(pair, margin=_margin(self.study)) for size, pair in pairs.items() if pair}
        return dict(zip(gains, adjust(list(gains.values())), strict=True))

    def _as_json(self, pair: Comparison | None) -> dict[str, Any] | None:
        diagnosed = self.study.under_trained(self.study.arms)
        for size, arm in self.samples.items():
            diagnosed |= self.study.under_trained([arm], size)
        return withhold(pair, diagnosed).as_json() if pair else None


def _margin(study: FinishedStudy) -> float:
    """The margin of the first claim by the main metric that has one, in the metric's unit."""
    margins = [
        claim.margin for claim in study.recipe.claims if claim.margin and claim.metric in (None, study.metric)
    ]
    return margins[0] / 100 if margins else MARGIN


def _best_prompted(study: FinishedStudy, record: StudyRecord, model: str | None) -> FinishedArm | None:
    """The prompted arm of the model with the best dev score, the mean over its seeds."""
    metric = METRICS[study.metric]
    prompted = [arm for arm in study.arms if arm.kind == "prompt" and arm.model == model]

    def dev_score(arm: FinishedArm) -> float:
        files = [
            entry.folder / DEV_PREDICTIONS
            for entry in record.arms
            if (entry.about["arm"], entry.about.get("model"), entry.about["status"])
            == (arm.arm, model, "done")
        ]
        runs = [read_predictions(file).items for file in files if file.is_file()]
        mean = float(np.mean([evaluate(metric, items) for items in runs])) if runs else -np.inf
        return mean if metric.direction == "up" else -mean

    return max(prompted, key=dev_score, default=None)
