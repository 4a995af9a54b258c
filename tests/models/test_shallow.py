"""Models of the right shape without their weights."""

import pytest
import torch

from tests.tiny_models import tiny_model
from tuneproof.families.blocks import blocks_of, layers_of, with_layers
from tuneproof.families.models import resolve_model
from tuneproof.models.checkpoint_files import read_config
from tuneproof.models.load import model_on_meta
from tuneproof.models.shallow import depths_to_build, layer_weights, shallow_model


@pytest.mark.parametrize("kind", ["distilbert", "bert", "llama", "gemma2", "gpt2"])
def test_it_has_the_real_models_shapes_and_fewer_layers(kind, tmp_path):
    source = resolve_model(tiny_model(tmp_path / kind, kind))
    config = read_config(source)
    whole = model_on_meta(source, config, head="labels", labels=("a", "b"))
    model = shallow_model(source, config, "labels", ("a", "b"), 1, torch.float32)
    assert len(blocks_of(model.base_model).modules) == 1
    assert layers_of(config) == 2, "the configuration itself is not changed"
    shapes = {name: weight.shape for name, weight in whole.named_parameters()}
    own = {name: weight.shape for name, weight in model.named_parameters()}
    assert own.items() <= shapes.items()
    missing = sum(shape.numel() for name, shape in shapes.items() if name not in own)
    assert missing == layer_weights(source, config)
    ids = torch.ones(2, 5, dtype=torch.long)
    assert torch.isfinite(model.base_model(input_ids=ids, attention_mask=ids)[0]).all()


def test_a_list_of_the_layers_kinds_is_cut_with_them(tmp_path):
    config = read_config(resolve_model(tiny_model(tmp_path / "gemma2", "gemma2")))
    assert len(config.layer_types) == 2
    assert with_layers(config, 1).layer_types == config.layer_types[:1]


@pytest.mark.parametrize(
    ("layers", "weights", "depths"),
    [
        (6, 1_774_464, (6,)),
        (18, 5_573_632, (18,)),
        (28, 15_000_000, (1, 8)),
        (16, 60_821_504, (1, 2)),
        (2, 10**9, (2,)),
    ],
)
def test_a_small_model_is_built_whole_and_a_large_one_twice(layers, weights, depths):
    assert depths_to_build(layers, weights) == depths
