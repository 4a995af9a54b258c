"""A folder with a whole model and an adapter beside it is refused for what it is."""

import pytest

from tuneproof.errors import ModelError
from tuneproof.families.models import resolve_model


def folder_with(folder, *names):
    for name in ("adapter_config.json", "adapter_model.safetensors", *names):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00002.safetensors"])
def test_a_merged_model_in_the_adapters_folder_is_named(tmp_path, weights) -> None:
    with pytest.raises(ModelError, match=r"a whole model and an adapter beside it.*take adapter_config"):
        resolve_model(folder_with(tmp_path, "config.json", weights))


@pytest.mark.parametrize("names", [(), ("config.json",)])
def test_an_adapter_alone_is_still_to_be_merged(tmp_path, names) -> None:
    with pytest.raises(ModelError, match=r"holds an adapter, not a whole model.*tuned-model"):
        resolve_model(folder_with(tmp_path, *names))
