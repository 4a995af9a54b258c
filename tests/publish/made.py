"""Studies whose arms are published in tests, and the card's code run without a process of its own.

In: a folder. Out: studies that ran. Knows nothing of: what is asserted.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import torch

from tests.arms.questions import question_recipe
from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.publish.gate import Sample
from tuneproof.publish.load_code import LoadSpec, make_program
from tuneproof.recipe.recipe import Recipe


def ran(recipe: Recipe) -> Path:
    """The study's folder, every arm done."""
    for event in run_recorded(recipe).events:
        assert getattr(event, "status", "done") in ("done", "skipped"), event
    return Path(recipe.out)


def decoder_study(home: Path) -> Path:
    """A tiny Llama: whole, adapters, labels' words, a head, and a baseline."""
    model = tiny_model(home / "llama", "llama", chat=True)
    arms = ["majority", "head", "lora", "full", "qlora", {"lora": {"name": "words", "objective": "words"}}]
    return ran(small_recipe(home, [model], arms, train={"epochs": 1}))


def encoder_study(home: Path) -> Path:
    """A tiny BERT: a head, LP-FT, an adapter, with three labels."""
    model = tiny_model(home / "bert", "bert")
    labels = ("negative", "positive", "mixed")
    arms = [
        "majority",
        {"head": {"pooling": "mean"}},
        {"head": {"name": "first", "pooling": "first"}},
        "embeddings",
        "lp-ft",
        "lora",
    ]
    return ran(small_recipe(home, [model], arms, labels, train={"epochs": 1}))


def question_study(home: Path) -> Path:
    """A tiny BERT that marks answers, and a baseline."""
    model = tiny_model(home / "bert", "bert")
    return ran(question_recipe(home, [model], ["majority", "head", "lora"], train={"epochs": 1}))


def predict_here(load_spec: LoadSpec, location: str, sample: Sample, merge: bool = False) -> list[Any]:
    """The predictions of the card's code in this process: quick, where a fresh one is not tested."""
    output, stdin = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(json.dumps(sample.inputs))
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(make_program(load_spec, location, merge), "card", "exec"), {})
    finally:
        sys.stdin = stdin
        torch.set_grad_enabled(True)
    return list(json.loads(output.getvalue().splitlines()[-1]))
