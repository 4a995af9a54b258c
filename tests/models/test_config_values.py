"""Values of a configuration that no model has are refused by file and key, before anything is built."""

import json
import time
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING

from tests.open_model import open_model
from tests.tiny_models import tiny_model
from tuneproof.errors import ModelError
from tuneproof.families.models import MODELS, resolve_model
from tuneproof.models.checkpoint_files import make_config, read_config, read_tokenizer_with_notes
from tuneproof.models.config_values import check_config_values


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny_model(tmp_path / "tiny", "llama")


def change(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_labels": 10**9}, "num_labels is 1000000000; no model has more than 1000000"),
        ({"num_labels": -1}, "num_labels is -1; it must be at least 0"),
        ({"num_labels": "two"}, "num_labels is 'two'; it must be a whole number"),
        ({"num_labels": 2.5}, "num_labels is 2.5"),
        ({"id2label": ["no", "yes"]}, "does not fit the class of llama"),
        ({"num_hidden_layers": -2}, "num_hidden_layers is -2; it must be at least 1"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers is 2.0; it must be a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": 10**9}, "num_attention_heads is 1000000000; no model"),
        ({"num_key_value_heads": -4}, "num_key_value_heads is -4"),
        ({"vocab_size": "462"}, "vocab_size is '462'"),
        ({"vocab_size": None}, "vocab_size"),
        ({"intermediate_size": -64}, "intermediate_size is -64"),
        ({"intermediate_size": 10**15}, "intermediate_size is 1000000000000000; no model"),
        ({"head_dim": 10**12}, "head_dim is 1000000000000"),
        ({"max_position_embeddings": 10**30}, "max_position_embeddings is 1000"),
        ({"n_shared_experts": 10**9}, "n_shared_experts is 1000000000"),
        ({"text_config": {"num_hidden_layers": 10**6}}, "text_config.num_hidden_layers is 1000000"),
        ({"eos_token_id": [1, "a"]}, "eos_token_id holds 'a'. The id of a token is a whole number"),
        ({"eos_token_id": -7}, "eos_token_id holds -7"),
        ({"bos_token_id": 1.5}, "bos_token_id holds 1.5"),
        ({"pad_token_id": 10**12}, "pad_token_id holds 1000000000000"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_key(folder, values, sentence) -> None:
    change(folder, "config.json", **values)
    begun = time.monotonic()
    with pytest.raises(ModelError) as error:
        read_config(resolve_model(folder))
    assert str(error.value).startswith(str(folder / "config.json"))
    assert sentence in str(error.value)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([1, "a"], "eos_token_id holds 'a'"),
        ("2", "eos_token_id holds '2'"),
        ([[2]], "eos_token_id holds [2]"),
        (True, "eos_token_id holds True"),
        (-5, "eos_token_id holds -5"),
        (10**12, "eos_token_id holds 1000000000000"),
        ({"a": 1}, "eos_token_id holds {'a': 1}"),
    ],
)
def test_an_end_token_that_is_none_is_refused_before_weights_load(folder, value, sentence) -> None:
    change(folder, "generation_config.json", eos_token_id=value)
    with pytest.raises(ModelError) as error:
        read_config(resolve_model(folder))
    assert str(error.value).startswith(str(folder / "generation_config.json"))
    assert sentence in str(error.value)


@pytest.mark.parametrize("text", ["[]", "{", "1"])
def test_generation_settings_that_are_no_object_are_refused(folder, text) -> None:
    (folder / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"generation_config\.json: is not"):
        read_config(resolve_model(folder))


def test_an_end_token_beyond_the_models_is_noted(folder) -> None:
    change(folder, "generation_config.json", eos_token_id=[2, 999_999])
    opened = open_model(folder, "words")
    assert opened.model.generation_config.eos_token_id == [2, 999_999]
    source = resolve_model(folder)
    notes = read_tokenizer_with_notes(source, read_config(source), opened.family)[1]
    assert any("names the end token 999999; the model has" in note for note in notes)


def test_settings_that_are_not_used_refuse_no_model(folder) -> None:
    change(folder, "generation_config.json", temperature="hot", top_k=-3, eos_token_id=[2])
    assert open_model(folder, "words").model.generation_config.eos_token_id == [2]


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if entry.published])
def test_every_published_configuration_is_within_the_ranges(name) -> None:
    make_config(MODELS[name].published.values, name)


def test_every_default_of_transformers_for_text_is_within_the_ranges() -> None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    kinds = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES}
    for kind in sorted(kinds & set(CONFIG_MAPPING)):
        try:
            values = CONFIG_MAPPING[kind]().to_dict()
        except Exception:  # some have no defaults, and say so in many ways
            continue
        check_config_values(values, kind)
