"""Time and memory an item in whole studies of 1,000, 10,000 and 100,000 rows, stage by stage.

In: SST-2's train texts and an encoder's tokenizer. Out: microseconds of CPU time a row; peaks in MiB.
Knows nothing of: peers.

    python -m benchmarks linear --data FOLDER --model FOLDER [--sizes 1000,10000,100000]

Each size is a process of its own: a CSV of so many rows, 80:10:10, one epoch of a small encoder of random
weights, one thread. What is asked is how cost grows with the rows, not how large it is.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FLAT = 1.2  # an item's share of the time and the memory beside that of the size before
NAMES = {
    "data and audit": "read, split, audit, encode",
    "train": "train",
    "predict": "predict",
    "compare and report": "score, compare, report",
}


def _small_encoder(folder: Path, tokenizer: str) -> None:
    """A small encoder of random weights beside this folder's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    loaded = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(loaded),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=256,
        pad_token_id=loaded.pad_token_id,
    )
    BertModel(config).save_pretrained(folder)
    loaded.save_pretrained(folder)


def _write_rows(path: Path, data: Path, rows: int) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(data / "glue_train.parquet")
    texts, labels = table["sentence"].to_pylist(), table["label"].to_pylist()
    with open(path, "w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(["text", "label"])
        for at in range(rows):  # a text that comes again is another one: it begins with its number
            again, place = divmod(at, len(texts))
            write.writerow([f"{again or ''} {texts[place]}".strip(), ("bad", "good")[labels[place]]])


def _measure(rows: str, model: str, out: str) -> dict[str, Any]:
    """Seconds of CPU time of every stage, and the peaks of memory before and at its end, in bytes."""
    import torch

    from tuneproof.context.monitor import Event, Monitor, StageStarted
    from tuneproof.memory.usage import peak_bytes, resident_bytes
    from tuneproof.recipe.recipe import recipe_from
    from tuneproof.study.run import run_study

    recipe = recipe_from(
        {
            "task": {"labels": {"path": rows, "text": "text", "label": "label"}},
            "models": [model],
            "arms": ["majority", "full"],
            "seeds": [0],
            "split": {"kind": "shares", "shares": [80, 10, 10]},
            "train": {"epochs": 1, "batch_size": 32},
            "encode": {"max_length": 64},
            "compute": {"device": "cpu", "threads": 1},
            "out": out,
        }
    )
    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    stage, since, before = "", time.process_time(), resident_bytes()

    def record(event: Event) -> None:
        nonlocal stage, since
        if isinstance(event, StageStarted):
            now = time.process_time()
            seconds[stage] = seconds.get(stage, 0.0) + now - since
            stage, since = event.name, now

    run_study(recipe, Monitor(record))
    seconds[stage] = seconds.get(stage, 0.0) + time.process_time() - since
    return {"seconds": seconds, "before": before, "peak": peak_bytes()["process"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks linear")
    parser.add_argument("--data", required=True, help="a folder with glue_train.parquet")
    parser.add_argument("--model", required=True, help="an encoder's folder, for its tokenizer")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(_measure(*options.measure)))
        return 0
    print("microseconds of CPU time a row, and MiB above the start; (x) beside the size before")
    last: dict[str, float] = {}
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _small_encoder(folder / "model", options.model)
            _write_rows(folder / "rows.csv", Path(options.data), size)
            again = [sys.executable, "-W", "ignore", "-m", "benchmarks", "linear"]
            done = subprocess.run(
                [
                    *again,
                    "--data",
                    options.data,
                    "--model",
                    options.model,
                    "--measure",
                    str(folder / "rows.csv"),
                    str(folder / "model"),
                    str(folder / "study"),
                ],
                capture_output=True,
                text=True,
                check=True,
            )
        measured = json.loads(done.stdout.splitlines()[-1])
        values = {name: 1e6 * measured["seconds"].get(stage, 0.0) / size for stage, name in NAMES.items()}
        memory = (measured["peak"] - measured["before"]) / 2**20
        cells = [f"{name} {value:,.0f}{_beside(value, last.get(name))}" for name, value in values.items()]
        print(f"  {size:>7,} rows: {', '.join(cells)}; {memory:,.0f} MiB", flush=True)
        last = values
    return 0


def _beside(value: float, before: float | None) -> str:
    if not before:
        return ""
    return f" ({value / before:.2f}x{'' if value <= FLAT * before else ', grows'})"
