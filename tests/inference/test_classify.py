"""Label probabilities of a head do not depend on batches, order or padding."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.data.tokens import pad_batch
from tuneproof.inference.classify import class_probabilities
from tuneproof.models.heads import class_logits
from tuneproof.models.oom import AtOnce

LABELS = ["negative", "positive", "mixed"]


def rows(count: int = 11) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(5, 60, size=random.integers(2, 30)) for _ in range(count)]


def ask(opened, ids, batch_size) -> tuple[np.ndarray, list[int]]:
    into_NC = np.full((len(ids), 3), np.nan)
    done = list(
        class_probabilities(
            opened.model, opened.family, ids, 0, AtOnce(batch_size), torch.device("cpu"), nullcontext, into_NC
        )
    )
    return into_NC, done


@pytest.fixture(scope="module", params=["distilbert", "bert", "llama", "gemma2", "mistral", "gpt2"])
def opened(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / request.param
    return open_model(tiny_model(folder, request.param), "labels", LABELS, seed=0)


def test_a_batch_of_n_is_n_batches_of_one(opened) -> None:
    ids = rows()
    alone, done = ask(opened, ids, 1)
    assert done == [1] * 11
    assert alone.std(axis=0).max() > 1e-3, "the probabilities say nothing, so the test would"
    np.testing.assert_allclose(alone.sum(axis=1), 1, atol=1e-6)
    for size, batches in ((4, [4, 4, 3]), (100, [11])):
        together, done = ask(opened, ids, size)
        assert done == batches
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_probabilities_stand_in_the_order_of_the_items(opened) -> None:
    ids = rows()
    found, _ = ask(opened, ids, 4)
    backwards, _ = ask(opened, ids[::-1], 4)
    np.testing.assert_allclose(backwards[::-1], found, atol=1e-5)
    for place in (0, 5, 10):
        with torch.no_grad():
            logits = class_logits(opened.model, opened.family, pad_batch([ids[place]], 0, "right"))
        np.testing.assert_allclose(found[place], logits[0].softmax(-1).numpy(), atol=1e-5)


def test_dropout_is_off_while_asking(opened) -> None:
    opened.model.train()
    first, _ = ask(opened, rows(), 4)
    opened.model.train()
    assert np.array_equal(ask(opened, rows(), 4)[0], first)
