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
from tuneproof.models.oom import AdaptiveBatchSize

LABELS = ["negative", "positive", "mixed"]


def rows(count: int = 11) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(5, 60, size=random.integers(2, 30)) for _ in range(count)]


def predict(opened, ids, batch_size) -> tuple[np.ndarray, list[int]]:
    """The probabilities, and the sizes of finished batches."""
    sizes: list[int] = []
    probabilities_NC = class_probabilities(
        opened.model,
        opened.family,
        ids,
        0,
        AdaptiveBatchSize(batch_size, on_progress=sizes.append),
        torch.device("cpu"),
        nullcontext,
        3,
    )
    return probabilities_NC, sizes


@pytest.fixture(scope="module", params=["distilbert", "bert", "llama", "gemma2", "mistral", "gpt2"])
def opened(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / request.param
    return open_model(tiny_model(folder, request.param), "labels", LABELS, seed=0)


def test_a_batch_of_n_is_n_batches_of_one(opened) -> None:
    ids = rows()
    alone, sizes = predict(opened, ids, 1)
    assert sizes == [1] * 11
    assert alone.std(axis=0).max() > 1e-3, "equal probabilities would test nothing"
    np.testing.assert_allclose(alone.sum(axis=1), 1, atol=1e-6)
    for size, batches in ((4, [4, 4, 3]), (100, [11])):
        together, sizes = predict(opened, ids, size)
        assert sizes == batches
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_probabilities_follow_the_order_of_the_items(opened) -> None:
    ids = rows()
    probabilities_NC, _ = predict(opened, ids, 4)
    backwards, _ = predict(opened, ids[::-1], 4)
    np.testing.assert_allclose(backwards[::-1], probabilities_NC, atol=1e-5)
    for item in (0, 5, 10):
        with torch.no_grad():
            logits = class_logits(opened.model, opened.family, pad_batch([ids[item]], 0, "right"))
        np.testing.assert_allclose(probabilities_NC[item], logits[0].softmax(-1).numpy(), atol=1e-5)


def test_dropout_is_off(opened) -> None:
    opened.model.train()
    first, _ = predict(opened, rows(), 4)
    opened.model.train()
    assert np.array_equal(predict(opened, rows(), 4)[0], first)
