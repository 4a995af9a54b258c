"""Predicted against spent time and memory of five small real studies.

In: the shared data and models. Out: a table; 1 where a study's time is off by more than 30 %.
Knows nothing of: how a forecast is made.

    python -m benchmarks forecast --shared FOLDER [--out FOLDER] [--studies demo,trec] [--cpu]

--cpu: predict and measure the process's CPU time on one thread, for a machine that is not otherwise idle.
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.atomic import read_json
from tuneproof.context import time_left
from tuneproof.context.monitor import ArmFinished, ArmStarted, Event, Monitor
from tuneproof.recipe.recipe import Recipe, read_recipe, recipe_from
from tuneproof.record.study_folder import FORECAST, read_study
from tuneproof.study.run import run_study
from tuneproof.tasks.demo_task import DEMO_RECIPE

ALLOWED = 0.3
STUDIES: dict[str, dict[str, Any]] = {
    "demo": {},
    "trec": {
        "model": "minilm-l6",
        "arms": ["majority", "lexical", "head", "lora", "full"],
        "split": {"kind": "shares", "shares": [72, 9, 19]},
        "encode": {"max_length": 64},
        "train": {"min_steps": 150},
        "seeds": [0, 1, 2],
    },
    "sst2": {
        "model": "minilm-l6",
        "arms": ["majority", "lexical", "head", "lora", {"full": {"layers": "last 2"}}],
        "split": {"kind": "official", "train_size": 2000, "dev_size": 400},
        "encode": {"max_length": 128},
        "seeds": [0],
    },
    "stories": {
        "model": "stories260k",
        "arms": ["zero-shot", {"few-shot": {"shots": 4}}, {"lora": {"objective": "words"}}, "full"],
        "split": {"kind": "official", "train_size": 1000, "dev_size": 200, "test_size": 400},
        "encode": {"max_length": 512},
        "train": {"epochs": 2},
        "seeds": [0, 1],
    },
    "squad": {
        "model": "minilm-l6",
        "arms": ["majority", "lexical", "head", "full"],
        "split": {"train_size": 400, "dev_size": 100, "test_size": 200},
        "encode": {"max_length": 256},
        "train": {"epochs": 1},
        "seeds": [0],
    },
}


@dataclass
class ArmClock:
    """Seconds of each arm from its start to its end, by the clock of the forecast."""

    spent_s: dict[str, float] = field(default_factory=dict)
    started_s: float = 0.0

    def show(self, event: Event) -> None:
        """Take the time of an event."""
        if isinstance(event, ArmStarted):
            self.started_s = time_left.clock()
        elif isinstance(event, ArmFinished) and event.status == "done":
            self.spent_s[event.label] = time_left.clock() - self.started_s


def study_of(name: str, shared: Path, out: Path) -> Recipe:
    """The recipe of one of the studies, on one thread of a CPU."""
    folder = str(out / name)
    if name == "demo":
        return read_recipe(DEMO_RECIPE, [f"out={folder}", "compute.device=cpu", "compute.threads=1"])
    values = dict(STUDIES[name])
    model = str(shared / "models" / values.pop("model"))
    compute = {"device": "cpu", "threads": 1}
    task = _task(name, shared / "data", out)
    return recipe_from({"task": task, "models": [model], "compute": compute, "out": folder, **values})


def _task(name: str, data: Path, out: Path) -> dict[str, Any]:
    if name == "squad":
        files = {"train": "train-subset-v2.parquet", "test": "dev-v2.0.json.gz"}
        return {"squad_v2": {part: str(data / "squad_v2" / file) for part, file in files.items()}}
    if name != "trec":
        return {"sst2": {"path": str(data / "sst2")}}
    import pyarrow.parquet as pq

    rows = pq.read_table(data / "other" / "trec.parquet", columns=["text", "label"]).to_pylist()
    classes = {row["text"]: row["label"] for row in rows if row["label"] != "ABBR"}
    path = out / "trec.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *list(classes.items())[:600]])
    return {"labels": {"path": str(path), "text": "text", "label": "label"}}


def rows_of(recipe: Recipe, clock: ArmClock) -> Iterator[tuple[str, float, float, float, float]]:
    """(arm, predicted and spent seconds, predicted and measured bytes), seeds together, then the study."""
    forecast = {entry["label"]: entry for entry in read_json(Path(recipe.out) / FORECAST)["arms"]}
    peaks = {
        (arm.label, arm.about.get("seed")): arm.about["peak_memory_bytes"]
        for arm in read_study(Path(recipe.out)).arms
    }
    groups: dict[str, list[str]] = {}
    for label in clock.spent_s:
        groups.setdefault(label.partition(" seed ")[0], []).append(label)
    for name, labels in (*groups.items(), ("all arms", list(clock.spent_s))):
        entries = [forecast[label] for label in labels]
        measured = [peaks.get((label.partition(" seed ")[0], forecast[label]["seed"]), 0) for label in labels]
        yield (
            name,
            sum(entry["time_s"] or 0 for entry in entries),
            sum(clock.spent_s[label] for label in labels),
            max((entry["memory_bytes"] or 0 for entry in entries), default=0),
            max(measured, default=0),
        )


def run(name: str, shared: Path, out: Path) -> float:
    """Run one study and print its rows. Returns predicted over spent time of the whole."""
    recipe, clock = study_of(name, shared, out), ArmClock()
    started = time_left.clock()
    run_study(recipe, Monitor(clock.show))
    total_s = time_left.clock() - started
    ratio = 1.0
    for label, predicted_s, spent_s, predicted, measured in rows_of(recipe, clock):
        ratio = predicted_s / max(spent_s, 1e-9)
        memory = f"{predicted / 1e6:8.0f} {measured / 1e6:8.0f} MB" if predicted else ""
        print(f"{name:8} {label:28} {predicted_s:8.1f} {spent_s:8.1f} s {ratio:6.2f}  {memory}", flush=True)
    print(f"{name:8} from start to report {total_s:.1f} s\n", flush=True)
    return ratio


def main(arguments: list[str]) -> int:
    """Print every study's table."""
    parser = argparse.ArgumentParser(prog="benchmarks forecast")
    parser.add_argument("--shared", type=Path, required=True, help="a folder with data/ and models/")
    parser.add_argument("--out", type=Path, help="the folder of the studies")
    parser.add_argument("--studies", default=",".join(STUDIES))
    parser.add_argument("--cpu", action="store_true", help="the process's CPU time")
    options = parser.parse_args(arguments)
    if options.cpu:
        clock: Callable[[], float] = time.process_time
        time_left.clock = clock
    print(f"{'study':8} {'arm':28} predicted    spent    ratio   memory: predicted, measured")
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        ratios = {name: run(name, options.shared, out) for name in options.studies.split(",")}
    missed = [name for name, ratio in ratios.items() if abs(ratio - 1) > ALLOWED]
    print("predicted / spent: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    return int(bool(missed))
