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
from tuneproof.record.finished_study import FinishedStudy, margin_of
from tuneproof.record.study_folder import DEV_PREDICTIONS, StudyRecord
from tuneproof.score.compare import adjust
from tuneproof.score.verdict import Comparison, withhold

MARGIN = 0.01  # within which a sample is as good as all of train, if no claim names a margin


def by_train_size(study: FinishedStudy, record: StudyRecord) -> list[dict[str, Any]]:
    """An entry for each arm on each sample of train and on all of it.

    Keys: the arm's identity, train_size, metric, score; as comparisons or None: gain_from_full_train (all of
    train over the sample, with the margin within which the sample is as good; corrected for the samples),
    gain_from_previous (over the next smaller sample), over_prompted (over the prompted arm that is best on
    dev; corrected for the sizes).
    """
    by_identity: dict[tuple[str, str | None], dict[int, FinishedArm]] = {}
    for size in sorted({arm.about["train_size"] for arm in record.sampled}):
        for arm in finished_arms([entry for entry in record.sampled if entry.about["train_size"] == size]):
            by_identity.setdefault((arm.arm, arm.model), {})[size] = arm
    entries = []
    for (name, model), samples in by_identity.items():
        curve = _Curve(study, samples, study.find(name, model), int(record.needed_splits()["sizes"]["train"]))
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
        gains = self._corrected({size: self._gain(named[size]) for size in self.samples})
        passed = self._corrected({size: self._compared(arm, prompted) for size, arm in named.items()})
        diagnosed = self.study.under_trained(self.study.arms)
        for size, arm in self.samples.items():
            diagnosed |= self.study.under_trained([arm], size)
        entries, previous = [], None
        for size, arm in named.items():
            pairs = {
                "gain_from_full_train": gains.get(size),
                "gain_from_previous": self._compared(arm, previous),
                "over_prompted": passed.get(size),
            }
            previous = arm
            values = {
                key: withhold(pair, diagnosed).as_json() if pair else None for key, pair in pairs.items()
            }
            entries.append({**self._at_size(size), **values})
        return entries

    def _at_size(self, size: int) -> dict[str, Any]:
        arm, metric = self.samples.get(size) or self.full, self.study.metric
        assert arm is not None
        score = self.study.scores(arm, [metric])[metric]
        return {**arm.about(), "train_size": size, "metric": metric, "score": score}

    def _compared(self, arm: FinishedArm | None, over: FinishedArm | None) -> Comparison | None:
        pairs = self.study.compare(arm, over, self.study.metric) if arm and over else []
        return pairs[0] if pairs else None

    def _gain(self, sample: FinishedArm) -> Comparison | None:
        """All of train over a sample, with the margin of the first claim by the main metric that has one."""
        pair, metric = self._compared(self.full, sample), self.study.metric
        claims = [claim for claim in self.study.recipe.claims if claim.metric in (None, metric)]
        claim = next((claim for claim in claims if claim.margin), None)
        return pair and replace(pair, margin=margin_of(claim, pair) if claim else MARGIN)

    def _corrected(self, by_size: Mapping[int, Comparison | None]) -> dict[int, Comparison]:
        """The comparisons that could be made, corrected for the number of sizes."""
        pairs = {size: pair for size, pair in by_size.items() if pair}
        return dict(zip(pairs, adjust(list(pairs.values())), strict=True))


def _best_prompted(study: FinishedStudy, record: StudyRecord, model: str | None) -> FinishedArm | None:
    """The prompted arm of the model with the best dev score, the mean over its seeds."""
    metric = METRICS[study.metric]
    prompted = [arm for arm in study.arms if arm.kind == "prompt" and arm.model == model]

    def dev_score(arm: FinishedArm) -> float:
        done = [entry for entry in record.arms if entry.about["status"] == "done"]
        seeds = [e for e in done if (e.about["arm"], e.about.get("model")) == (arm.arm, arm.model)]
        files = [entry.folder / DEV_PREDICTIONS for entry in seeds]
        runs = [read_predictions(file).items for file in files if file.is_file()]
        mean = float(np.mean([evaluate(metric, items) for items in runs])) if runs else -np.inf
        return mean if metric.direction == "up" else -mean

    return max(prompted, key=dev_score, default=None)
