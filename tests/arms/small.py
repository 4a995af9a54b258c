"""Small studies for tests: an own file of sixty rows, a tiny random model, a recipe.

In: a folder. Out: a recipe that runs in seconds. Knows nothing of: what is asserted.
"""

import csv
import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from tuneproof.arms import training
from tuneproof.arms.probe import fit_model_head
from tuneproof.arms.tuned import packing_of
from tuneproof.context.model_spec import Compute, Ready, make_compute
from tuneproof.context.monitor import Event
from tuneproof.models.heads import class_logits
from tuneproof.models.load import load_model
from tuneproof.objectives.objective import make_objective
from tuneproof.recipe.recipe import Arm, Recipe, recipe_from
from tuneproof.study.plan import Plan
from tuneproof.study.run import check
from tuneproof.study.study import events_of

TIMES = {"time_s", "tokens_per_s"}
WHO = ("She", "My friend", "The critic", "Nobody", "A tired viewer")
WHAT = ("movie", "film", "story", "wonderful plot", "terrible ending", "music")
HOW = {"negative": "bad", "positive": "very good", "mixed": "not great at all"}


def rows_of(labels: Sequence[str], count: int = 60) -> list[tuple[str, str]]:
    """(text, label), sorted by label; the last words alone tell the label."""
    pairs = [(who, what) for what in WHAT for who in WHO]
    rows = []
    for label in labels:
        for place in range(count // len(labels)):
            who, what = pairs[place % len(pairs)]
            more = "again " * (place // len(pairs))
            rows.append((f"{who} watched the {what} {more}and said it was {HOW[label]}.", label))
    return rows


def write_rows(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """A CSV with the columns text and label."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def small_recipe(
    folder: Path,
    models: Sequence[Any],
    arms: Sequence[Any],
    labels: Sequence[str] = ("negative", "positive"),
    out: str = "study",
    **sections: Any,
) -> Recipe:
    """A recipe over the sixty rows; sections are merged into quick defaults."""
    path = folder / f"rows-{len(labels)}.csv"
    if not path.exists():
        write_rows(path, rows_of(labels))
    values: dict[str, Any] = {
        "task": {"labels": {"path": str(path), "labels": list(labels)}},
        "models": [str(model) if isinstance(model, Path) else model for model in models],
        "arms": list(arms),
        "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
        "encode": {"max_length": 224},
        "train": {"epochs": 2, "batch_size": 8, "schedule": "constant", "warmup_share": 0},
        "score": {"draws": 200},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    for name, section in sections.items():
        old = values.get(name)
        values[name] = {**old, **section} if isinstance(old, dict) else section
    return recipe_from(values)


def follow(recipe: Recipe) -> list[Event]:
    """Everything that happens."""
    return list(events_of(recipe))


def follow_until(recipe: Recipe, into: list[Event]) -> Iterator[Event]:
    """Events, also kept in `into` where the study raises."""
    for event in events_of(recipe):
        into.append(event)
        yield event


def arm_of(recipe: Recipe, name: str) -> dict[str, Any]:
    """arm.json of the first folder whose name ends so (before the seed)."""
    return json.loads((folder_of(recipe, name) / "arm.json").read_text("utf-8"))


def folder_of(recipe: Recipe, name: str, seed: int | None = None) -> Path:
    """The arm's folder."""
    ends = f"{name}.seed{seed}" if seed is not None else name
    found = [
        path
        for path in sorted((Path(recipe.out) / "arms").iterdir())
        if path.name == ends
        or path.name.endswith(f".{ends}")
        or (seed is None and f".{name}.seed" in path.name)
    ]
    assert found, f"no folder of {name} in {recipe.out}"
    return found[0]


def steps_of(recipe: Recipe, name: str, seed: int | None = None) -> list[dict[str, Any]]:
    """The lines of steps.jsonl."""
    text = (folder_of(recipe, name, seed) / "steps.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@dataclass(frozen=True)
class Begun:
    """A tuned arm just before its first step. `before` are the logits before the method applied."""

    plan: Plan
    arm: Arm
    ready: Ready
    compute: Compute
    objective: Any
    model: Any
    before: Any


def drain(running: Generator[Any, None, Any]) -> Any:
    """What a stage returns, its events left aside."""
    while True:
        try:
            next(running)
        except StopIteration as stop:
            return stop.value


def begin(recipe: Recipe, name: str, seed: int = 0, method_seed: int = 0) -> Begun:
    """Load and apply as a tuned arm does, and stop there."""
    plan = check(recipe)
    arm, ready = recipe.arm(name), plan.readies[0]
    compute = make_compute(recipe.compute, 64)
    options: Any = arm.options
    loaded = load_model(
        ready.source,
        ready.config,
        ready.tokenizer,
        ready.family,
        head="labels" if options.objective == "head" else "words",
        labels=plan.splits.labels,
        packing=packing_of(arm, compute),
        seed=seed,
    )
    model = loaded.model
    objective = make_objective(options.objective, plan.shared, ready, compute)
    if arm.method.probe:
        drain(fit_model_head(model, plan.shared, ready, compute, options))
    before = logits_of(model, ready, objective)
    torch.manual_seed(method_seed)
    apply = arm.method.apply
    assert apply is not None
    model = apply(model, ready.family, options, loaded.fresh)
    return Begun(plan, arm, ready, compute, objective, model, before)


@torch.no_grad()
def logits_of(model: Any, ready: Ready, objective: Any, items: int = 6) -> torch.Tensor:
    """Logits of the first train items: of the head [B, C], or of the last position [B, V]."""
    was = model.training
    model.eval()
    part = objective.collate(np.arange(items))
    batch = {key: part[key] for key in ("input_ids", "attention_mask", "position_ids")}
    words = "labels" not in part
    found = model(**batch).logits[:, -1] if words else class_logits(model, ready.family, batch)
    model.train(was)
    return found.clone()


def results(recipe: Recipe, name: str) -> dict[str, Any]:
    """Everything about an arm that must be the same to the bit: weights, steps, choices, predictions."""
    folder = folder_of(recipe, name)
    weights = {}
    for file in sorted((folder / "weights").glob("*.safetensors")):
        weights |= {key: value.tobytes() for key, value in load_file(file).items()}
    found = steps_of(recipe, name) if (folder / "steps.jsonl").is_file() else []
    steps = [{k: v for k, v in step.items() if k not in TIMES} for step in found]
    chosen = arm_of(recipe, name)["chosen"]
    files = ("predictions.parquet", "dev_predictions.parquet", "scores.json")
    return {"weights": weights, "steps": steps, "chosen": chosen} | {
        file: (folder / file).read_bytes() for file in files
    }


def dies(monkeypatch: Any, at: int) -> None:
    """The process is killed, as far as its files tell, after the line of step `at`."""
    line = training._line

    def stop(step, found):
        if step.step == at:
            raise KeyboardInterrupt
        return line(step, found)

    monkeypatch.setattr(training, "_line", stop)
