"""A local model as zero-shot arms, beside the same model behind a real server, on the same items.

In: a parquet file of SST-2, a model folder, a server and its name of the model. Out: a line for each
scoring that both have: equal labels, the largest difference of a label's probability.
Knows nothing of: which server it is.

    python -m benchmarks endpoint --texts FILE --model FOLDER --url URL --served NAME
        [--scoring text likelihood logprobs choice] [--constraint grammar] [--items 200] [--body JSON]
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuneproof.inference.prediction import Predictions, read_predictions
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.run import run_study

LOCAL = {"text": "generate", "likelihood": "likelihood", "logprobs": "likelihood", "choice": "likelihood"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both and print how far they agree."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_items(options.texts, folder / "items.csv", options.items)
        _run(options, folder)
        for scoring in options.scoring:
            _compare(scoring, folder / "study" / "arms")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks endpoint")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--served", required=True)
    parser.add_argument("--scoring", nargs="+", default=["text"], choices=sorted(LOCAL))
    parser.add_argument("--constraint", default="grammar")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--body", type=json.loads, default={})
    return parser.parse_args(arguments)


def _write_items(source: str, path: Path, count: int) -> None:
    """So many items of test, a tenth as many of train and of dev."""
    rows = pd.read_parquet(source).sample(count + 2 * (count // 10), random_state=0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        names = ("negative", "positive")
        for text, label in zip(rows["sentence"], rows["label"], strict=True):
            writer.writerow((text.strip(), names[label]))


def _run(options: argparse.Namespace, folder: Path) -> None:
    """One study: each scoring by the server, and what it is compared with here."""
    arms: list[Any] = ["majority"]
    for scoring in dict.fromkeys(LOCAL[scoring] for scoring in options.scoring):
        arms.append({"zero-shot": {"name": scoring, "scoring": scoring, "calibration": "none"}})
    for scoring in options.scoring:
        served = {"url": options.url, "model": options.served, "protocol": "completions", "allow": True}
        served |= {"name": f"served-{scoring}", "scoring": scoring, "concurrency": options.concurrency}
        served |= {"constraint": options.constraint, "max_tokens": 1 if scoring == "logprobs" else 8}
        arms.append({"endpoint": {**served, "body": options.body}})
    values = {
        "task": {"labels": {"path": str(folder / "items.csv"), "labels": ["negative", "positive"]}},
        "models": [options.model],
        "arms": arms,
        "seeds": [0],
        "split": {"kind": "shares", "shares": [1, 1, 10]},
        "compute": {"device": "cpu", "precision": "fp32"},
        "encode": {"chat": "never"},
        "predict": {"timing_s": 0},
        "out": str(folder / "study"),
    }
    run_study(recipe_from(values))


def _compare(scoring: str, arms: Path) -> None:
    local, remote = (_predictions(arms, ending) for ending in (LOCAL[scoring], f"served-{scoring}"))
    assert local.ids == remote.ids
    line = f"{scoring}: {len(local)} items, {(local.predicted_N == remote.predicted_N).sum()} equal labels"
    line += f"; right {local.right_N.sum()} here, {remote.right_N.sum()} served"
    line += f"; unparsed {(local.predicted_N < 0).sum()} here, {(remote.predicted_N < 0).sum()} served"
    if local.probabilities_NC is not None and remote.probabilities_NC is not None:
        logits = [np.diff(np.log(p.probabilities_NC), axis=1)[:, 0] for p in (local, remote)]
        difference_N = np.abs(logits[0] - logits[1])
        line += f"; |log-odds difference| median {np.median(difference_N):.4f}, most {difference_N.max():.4f}"
    if scoring == "text":
        pairs = zip(local.texts or (), remote.texts or (), strict=True)
        equal = sum(b.strip().startswith(a.strip()) or a.strip().startswith(b.strip()) for a, b in pairs)
        line += f"; {equal} texts begin alike"
    print(line, flush=True)
    arm = json.loads((arms / f"served-{scoring}" / "arm.json").read_text())
    print(*arm["notes"], sep="\n", flush=True)


def _predictions(arms: Path, ending: str) -> Predictions:
    (folder,) = [path for path in arms.iterdir() if path.name == ending or path.name.endswith(f".{ending}")]
    predictions = read_predictions(folder / "predictions.parquet")
    assert isinstance(predictions, Predictions)
    return predictions


if __name__ == "__main__":
    raise SystemExit(main())
