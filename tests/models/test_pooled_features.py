"""Pooled features of a frozen base, and their cache."""

import numpy as np
import pytest
import torch

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.context.model_spec import Compute
from tuneproof.data.tokens import pad_batch
from tuneproof.models.heads import base_states
from tuneproof.models.oom import AtOnce
from tuneproof.models.pooled_features import (
    cached_features,
    features_key,
    keep_features,
    pool,
    pooled_features,
)
from tuneproof.train.loop import make_accelerator

ROWS = [np.array([1, 5, 9, 8]), np.array([1, 7]), np.array([1, 11, 12, 13, 14, 15])]


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_never_pooled(pooling, side) -> None:
    batch = pad_batch(ROWS, 0, side)
    hidden_BTD = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    mask_BT = batch["attention_mask"]
    found = pool(hidden_BTD, mask_BT, pooling)
    for place in range(3):
        real = hidden_BTD[place][mask_BT[place].bool()]
        wanted = {"first": real[0], "last": real[-1], "mean": real.mean(0)}[pooling]
        torch.testing.assert_close(found[place], wanted)
    spoiled = torch.where(mask_BT.bool()[..., None], hidden_BTD, 1e6)
    torch.testing.assert_close(pool(spoiled, mask_BT, pooling), found)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "llama", "gemma2", "gpt2"])
def test_features_are_those_of_one_row_alone(tmp_path, kind) -> None:
    opened = open_model(tiny_model(tmp_path / kind, kind), "base")
    compute = Compute(make_accelerator("cpu", "fp32"), "fp32", "")
    poolings = ("first", "last", "mean")
    found: dict = {}
    done = list(
        pooled_features(
            opened.model,
            opened.family,
            ROWS,
            0,
            poolings,
            AtOnce(2),
            torch.device("cpu"),
            compute.autocast,
            found,
        )
    )
    assert done == [2, 1]
    assert set(found) == set(poolings)
    for place, row in enumerate(ROWS):
        with torch.no_grad():
            states = base_states(opened.model, opened.family, pad_batch([row], 0, "right"))[0]
        wanted = {"first": states[0], "last": states[-1], "mean": states.mean(0)}
        for pooling in poolings:
            assert found[pooling].dtype == np.float32
            np.testing.assert_allclose(found[pooling][place], wanted[pooling].numpy(), atol=1e-5, rtol=1e-5)


def test_the_key_changes_with_everything_that_matters() -> None:
    base = ("weights", ROWS, ("first", "mean"), "fp32")
    other_rows = [ROWS[0], ROWS[1], np.array([1, 11, 12, 13, 14, 16])]
    shifted = [np.array([1, 5, 9]), np.array([8, 1, 7]), ROWS[2]]
    keys = {
        features_key(*base),
        features_key("other", *base[1:]),
        features_key(base[0], other_rows, *base[2:]),
        features_key(base[0], shifted, *base[2:]),
        features_key(base[0], ROWS[::-1], *base[2:]),
        features_key(*base[:2], ("first", "last"), base[3]),
        features_key(*base[:3], "bf16"),
    }
    assert len(keys) == 7
    assert features_key(*base) == features_key(*base)


def test_features_are_kept_whole_or_computed_again(tmp_path) -> None:
    folder = tmp_path / "features"
    assert cached_features(folder) is None
    values = {"first": np.ones((3, 2), dtype=np.float32), "mean": np.zeros((3, 2), np.float32)}
    keep_features(folder, values)
    again = cached_features(folder)
    assert again is not None
    assert {name: again[name].tolist() for name in again} == {n: v.tolist() for n, v in values.items()}
    data = bytearray((folder / "mean.npy").read_bytes())
    data[-1] ^= 4
    (folder / "mean.npy").write_bytes(bytes(data))
    assert cached_features(folder) is None
    keep_features(folder, values)
    (folder / "first.npy").unlink()
    assert cached_features(folder) is None
    keep_features(folder, values)
    (folder / "MANIFEST.json").write_text("{")
    assert cached_features(folder) is None
