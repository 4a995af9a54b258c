"""A simulated batch of prompts takes the memory of a real one.

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
from tuneproof.inference.label_likelihood import score_labels
from tuneproof.memory.simulate_prompts import PromptWorkload, simulate_prompts
from tuneproof.memory.simulate_step import _make_fake
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.oom import AdaptiveBatchSize


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2"])
def folder(request, tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("p") / request.param, request.param)


def make_prompts(workload):
    """Rows that share only `shared_tokens`, each with labels that share nothing."""
    draw = np.random.default_rng(0)
    shared = draw.integers(20, 250, workload.shared_tokens)
    size = workload.length - workload.shared_tokens - workload.answer_tokens * (not workload.generates)
    contexts = [np.concatenate([shared, draw.integers(20, 250, size)]) for _ in range(workload.items)]
    labels = tuple(np.full(workload.answer_tokens, 20 + label) for label in range(workload.labels))
    lengths = np.full(workload.items, workload.length)
    counts = (lengths, lengths, lengths < 0, {})
    return EncodedPrompts(contexts, [labels] * workload.items, contexts, *counts, False, "")


def above_weights(live):
    return live.peak_bytes - live.peak["weights"]


@pytest.mark.parametrize("shared_tokens", [0, 50])
@pytest.mark.parametrize("generates", [False, True])
def test_a_simulated_batch_takes_what_a_real_one_takes(folder, generates, shared_tokens) -> None:
    workload = PromptWorkload(12, 110, shared_tokens, 3, 4, generates)
    opened = open_model(folder, "words")
    prompts = make_prompts(workload)
    live = LiveMemory(vocabulary=opened.config.vocab_size)
    for tensor in (*opened.model.parameters(), *opened.model.buffers()):
        live.hold(tensor, "weights")
    with live:
        if generates:
            opened.model.generation_config.eos_token_id = None
            generate_answers(opened.model, opened.tokenizer, prompts, 0, AdaptiveBatchSize(12), 4)
        else:
            score_labels(opened.model, prompts, 0, AdaptiveBatchSize(12))
    simulated = LiveMemory(vocabulary=opened.config.vocab_size)
    with torch.device("meta"):
        model = type(opened.model)(opened.config).eval()
    with FakeTensorMode(), simulated:
        _make_fake(model, simulated)
        simulate_prompts(model, workload, simulated)
    assert above_weights(live) <= 1.02 * above_weights(simulated) <= 1.2 * above_weights(live)
    assert generates <= (simulated.peak["cache"] > 0)
