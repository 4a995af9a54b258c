"""A finished study made by hand: arms with given skill on dev and test, times, and prices.

In: a folder, arms. Out: the study, concluded. Knows nothing of: models, training.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tuneproof.atomic import write_json, write_text
from tuneproof.inference.prediction import Predictions, write_predictions
from tuneproof.recipe.recipe import recipe_from
from tuneproof.record.conclude import conclude
from tuneproof.record.study_folder import StudyRecord, arm_folder, read_study

LABELS = ("negative", "positive")
SIZES = {"train": 500, "dev": 400, "test": 2000}


def predictions(size: int, wrong: int) -> Predictions:
    """Items of which the first so many are wrong."""
    gold_N = np.arange(size) % 2
    return Predictions(
        labels=LABELS,
        ids=[f"item-{i}" for i in range(size)],
        groups=[f"item-{i}" for i in range(size)],
        gold_N=gold_N,
        predicted_N=np.where(np.arange(size) < wrong, 1 - gold_N, gold_N),
        tokens_N=np.full(size, 20),
        truncated_N=np.zeros(size, dtype=bool),
    )


def arm(name: str, wrong: float, item_s: float | None, kind: str = "tuned", **about: Any) -> dict[str, Any]:
    """An arm that gets this share wrong, on test or in `wrong_on_dev` on dev, at these seconds an item."""
    serving = item_s and {
        "latency_s": {"p50": item_s, "mean": item_s, "calls": 50},
        "items_per_s": {"1": 1 / item_s},
        "batch_size": 1,
        "item_s": [0.9 * item_s, item_s, 1.1 * item_s],
    }
    return {"arm": name, "wrong": wrong, "kind": kind, "serving": serving, "time_s": {"train": 10.0}, **about}


def write_study(
    folder: Path, *arms: dict[str, Any], margin: float | None = 2.0, **recipe: Any
) -> StudyRecord:
    """The study of these arms, concluded; the first two are claimed to differ."""
    names = [entry["arm"] for entry in arms]
    methods = [{"lexical": {"name": name}} for name in names]
    claim = {"arm": names[0], "over": names[1], "margin": margin}
    values = {"task": "demo", "arms": methods, "claim": claim, "seeds": [0], "out": str(folder), **recipe}
    write_text(folder / "recipe.yaml", recipe_from(values).text())
    counts = {part: dict.fromkeys(LABELS, size // 2) for part, size in SIZES.items()}
    write_json(folder / "splits.json", {"sizes": SIZES, "labels": counts})
    write_json(folder / "provenance.json", {"format": 2})
    for order, entry in enumerate(arms):
        about = dict(entry)
        wrong, on_dev = about.pop("wrong"), about.pop("wrong_on_dev", None)
        path = arm_folder(folder, None, about["arm"], None)
        for part, file, share in (
            ("test", "predictions", wrong),
            ("dev", "dev_predictions", wrong if on_dev is None else on_dev),
        ):
            table = predictions(SIZES[part], round(share * SIZES[part]))
            write_predictions(path / f"{file}.parquet", table, {"arm": about["arm"], "part": part})
        write_json(path / "scores.json", {})
        write_json(path / "ledger.json", {})
        write_json(
            path / "arm.json", {"model": None, "seed": None, "status": "done", "order": order, **about}
        )
    conclude(folder)
    return read_study(folder)
