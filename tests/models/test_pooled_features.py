"""Pooled features of a frozen base."""

import numpy as np
import pytest
import torch

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.context.compute import Compute
from tuneproof.data.tokens import pad_batch
from tuneproof.models.heads import base_states
from tuneproof.models.oom import AdaptiveBatchSize
from tuneproof.models.pooled_features import pool, pooled_features
from tuneproof.train.loop import make_accelerator

ROWS = [np.array([1, 5, 9, 8]), np.array([1, 7]), np.array([1, 11, 12, 13, 14, 15])]


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_never_pooled(pooling, side) -> None:
    batch = pad_batch(ROWS, 0, side)
    hidden_BTD = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    mask_BT = batch["attention_mask"]
    pooled_BD = pool(hidden_BTD, mask_BT, pooling)
    for index in range(3):
        real = hidden_BTD[index][mask_BT[index].bool()]
        expected = {"first": real[0], "last": real[-1], "mean": real.mean(0)}[pooling]
        torch.testing.assert_close(pooled_BD[index], expected)
    spoiled = torch.where(mask_BT.bool()[..., None], hidden_BTD, 1e6)
    torch.testing.assert_close(pool(spoiled, mask_BT, pooling), pooled_BD)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "llama", "gemma2", "gpt2"])
def test_features_are_those_of_one_row_alone(tmp_path, kind) -> None:
    opened = open_model(tiny_model(tmp_path / kind, kind), "base")
    compute = Compute(make_accelerator("cpu", "fp32"), "fp32", "")
    poolings = ("first", "last", "mean")
    done: list[int] = []
    adaptive_size = AdaptiveBatchSize(2, on_progress=done.append)
    cpu = torch.device("cpu")
    features = pooled_features(
        opened.model, opened.family, ROWS, 0, poolings, adaptive_size, cpu, compute.autocast
    )
    assert done == [2, 1]
    assert set(features) == set(poolings)
    for index, row in enumerate(ROWS):
        with torch.no_grad():
            states = base_states(opened.model, opened.family, pad_batch([row], 0, "right"))[0]
        expected = {"first": states[0], "last": states[-1], "mean": states.mean(0)}
        for pooling in poolings:
            assert features[pooling].dtype == np.float32
            np.testing.assert_allclose(
                features[pooling][index], expected[pooling].numpy(), atol=1e-5, rtol=1e-5
            )
