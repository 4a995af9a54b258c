"""Small studies for tests: an own file of sixty rows, a tiny random model, a recipe.

In: a folder. Out: a recipe that runs in seconds. Knows nothing of: what is asserted.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from tests.monitoring import RecordingMonitor
from tuneproof.arms import training
from tuneproof.arms.probe import fit_model_head
from tuneproof.arms.tuned import quantization_of
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.compute import Compute, make_compute
from tuneproof.context.model_spec import ModelSpec
from tuneproof.methods.options import trains_words
from tuneproof.models.heads import class_logits
from tuneproof.models.load import load_model
from tuneproof.objectives.make import make_objective
from tuneproof.recipe.recipe import Arm, Recipe, recipe_from
from tuneproof.study.plan import Plan, check

TIMES = {"time_s", "tokens_per_s"}
PEOPLE = ("She", "My friend", "The critic", "Nobody", "A tired viewer")
THINGS = ("movie", "film", "story", "wonderful plot", "terrible ending", "music")
OPINIONS = {"negative": "bad", "positive": "very good", "mixed": "not great at all"}


def rows_of(labels: Sequence[str], count: int = 60) -> list[tuple[str, str]]:
    """(text, label), sorted by label; the last words alone tell the label."""
    pairs = [(person, thing) for thing in THINGS for person in PEOPLE]
    rows = []
    for label in labels:
        for number in range(count // len(labels)):
            person, thing = pairs[number % len(pairs)]
            again = "again " * (number // len(pairs))
            rows.append((f"{person} watched the {thing} {again}and said it was {OPINIONS[label]}.", label))
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
        "seeds": [0],
        "split": {"kind": "shares", "shares": [60, 20, 20], "leak_safe": False},
        "encode": {"max_length": 224},
        "train": {"epochs": 2, "batch_size": 8, "schedule": "constant", "warmup_share": 0},
        "predict": {"timing_s": 0},  # to time an arm takes longer than a tiny study
        "compute": {"device": "cpu", "threads": 1},
        "out": str(folder / out),
    }
    for name, section in sections.items():
        old = values.get(name)
        values[name] = {**old, **section} if isinstance(old, dict) else section
    return recipe_from(values)


def arm_of(recipe: Recipe, name: str) -> dict[str, Any]:
    """arm.json of the first folder whose name ends so (before the seed)."""
    return json.loads((folder_of(recipe, name) / "arm.json").read_text("utf-8"))


def folder_of(recipe: Recipe, name: str, seed: int | None = None) -> Path:
    """The arm's folder."""
    ends = f"{name}.seed{seed}" if seed is not None else name
    folders = [
        path
        for path in sorted((Path(recipe.out) / "arms").iterdir())
        if path.name == ends
        or path.name.endswith(f".{ends}")
        or (seed is None and f".{name}.seed" in path.name)
    ]
    assert folders, f"no folder of {name} in {recipe.out}"
    return folders[0]


def steps_of(recipe: Recipe, name: str, seed: int | None = None) -> list[dict[str, Any]]:
    """The lines of steps.jsonl."""
    text = (folder_of(recipe, name, seed) / "steps.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def context_of(plan: Plan, name: str, seed: int = 0, longest: int = 64) -> ArmContext:
    """The context of an arm with the plan's first model; its monitor records."""
    compute = make_compute(plan.recipe.compute, longest)
    arm = next(run.arm for run in plan.arms if run.arm.name == name and run.spec is plan.models[0])
    return ArmContext(plan.study, arm, plan.models[0], compute, seed, monitor=RecordingMonitor())


@dataclass(frozen=True)
class PreparedArm:
    """A tuned arm just before its first step; `logits_before` are those before the method is applied."""

    plan: Plan
    context: ArmContext
    objective: Any
    model: Any
    logits_before: Any

    @property
    def arm(self) -> Arm:
        """The arm."""
        return self.context.arm

    @property
    def spec(self) -> ModelSpec:
        """Its model."""
        return self.context.spec

    @property
    def compute(self) -> Compute:
        """Where it computes."""
        return self.context.compute


def prepare_arm(recipe: Recipe, name: str, seed: int = 0, method_seed: int = 0) -> PreparedArm:
    """Load and apply as a tuned arm does, and stop there."""
    plan = check(recipe)
    context = context_of(plan, name, seed)
    arm, spec = context.arm, context.spec
    loaded = load_model(
        spec.source,
        spec.config,
        spec.tokenizer,
        spec.family,
        head="words" if trains_words(arm.options) else "labels",
        labels=plan.study.labels,
        quantization=quantization_of(arm, context.compute),
        seed=seed,
    )
    model = loaded.model
    objective = make_objective(context)
    if arm.method.fits_head:
        fit_model_head(context, model)
    logits_before = logits_of(model, spec, objective)
    torch.manual_seed(method_seed)
    apply = arm.method.apply
    assert apply is not None
    model = apply(model, spec.family, arm.options, loaded.fresh)
    return PreparedArm(plan, context, objective, model, logits_before)


@torch.no_grad()
def logits_of(model: Any, spec: ModelSpec, objective: Any, items: int = 6) -> torch.Tensor:
    """Logits of the first train items: of the head [B, C], or of the last position [B, V]."""
    training_mode = model.training
    model.eval()
    part = objective.collate(np.arange(items))
    batch = {key: part[key] for key in ("input_ids", "attention_mask", "position_ids")}
    words = "labels" not in part
    logits = model(**batch).logits[:, -1] if words else class_logits(model, spec.family, batch)
    model.train(training_mode)
    return logits.clone()


def results(recipe: Recipe, name: str) -> dict[str, Any]:
    """Everything about an arm that must be the same to the bit: weights, steps, choices, predictions."""
    folder = folder_of(recipe, name)
    weights = {}
    for file in sorted((folder / "weights").glob("*.safetensors")):
        weights |= {key: value.tobytes() for key, value in load_file(file).items()}
    lines = steps_of(recipe, name) if (folder / "steps.jsonl").is_file() else []
    steps = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    chosen = arm_of(recipe, name)["chosen"]
    further = sorted(path.name for path in folder.glob("predictions.*.parquet"))
    files = ("predictions.parquet", "dev_predictions.parquet", "scores.json", *further)
    return {"weights": weights, "steps": steps, "chosen": chosen} | {
        file: (folder / file).read_bytes() for file in files
    }


def die_at(monkeypatch: Any, at: int) -> None:
    """The process is killed, as far as its files tell, after the line of step `at`."""
    line = training._line

    def stop(step, values):
        if step.step == at:
            raise KeyboardInterrupt
        return line(step, values)

    monkeypatch.setattr(training, "_line", stop)
