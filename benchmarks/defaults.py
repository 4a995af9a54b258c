"""Which learning rates and how many steps train well: the experiment behind the default settings.

In: real data sets, an encoder and a decoder. Out: studies in a folder, and a table of dev losses.
Knows nothing of: the rule that is chosen from the table.

    python -m benchmarks defaults --shared FOLDER --out FOLDER [--models minilm,...] [--cases trec-600,...]

Every case has the same 300 dev items for all of its runs, and dev loss alone decides. Stage 1 trains each
method at four learning rates for at least 300 steps; stage 2 changes the number of steps at the best of them;
stage 3 changes batch size, schedule and warm-up of LoRA. Finished runs are not repeated.
"""

import argparse
import csv
import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tuneproof.errors import RunError
from tuneproof.recipe.recipe import recipe_from
from tuneproof.study.run import run_study

DEV, TEST = 300, 400
STEPS, MORE_STEPS = 300, (0, 600)  # 0: three epochs
BATCH = 16
ADAPTER_RATES = (2e-4, 6e-4, 1.8e-3, 5.4e-3)
FULL_RATES = (2e-5, 6e-5, 1.8e-4, 5.4e-4)
METHODS = {"lora": ADAPTER_RATES, "full": FULL_RATES, "lp-ft": FULL_RATES[:3]}
VARIANTS = (
    {"train.batch_size": 8},
    {"train.batch_size": 32},
    {"train.schedule": "cosine"},
    {"train.schedule": "constant"},
    {"train.warmup_share": 0.0},
    {"train.warmup_share": 0.2},
)
WITH_VARIANTS = ("trec-600", "sst2-1000")


@dataclass(frozen=True)
class Case:
    """A data set at a size; train_size None: all that is left beside dev and test."""

    name: str
    source: str
    train_size: int | None
    max_length: int = 64


CASES = (
    Case("trec-600", "trec", 431),
    Case("trec-5000", "trec", 4500),
    Case("subj-2000", "subj", 2000),
    Case("cola-2000", "cola", 2000),
    Case("sst2-200", "sst2", 200),
    Case("sst2-1000", "sst2", 1000),
    Case("sst2-8000", "sst2", 8000),
    Case("imdb-500", "imdb", 500, 128),
    Case("imdb-2000", "imdb", 2000, 128),
    Case("demo", "demo", None),
)
FILES = {  # the file below data/, its text column, the labels left out
    "trec": ("other/trec.parquet", "text", ("ABBR",)),
    "subj": ("other/subj.parquet", "text", ()),
    "cola": ("other/cola.parquet", "text", ()),
}


@dataclass(frozen=True)
class Bench:
    """Where the data, the models and the studies are."""

    shared: Path
    out: Path
    models: dict[str, str]

    def task(self, case: Case) -> Any:
        """The recipe's task of a case."""
        if case.source == "demo":
            return "demo"
        if case.source in ("sst2", "imdb"):
            return {case.source: {"path": str(self.shared / "data" / case.source)}}
        return {"labels": {"path": str(self._table(case.source)), "text": "text", "label": "label"}}

    def _table(self, source: str) -> Path:
        """At most 8,000 distinct rows of a data set in random order, as a file."""
        path = self.out / f"{source}.csv"
        if not path.is_file():
            file, text, left_out = FILES[source]
            rows = pq.read_table(self.shared / "data" / file, columns=[text, "label"]).to_pylist()
            distinct = {row[text]: str(row["label"]) for row in rows if str(row["label"]) not in left_out}
            pairs = sorted(distinct.items())
            random.Random(0).shuffle(pairs)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows([("text", "label"), *pairs[:8000]])
        return path


@dataclass(frozen=True)
class Run:
    """One training: a method at a learning rate, a number of steps, and further settings of the recipe."""

    method: str
    rate: float | None
    steps: int
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The arm's name."""
        rate = "" if self.rate is None else f"-{self.rate:g}-{self.steps}"
        return f"{self.method}{rate}".replace("+", "")


def run_cell(bench: Bench, case: Case, model: str, runs: Iterable[Run]) -> dict[Run, dict[str, Any]]:
    """Train the runs in one study for each set of further settings; each run's record of dev."""
    results: dict[Run, dict[str, Any]] = {}
    by_settings: dict[tuple[tuple[str, Any], ...], list[Run]] = {}
    for run in runs:
        by_settings.setdefault(run.settings, []).append(run)
    for settings, group in by_settings.items():
        suffix = "".join(f"-{value}" for _, value in settings)
        folder = bench.out / f"{case.name}-{model}{suffix}"
        known = json.loads((folder / "runs.json").read_text()) if (folder / "runs.json").is_file() else []
        every = list(dict.fromkeys([*(Run(*entry) for entry in known), *(_bare(run) for run in group)]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "runs.json").write_text(json.dumps([[r.method, r.rate, r.steps] for r in every]))
        values = _recipe(bench, case, model, every, dict(settings), str(folder / "study"))
        try:
            run_study(recipe_from(values))
        except RunError as error:  # an arm that diverged: the table shows it
            print(f"  {error}", flush=True)
        for run in group:
            results[run] = _record(folder / "study", run)
    return results


def _bare(run: Run) -> Run:
    return Run(run.method, run.rate, run.steps)


def _recipe(
    bench: Bench, case: Case, model: str, runs: Sequence[Run], settings: dict[str, Any], out: str
) -> dict[str, Any]:
    size = case.train_size or 900
    train = {"micro_batch": BATCH, "self_test": False, "checkpoint_minutes": None}
    train |= {name.removeprefix("train."): value for name, value in settings.items()}
    batch = int(train.get("batch_size", BATCH))
    arms: list[Any] = ["majority", "lexical"]
    for run in runs:
        options: dict[str, Any] = {"name": run.name}
        if run.rate is not None:
            epochs = max(3, math.ceil(run.steps / math.ceil(size / batch)))
            options |= {"learning_rate": run.rate, "epochs": epochs}
        arms.append({run.method: options})
    split = {} if case.source == "demo" else {"dev_size": DEV, "test_size": TEST, "dev_share": 0.2}
    if case.source in FILES:
        split["kind"], split["shares"] = "shares", [80, 10, 10]
    if case.train_size:
        split["train_size"] = case.train_size
    return {
        "task": bench.task(case),
        "models": [{bench.models[model]: {"name": model}}],
        "arms": arms,
        "seeds": [0],
        "split": split,
        "encode": {"max_length": case.max_length, "truncate": "middle"},
        "train": train,
        "compute": {"device": "cpu", "threads": 1},
        "out": out,
    }


def _record(study: Path, run: Run) -> dict[str, Any]:
    """Dev loss, steps, the step that dev chose, seconds; test accuracy is reported alone."""
    for path in study.glob("arms/*/arm.json"):
        about = json.loads(path.read_text())
        if about["arm"] == run.name:
            chosen = about.get("chosen") or {}
            scores = (
                json.loads((path.parent / "scores.json").read_text()) if about["status"] == "done" else {}
            )
            head = chosen.get("head") or chosen
            return {
                "dev_loss": chosen.get("dev_loss", head.get("dev_loss")),
                "best_step": chosen.get("step"),
                "steps": chosen.get("steps_done", 0),
                "seconds": about.get("wall_s"),
                "test_accuracy": _value(scores, "accuracy"),
            }
    return {"dev_loss": None}


def _value(scores: Any, metric: str) -> float | None:
    entries = scores.get("scores", scores) if isinstance(scores, dict) else {}
    entry = entries.get(metric) if isinstance(entries, dict) else None
    return entry.get("value") if isinstance(entry, dict) else None


def _loss(record: dict[str, Any]) -> float:
    return math.inf if record.get("dev_loss") is None else float(record["dev_loss"])


def _print(case: Case, model: str, results: dict[Run, dict[str, Any]], best: Run | None) -> None:
    for run, record in results.items():
        extra = ", ".join(f"{name} {value}" for name, value in run.settings)
        accuracy = record.get("test_accuracy")
        print(
            f"{case.name:11} {model:12} {run.method:6} {run.rate or 0:8.1e} {record.get('steps', 0):5} steps "
            f"(best {record.get('best_step')}) dev loss {_loss(record):.4f} "
            f"accuracy {100 * (accuracy or 0):5.1f} {record.get('seconds') or 0:6.1f} s {extra}"
            f"{' *' if run == best else ''}",
            flush=True,
        )


def run_case(bench: Bench, case: Case, model: str) -> None:
    """All three stages of a case and a model, printed."""
    rates = [Run(method, rate, STEPS) for method, rates in METHODS.items() for rate in rates]
    first = run_cell(bench, case, model, [Run("head", None, 0), *rates])
    best = {
        method: min((r for r in rates if r.method == method), key=lambda r: _loss(first[r]))
        for method in METHODS
    }
    _print(case, model, first, None)
    further = [
        Run(method, run.rate, steps)
        for method, run in best.items()
        for steps in MORE_STEPS
        if method != "lp-ft" and not (steps and 3 * (case.train_size or 900) / BATCH > steps)
    ]
    _print(case, model, run_cell(bench, case, model, further), None)
    if case.name in WITH_VARIANTS:
        variants = [Run("lora", best["lora"].rate, STEPS, tuple(change.items())) for change in VARIANTS]
        _print(case, model, run_cell(bench, case, model, variants), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print their tables; 0."""
    parser = argparse.ArgumentParser(prog="benchmarks defaults")
    parser.add_argument("--shared", required=True, type=Path, help="a folder with data/ and models/")
    parser.add_argument("--out", required=True, type=Path, help="where the studies are kept")
    parser.add_argument("--models", default="minilm,stories260k")
    parser.add_argument("--cases", default=",".join(case.name for case in CASES))
    parser.add_argument("--gemma", default=str(Path.home() / ".cache/real-models/gemma-3-270m"))
    args = parser.parse_args(arguments)
    shared = args.shared.resolve()
    models = {
        "minilm": str(shared / "models" / "minilm-l6"),
        "stories260k": str(shared / "models" / "stories260k"),
        "gemma-3-270m": args.gemma,
    }
    bench = Bench(shared, args.out.resolve(), models)
    for case in CASES:
        if case.name in args.cases.split(","):
            for model in args.models.split(","):
                run_case(bench, case, model)
    return 0
