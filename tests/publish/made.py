"""Studies whose arms are published in tests, and the card's lines run without a process of their own.

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
from tests.tiny_models import tiny_model
from tuneproof.publish.gate import Sample
from tuneproof.publish.load_code import Published, program
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.study import events_of


def ran(recipe: Recipe) -> Path:
    """The study's folder, every arm done."""
    for event in events_of(recipe):
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
        "lp-ft",
        "lora",
    ]
    return ran(small_recipe(home, [model], arms, labels, train={"epochs": 1}))


def question_study(home: Path) -> Path:
    """A tiny BERT that marks answers, and a baseline."""
    model = tiny_model(home / "bert", "bert")
    return ran(question_recipe(home, [model], ["majority", "head", "lora"], train={"epochs": 1}))


def ask_here(it: Published, place: str, sample: Sample, merge: bool = False) -> list[Any]:
    """What the lines say, run in this process: quick, where loading afresh is not what is tested."""
    said, heard = io.StringIO(), io.StringIO(json.dumps(sample.asked))
    stdin, sys.stdin = sys.stdin, heard
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(program(it, place, merge), "card", "exec"), {})
    finally:
        sys.stdin = stdin
        torch.set_grad_enabled(True)
    return list(json.loads(said.getvalue().splitlines()[-1]))
