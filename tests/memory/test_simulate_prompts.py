"""The batch of prompts that is played ahead takes what a real one does.

In: tiny models. Out: nothing. Knows nothing of: methods, what fits.
"""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.data.encode import EncodedPrompts
from tuneproof.inference.generate import generate_answers
from tuneproof.inference.label_likelihood import label_log_likelihoods
from tuneproof.memory.simulate_prompts import Asking, play_prompts
from tuneproof.memory.simulate_step import _make_fake
from tuneproof.memory.tracker import LiveMemory


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2"])
def folder(request, tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("p") / request.param, request.param)


def prompts_of(asking):
    """Rows that share the start alone, each with ways that share nothing."""
    draw = np.random.default_rng(0)
    start = draw.integers(20, 250, asking.start)
    size = asking.length - asking.start - asking.tail * (not asking.generates)
    contexts = [np.concatenate([start, draw.integers(20, 250, size)]) for _ in range(asking.items)]
    ways = tuple(np.full(asking.tail, 20 + way) for way in range(asking.ways))
    every = np.full(asking.items, asking.length)
    return EncodedPrompts(contexts, [ways] * asking.items, contexts, every, every < 0, {}, False, "")


def above_weights(live):
    return live.peak_bytes - live.peak["weights"]


@pytest.mark.parametrize("start", [0, 50])
@pytest.mark.parametrize("generates", [False, True])
def test_what_is_played_takes_what_is_done(folder, generates, start) -> None:
    asking = Asking(12, 110, start, 3, 4, generates)
    opened = open_model(folder, "words")
    prompts = prompts_of(asking)
    live = LiveMemory(vocabulary=opened.config.vocab_size)
    for tensor in (*opened.model.parameters(), *opened.model.buffers()):
        live.hold(tensor, "weights")
    with live:
        if generates:
            opened.model.generation_config.eos_token_id = None
            generate_answers(opened.model, opened.tokenizer, prompts, 0, 12, 4)
        else:
            label_log_likelihoods(opened.model, prompts, 0, 12)
    played = LiveMemory(vocabulary=opened.config.vocab_size)
    with torch.device("meta"):
        model = type(opened.model)(opened.config).eval()
    with FakeTensorMode(), played:
        _make_fake(model, played)
        play_prompts(model, asking, played)
    assert above_weights(live) <= 1.02 * above_weights(played) <= 1.2 * above_weights(live)
    assert generates <= (played.peak["cache"] > 0)
