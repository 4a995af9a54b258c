"""One item at a time: a loaded arm beside plain transformers, the same weights and the same tokenizer.

In: SST-2 and an encoder's folder. Out: a table of latencies, theirs and ours in turn.
Knows nothing of: how well the arms predict.

    python -m benchmarks serving --data FOLDER --model FOLDER [--calls 1000]

Arms: full and lora of the demo model on the demo task, full and lora of the encoder on 256 phrases. Plain:
`model(**tokenizer(text)).logits.argmax()` without gradients, the adapter by peft. The labels must be equal.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TO_REACH = 1.2  # p50, ours over theirs
WARM_UP = 20
SETTINGS: dict[str, Any] = {"seeds": [0], "train": {"self_test": False}, "compute": {"device": "cpu"}}
ARMS = [{"full": {"epochs": 1}}, {"lora": {"epochs": 1, "rank": 8}}]


def _studies(data: Path, model: str, home: Path) -> list[Path]:
    """Two finished studies with short trainings."""
    import tuneproof

    rows = pd.read_parquet(data / "glue_train.parquet").iloc[:400]
    rows.to_csv(home / "rows.csv", index=False)
    own = {"path": str(home / "rows.csv"), "text": "sentence", "label": "label"}
    recipes = [
        {"task": "demo", "models": ["demo"], "out": str(home / "demo")},
        {"task": {"labels": own}, "models": [model], "out": str(home / "encoder")},
    ]
    return [tuneproof.run({**SETTINGS, "arms": ARMS, **recipe}).folder for recipe in recipes]


def _plain(arm: Path) -> Callable[[str], int]:
    """The arm by transformers and peft alone, by the card's lines."""
    import torch

    from tuneproof.publish.files import prepare_publication
    from tuneproof.publish.load_code import loading_lines

    publication = prepare_publication(arm, merged=False, base="someone/base")
    spec = publication.load_spec.with_base(publication.base_folder)
    values: dict[str, Any] = {}
    exec("\n".join(loading_lines(spec, str(publication.weights), local=True)), values)
    model, tokenizer = values["model"].eval(), values["tokenizer"]

    def predict(text: str) -> int:
        with torch.no_grad():
            batch = tokenizer(text, truncation=True, max_length=spec.max_length, return_tensors="pt")
            return int(model(**batch).logits.argmax())

    return predict


def _timed(predict: Callable[[str], int], text: str) -> tuple[float, float, int]:
    """Wall and process seconds of a call, and its label."""
    started, cpu = time.perf_counter(), time.process_time()
    label = predict(text)
    return time.perf_counter() - started, time.process_time() - cpu, label


def _row(arm: Path, texts: Sequence[str], calls: int) -> bool:
    """Print the latencies of both; false where their labels differ, or ours takes too long."""
    import tuneproof

    loaded, plain = tuneproof.load(arm), _plain(arm)

    def ours(text: str) -> int:
        return int(loaded.predict([text]).predicted_N[0])

    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
    unequal = 0
    for call in range(WARM_UP + calls):
        text = texts[call % len(texts)]
        pair = [("ours", ours), ("plain", plain)]
        labels = set()
        for name, predict in pair if call % 2 else pair[::-1]:
            *took, label = _timed(predict, text)
            labels.add(label)
            if call >= WARM_UP:
                seconds[name].append((took[0], took[1]))
        unequal += len(labels) > 1
    p50, p95 = (
        {name: np.percentile(rows, share, axis=0) for name, rows in seconds.items()} for share in (50, 95)
    )
    wall, cpu = p50["ours"] / p50["plain"]
    print(
        f"{arm.parent.parent.name + ' ' + arm.name:<32}p50 ours {1e3 * p50['ours'][0]:.2f} ms, plain "
        f"{1e3 * p50['plain'][0]:.2f} ms: {wall:.2f} x (process time {cpu:.2f} x)  p95 "
        f"{1e3 * p95['ours'][0]:.2f}, {1e3 * p95['plain'][0]:.2f} ms  other labels {unequal}",
        flush=True,
    )
    return unequal == 0 and bool(wall <= TO_REACH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where an arm misses the bar."""
    parser = argparse.ArgumentParser(prog="benchmarks serving")
    parser.add_argument("--data", type=Path, required=True, help="a folder with glue_train.parquet")
    parser.add_argument("--model", required=True, help="an encoder's folder")
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    print(f"{options.calls:,} single calls in turn, one thread; p50 to reach: {TO_REACH} x")
    texts = pd.read_parquet(options.data / "glue_train.parquet").sentence.iloc[1000:2000].str.strip().tolist()
    with tempfile.TemporaryDirectory() as home:
        studies = _studies(options.data, options.model, Path(home))
        arms = [arm for study in studies for arm in sorted((study / "arms").iterdir()) if arm.is_dir()]
        good = [_row(arm, texts, options.calls) for arm in arms]
    return int(not all(good))
