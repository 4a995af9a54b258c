"""Suspected label errors of a finished study, part by part.

In: a study's folder, features of its train items. Out: the suspected items, the expected number, and what
the verdict is without those of test. Knows nothing of: models, torch, how features are computed.

The probabilities of a dev or test item are the mean over the arms, which did not train on it (dev chose their
settings); those of a train item the mean over models that were fitted without its fold. No arm weighs more
than another. Arms count that are better on dev than the shares of the labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneproof.data.stratify import assign_parts
from tuneproof.errors import RunError
from tuneproof.inference.prediction import Predictions, read_predictions
from tuneproof.methods.cross_fit import cross_fit_features, cross_fit_words
from tuneproof.record import study_folder
from tuneproof.record.finished_study import FinishedStudy, read_finished_study
from tuneproof.record.study_folder import ArmRecord, Items, StudyRecord, read_items
from tuneproof.record.without_label_errors import compare_without
from tuneproof.score.label_errors import suspect

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FOLDS = 5
MIN_TRAIN = 50  # items
MAX_PAIRS = 12  # of labels, in the summary


@dataclass(frozen=True)
class _Pool:
    """Items with their labels, and each model's probabilities of them."""

    name: str
    labels: tuple[str, ...]
    parts: list[str]
    items: Items
    labels_N: Ints
    models: dict[str, Floats]

    def summary_and_rows(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What to expect, and the suspected items, the most suspect first."""
        suspicion = suspect(np.mean(list(self.models.values()), axis=0), self.labels_N)
        rows = []
        for row in suspicion.order:
            suggested = suspicion.suggested_N[row]
            preferring = sum(int(p_NC[row].argmax() == suggested) for p_NC in self.models.values())
            mean = float(np.mean([p_NC[row, suggested] for p_NC in self.models.values()]))
            own, label = float(suspicion.own_N[row]), self.items.golds[row]
            other = self.labels[suggested]
            models = "model prefers" if len(self.models) == 1 else f"{len(self.models)} models prefer"
            lead = f"the {models}" if len(self.models) == 1 else f"{preferring} of {models}"
            rows.append(
                {
                    "id": self.items.ids[row],
                    "part": self.parts[row],
                    "text": self.items.texts[row],
                    "label": label,
                    "suggested": other,
                    "score": round(own, 4),
                    "why": f"{lead} {other}: {mean:.2f}, and {own:.2f} for {label}",
                }
            )
        summary = {
            "part": self.name,
            "items": len(self.labels_N),
            "expected": suspicion.expected,
            "models": list(self.models),
            "pairs": _pairs(suspicion.expected_CC, self.labels),
        }
        return summary, rows


def find_label_errors(folder: Path, features: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The value of label_errors.json; `features` of the train items by name of the model.

    Keys: parts [{part, items, expected, models, pairs [{label, suggested, expected}]}], rows [{id, part,
    text, label, suggested, score, why}], skipped [sentences], without (`compare_without`), arms and
    fingerprints, by which a later reader sees whether they are still these.

    Raises: RunError if the study is not one of labels, or no model can judge its items.
    """
    record = study_folder.read_study(folder)
    study = read_finished_study(record)
    if study.recipe.task.kind != "labels":
        raise RunError(str(folder), "its items have answers, not labels, so labels cannot be judged.")
    skipped: list[str] = []
    pools = [pool for pool in (_held_out(record, skipped), _train(folder, features, skipped)) if pool]
    if not pools:
        raise RunError(str(folder), " ".join(skipped), do="Add the arm lexical or head to the recipe.")
    summaries, rows = zip(*(pool.summary_and_rows() for pool in pools), strict=True)
    suspects = [row for pool_rows in rows for row in pool_rows]
    return {
        "parts": list(summaries),
        "rows": sorted(suspects, key=lambda row: row["score"]),
        "skipped": skipped,
        "without": compare_without(study, {row["id"] for row in suspects if row["part"] == "test"}),
        **state_of(study, record),
    }


def state_of(study: FinishedStudy, record: StudyRecord) -> dict[str, Any]:
    """What suspected label errors depend on."""
    return {"arms": [arm.about() for arm in study.arms], "fingerprints": record.splits.get("fingerprints")}


def _held_out(record: StudyRecord, skipped: list[str]) -> _Pool | None:
    """Dev and test items with the arms' probabilities; None if no arm can judge them."""
    dev, test = (read_items(record.folder, part) for part in ("dev", "test"))
    runs: dict[str, list[Floats]] = {}
    labels: tuple[str, ...] = ()
    for arm in record.arms:
        if arm.about["status"] != "done":
            continue
        dev_NC, test_NC = (
            _probabilities(arm, name, items) for name, items in zip(_FILES, (dev, test), strict=True)
        )
        if dev_NC is not None and test_NC is not None:
            labels = tuple(arm.about["labels"])
            runs.setdefault(arm.label, []).append(np.concatenate([dev_NC, test_NC]))
    labels_N = np.array(
        [labels.index(gold) for gold in (*dev.golds, *test.golds)] if labels else [], dtype=int
    )
    means = {name: np.mean(values, axis=0) for name, values in runs.items()}
    models = dict(_better_than_shares(means, labels_N, len(dev.ids)))
    if not models:
        skipped.append("Dev and test: no arm with probabilities is better on dev than the label shares.")
        return None
    parts = ["dev"] * len(dev.ids) + ["test"] * len(test.ids)
    both = Items(dev.ids + test.ids, dev.texts + test.texts, dev.golds + test.golds, dev.groups + test.groups)
    return _Pool("dev and test", labels, parts, both, labels_N, models)


_FILES = (study_folder.DEV_PREDICTIONS, study_folder.PREDICTIONS)


def _probabilities(arm: ArmRecord, name: str, items: Items) -> Floats | None:
    """The probabilities of these items in their order; None if the arm has none of all of them."""
    if not (arm.folder / name).is_file():
        return None
    predictions = read_predictions(arm.folder / name)
    if not isinstance(predictions, Predictions) or predictions.probabilities_NC is None:
        return None
    row_of = {id: row for row, id in enumerate(predictions.ids)}
    if not set(items.ids) <= set(row_of):
        return None
    return predictions.probabilities_NC[[row_of[id] for id in items.ids]]


def _better_than_shares(
    means: Mapping[str, Floats], labels_N: Ints, dev: int
) -> Iterator[tuple[str, Floats]]:
    """The arms whose log loss on dev, the first items, is below that of the label shares."""
    if not dev:
        return
    dev_labels = labels_N[:dev]
    shares_C = np.bincount(dev_labels) / dev
    limit = -np.log(shares_C[dev_labels]).mean()
    for name, probabilities_NC in means.items():
        own = probabilities_NC[np.arange(dev), dev_labels]
        if -np.log(own + 1e-12).mean() < limit:
            yield name, probabilities_NC


def _train(folder: Path, features: Mapping[str, NDArray[Any]], skipped: list[str]) -> _Pool | None:
    """Train items with the probabilities of models that were fitted without their fold."""
    items = read_items(folder, "train")
    labels = tuple(sorted(set(items.golds)))
    if len(items.ids) < MIN_TRAIN or len(labels) < 2:
        skipped.append(f"Train: fewer than {MIN_TRAIN} items, or one label.")
        return None
    labels_N = np.array([labels.index(gold) for gold in items.golds])
    groups_N = np.unique(np.array(items.groups), return_inverse=True)[1].reshape(-1)
    fold_N = assign_parts(labels_N, groups_N, [1.0] * FOLDS, np.random.default_rng(0))
    words = cross_fit_words(items.texts, labels_N, fold_N, len(labels))
    models = {} if words is None else {"words": words}
    for name, features_ND in features.items():
        models[f"features of {name}"] = cross_fit_features(features_ND, labels_N, fold_N, len(labels))
    if not models:
        skipped.append("Train: its texts have no words, and no arm has features of them.")
        return None
    return _Pool("train", labels, ["train"] * len(items.ids), items, labels_N, models)


def _pairs(expected_CC: Ints, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs of labels with the most expected errors."""
    cells = np.argsort(-expected_CC, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [(*divmod(int(cell), len(labels)), int(expected_CC.flat[cell])) for cell in cells]
    return [{"label": labels[i], "suggested": labels[j], "expected": count} for i, j, count in pairs if count]
