"""The real Gemma-3-270M, read once by tuneproof and once by transformers alone.

In: its folder (`make slow` fetches it where ../shared is there), recipes. Out: contexts of arms, the plain
model, log-probabilities by its own forward pass. Knows nothing of: how tuneproof scores or generates.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.arms.small import context_of
from tests.open_model import SHARED
from tuneproof.arms.prompted import make_predictor
from tuneproof.context.arm_context import ArmContext
from tuneproof.context.few_shot import shots_of
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.study.plan import Plan
from tuneproof.tasks.task import Example

FOLDER = Path.home() / ".cache" / "real-models" / "gemma-3-270m"
WINDOW = 512  # tokens that five of six layers look back
SST2 = {"sst2": {"path": str(SHARED / "data" / "sst2")}}
SENTIMENT = "Decide whether the review is negative or positive."
SENTIMENT_WORDS = ("negative", "positive")
# a quarter of an hour of one core in all
needs_gemma = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"Gemma-3-270M is not in {FOLDER}; see `make slow`"),
    pytest.mark.skipif(not (SHARED / "data").is_dir(), reason=f"the real data are not in {SHARED / 'data'}"),
]


def gemma_recipe(task: Any, arms: Sequence[Any], out: Path, **sections: Any) -> Recipe:
    """One thread of a CPU, so that sums are in the same order each time."""
    values = {
        "task": task,
        "models": [{str(FOLDER): {"name": "gemma"}}],
        "arms": list(arms),
        "seeds": [0],
        "encode": {"max_length": 1024},
        "compute": {"device": "cpu", "threads": 1},
        "out": str(out),
    }
    return recipe_from({**values, **sections})


def prompted_arm(plan: Plan, name: str) -> tuple[ArmContext, Any]:
    """A prompt arm's context and its predictor, with its shots drawn."""
    context = context_of(plan, name, longest=plan.recipe.encode.max_length)
    return context, make_predictor(context, shots_of(context.study, context.arm, context.seed))


@cache
def plain_tokenizer() -> Any:
    """As transformers reads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@cache
def plain_model(window: int = WINDOW) -> Any:
    """As transformers loads it, in float32; sliding layers look back `window` tokens."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32, sliding_window=window)
    return model.eval()


def plain_ids(text: str) -> list[int]:
    """The tokens of a text after one BOS token."""
    return plain_tokenizer()(text)["input_ids"]


def sentiment_prompt(shots: Sequence[Example], text: str) -> str:
    """The prompt of a review, written by hand."""
    shot_texts = [f"Review: {shot.text}\nSentiment: {SENTIMENT_WORDS[shot.label]}" for shot in shots]
    return "\n\n".join([SENTIMENT, *shot_texts, f"Review: {text}\nSentiment:"])


@torch.inference_mode()
def plain_log_prob(prompt: str, answer: str, model: Any = None) -> tuple[float, int]:
    """Summed log-probability of the answer's tokens after the prompt, and their number.

    One sequence, no cache, no padding: transformers' own forward pass in float32. Its logits are normalised
    in float64, since torch's float32 log_softmax over 262,144 of them is itself off by up to 5e-5 a token.
    """
    model = plain_model() if model is None else model
    start, ids = plain_ids(prompt), plain_ids(prompt + answer)
    assert ids[: len(start)] == start
    count = len(ids) - len(start)
    output = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=count + 1)
    logs_TV = output.logits[0].double().log_softmax(-1)
    return sum(float(logs_TV[step, ids[len(start) + step]]) for step in range(count)), count
