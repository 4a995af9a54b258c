"""CPU time until something happens: the command line, and from `run` to the first step of training.

In: a local model. Out: a table of CPU seconds of whole processes, ours and the peers'.
Knows nothing of: what is trained.

    python -m benchmarks starting --model FOLDER [--times 5]

The first step: a process of its own reads 64 rows of an own file, loads the model and stops after the first
update. The peer is a script with the usual imports (datasets, transformers' Trainer, peft) that does the
same with the same rows. User and system time of the whole process count; of the demo, the clock's.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

TO_REACH = {
    "help and show, s": 0.3,
    "first step, share saved": 0.3,
    "count, s": 2,
    "predict, s": 3,
    "memory, s": 15,
    "demo, s": 60,
}
TEXTS = 100  # that `predict` labels
OURS = """
import os, sys
from tuneproof.context.monitor import Monitor, Progress, StageStarted
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.run import run_study
model, rows, out = sys.argv[1:]
recipe = recipe_from({
    "task": {"labels": {"path": rows, "text": "text", "label": "label"}}, "models": [model],
    "arms": [{"lora": {"rank": 8}}], "out": out, "compute": {"device": "cpu", "threads": 1},
    "train": {"batch_size": 8}, "encode": {"max_length": 64},
})
training = False
def stop_after_first_step(event):
    global training
    training |= isinstance(event, StageStarted) and event.name == "train"
    if training and isinstance(event, Progress):
        os._exit(0)
run_study(recipe, Monitor(stop_after_first_step))
sys.exit("no step was taken")
"""
THEIRS = """
import os, sys
import torch
torch.set_num_threads(1)
from datasets import load_dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer,
    TrainerCallback, TrainingArguments,
)
model, rows, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
data = load_dataset("csv", data_files=rows, cache_dir=out)["train"]
data = data.map(
    lambda row: {**tokenizer(row["text"], truncation=True, max_length=64),
                 "labels": int(row["label"] == "good")},
    remove_columns=["text", "label"],
)
base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2)
base.config.pad_token_id = tokenizer.pad_token_id
adapted = get_peft_model(
    base, LoraConfig(task_type=TaskType.SEQ_CLS, r=8, target_modules="all-linear")
)
class Stop(TrainerCallback):
    def on_step_end(self, *_, **__):
        os._exit(0)
Trainer(
    adapted, TrainingArguments(out, per_device_train_batch_size=8, use_cpu=True, report_to="none"),
    train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Stop()],
).train()
"""


def _seconds(command: Sequence[str]) -> float:
    """User and system seconds of a process.

    Raises: SystemExit where it fails.
    """
    done = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    assert done.stderr is not None
    errors = done.stderr.read().decode()
    _, status, usage = os.wait4(done.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)[:60]} failed:\n{errors[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def _script(text: str, model: str, rows: Path) -> float:
    with tempfile.TemporaryDirectory() as out:
        return _seconds([sys.executable, "-W", "ignore", "-c", text, model, str(rows), f"{out}/x"])


def _seconds_to_predict(model: str, rows: Path) -> Callable[[], float]:
    """Seconds in which `predict` labels a few texts by a head that is trained here."""
    folder, tuneproof = rows.parent, [sys.executable, "-m", "tuneproof"]
    columns = ["--text", "text", "--label", "label", "--models", model, "--arms", "head"]
    _seconds([*tuneproof, "run", str(rows), *columns, "--out", str(folder / "study")])
    (head,) = (weights.parents[1] for weights in (folder / "study").rglob("head.safetensors"))
    texts = folder / "texts.csv"
    lines = [f"row {index} is fine" for index in range(TEXTS)]
    texts.write_text("\n".join(["text", *lines]), encoding="utf-8")
    output = folder / "predictions.csv"

    def predict() -> float:
        output.unlink(missing_ok=True)
        return _seconds([*tuneproof, "predict", str(head), "--input", str(texts), "--output", str(output)])

    return predict


def _seconds_of_demo(out: Path) -> float:
    """By the clock."""
    started = time.monotonic()
    _seconds([sys.executable, "-m", "tuneproof", "demo", "--out", str(out)])
    return time.monotonic() - started


def _write_rows(path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        write = csv.writer(file)
        write.writerow(["text", "label"])
        for index in range(128):
            good = index % 2
            write.writerow([f"row {index} is {'fine' if good else 'dull'}", "good" if good else "bad"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks starting")
    parser.add_argument("--model", required=True, help="an encoder's folder")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args(arguments)
    print(f"CPU seconds of a process, user and system, median (spread) of {options.times}")

    def line(name: str, *works: Callable[[], float], times_each: int = options.times) -> list[float]:
        times: list[list[float]] = [[] for _ in works]
        for _ in range(times_each):
            for work, seconds in zip(works, times, strict=True):
                seconds.append(work())
        cells = (f"{statistics.median(s):6.2f} ({min(s):.2f} to {max(s):.2f})" for s in times)
        print(f"{name:<62}{'   '.join(cells)}", flush=True)
        return [statistics.median(seconds) for seconds in times]

    ours = [sys.executable, "-m", "tuneproof"]
    limit = TO_REACH["help and show, s"]
    line(f"  tuneproof --help, to reach {limit}", lambda: _seconds([*ours, "--help"]))
    line(f"  tuneproof show, to reach {limit}", lambda: _seconds([*ours, "show"]))
    for command in ("count", "memory"):
        name = f"  tuneproof {command} llama-3.2-1b, to reach {TO_REACH[f'{command}, s']}"
        line(name, lambda command=command: _seconds([*ours, command, "llama-3.2-1b"]))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        _write_rows(rows)
        name = f"  tuneproof predict, {TEXTS} texts with a head, to reach {TO_REACH['predict, s']}"
        line(name, _seconds_to_predict(options.model, rows))
        name = f"  tuneproof demo, once, by the clock, to reach {TO_REACH['demo, s']}"
        line(name, lambda: _seconds_of_demo(Path(folder) / "demo"), times_each=1)
        ours_s, theirs_s = line(
            "  to the first step: ours; the usual script",
            lambda: _script(OURS, options.model, rows),
            lambda: _script(THEIRS, options.model, rows),
        )
    print(f"  saved: {1 - ours_s / theirs_s:.0%}, to reach {TO_REACH['first step, share saved']:.0%}")
    return 0
