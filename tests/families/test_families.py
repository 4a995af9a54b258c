"""Families and model names, by hand.

In: the shelves. Out: nothing. Knows nothing of: weights.
"""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.cli.catalog import describe
from tuneproof.errors import ModelError
from tuneproof.families import FAMILIES, family_of
from tuneproof.families.auto import family_by_kind
from tuneproof.families.models import MODELS, published_config, resolve_model
from tuneproof.parameters.count import count


def on_meta(auto: str, **config: object):
    import torch
    import transformers

    kind = str(config.pop("kind"))
    with torch.device("meta"):
        return getattr(transformers, auto).from_config(transformers.CONFIG_MAPPING[kind](**config))


LLAMA = {
    "kind": "llama",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
GEMMA_2 = {"kind": "gemma2", "num_hidden_layers": 26, "vocab_size": 256000}
MISTRAL = {"kind": "mistral", "tie_word_embeddings": False}
DISTILBERT = {"kind": "distilbert"}
NOT_PINNED = {
    "ettin-encoder-400m",
    *(f"ettin-decoder-{size}" for size in ("17m", "32m", "68m", "150m", "400m")),
}


@pytest.mark.parametrize(
    ("config", "auto", "count"),
    [
        (LLAMA, "AutoModelForCausalLM", 1_235_814_400),
        (LLAMA, "AutoModelForSequenceClassification", 1_235_818_496),
        (GEMMA_2, "AutoModelForCausalLM", 2_614_341_888),
        (GEMMA_2, "AutoModelForSequenceClassification", 2_614_346_496),
        (MISTRAL, "AutoModelForCausalLM", 7_241_732_096),
        (MISTRAL, "AutoModelForSequenceClassification", 7_110_668_288),
        (DISTILBERT, "AutoModelForMaskedLM", 66_985_530),
        (DISTILBERT, "AutoModelForSequenceClassification", 66_955_010),
    ],
)
def test_published_parameter_counts(config, auto, count) -> None:
    model = on_meta(auto, **config)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_lora_of_rank_8_on_all_linear_layers_of_llama_is_5_636_096() -> None:
    model = on_meta("AutoModelForCausalLM", **LLAMA)
    ends = tuple(f".{name}" for name in FAMILIES["llama"].adapter_targets(model))
    sizes = [
        module.in_features + module.out_features
        for name, module in model.named_modules()
        if name.endswith(ends)
    ]
    assert len(sizes) == 16 * 7
    assert 8 * sum(sizes) == 5_636_096


@pytest.mark.parametrize(
    ("name", "per_layer", "layers"),
    [
        ("gemma-3-270m", 2 * (640 + 1024) + 2 * (640 + 256) + 3 * (640 + 2048), 18),
        ("qwen3-0.6b", 2 * (1024 + 2048) + 2 * (1024 + 1024) + 3 * (1024 + 3072), 28),
        ("roberta-base", 4 * (768 + 768) + 2 * (768 + 3072), 12),
        ("deberta-v3-small", 4 * (768 + 768) + 2 * (768 + 3072), 6),
        ("modernbert-base", (768 + 3 * 768) + (768 + 768) + (768 + 2 * 1152) + (1152 + 768), 22),
        ("ettin-decoder-17m", 4 * (256 + 256) + (256 + 2 * 384) + (384 + 256), 7),
    ],
)
def test_lora_stands_beside_every_linear_layer_of_the_blocks(name, per_layer, layers) -> None:
    ledger = count(name, "lora", ["lora.rank=4"], head="labels:2").adaptation.ledger
    assert {line.part: line.count for line in ledger.lines}["adapters"] == 4 * per_layer * layers


def test_targets_of_an_unnamed_architecture_are_the_linear_layers_of_its_blocks() -> None:
    import transformers

    model = transformers.GPT2LMHeadModel(tiny_config("gpt2", tiny_tokenizer("gpt2")))
    names = FAMILIES["auto"].adapter_targets(model)
    assert len(names) == 2 * 4
    assert "transformer.h.0.attn.c_attn" in names
    assert not any("lm_head" in name for name in names)
    with pytest.raises(ModelError, match="Use targets: all-linear"):
        FAMILIES["auto"].adapter_targets(model, "attention")


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("distilbert", "bert"),
        ("llama", "llama"),
        ("gemma", "gemma"),
        ("gemma2", "gemma"),
        ("gemma3_text", "gemma"),
        ("qwen3", "qwen"),
        ("modernbert-decoder", "ettin"),
        ("roberta", "roberta"),
        ("deberta-v2", "deberta"),
        ("modernbert", "modernbert"),
        ("mistral", "mistral"),
    ],
)
def test_a_type_is_served_by_the_family_that_names_it(model_type, name) -> None:
    from transformers import CONFIG_MAPPING

    assert family_of(CONFIG_MAPPING[model_type]()).name == name


@pytest.mark.parametrize(
    ("model_type", "options", "kind"),
    [
        ("roberta", {}, "encoder"),
        ("modernbert", {}, "encoder"),
        ("deberta-v2", {}, "encoder"),
        ("gpt2", {}, "decoder"),
        ("qwen2", {}, "decoder"),
        ("gpt_neox", {}, "decoder"),
        ("roberta", {"architectures": ["RobertaForCausalLM"]}, "encoder"),  # its attention sees all tokens
        ("roberta", {"architectures": ["RobertaForCausalLM"], "is_decoder": True}, "decoder"),
        ("flaubert", {"architectures": ["FlaubertWithLMHeadModel"]}, "encoder"),
    ],
)
def test_without_a_family_the_kind_is_read_off_the_configuration(model_type, options, kind) -> None:
    from transformers import CONFIG_MAPPING

    family = family_by_kind(CONFIG_MAPPING[model_type](**options))
    assert (family.name, family.kind) == ("auto", kind)


@pytest.mark.parametrize("kind", ["t5", "vit"])
def test_what_is_no_language_model_of_one_side_is_refused(kind) -> None:
    from transformers import CONFIG_MAPPING

    with pytest.raises(ModelError, match=f"{kind} is neither a causal nor a masked"):
        family_of(CONFIG_MAPPING[kind]())


@pytest.mark.parametrize(
    ("kind", "options", "limit"),
    [
        ("bert", {"max_position_embeddings": 512}, 512),
        ("roberta", {"max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ("modernbert", {}, 8192),
        ("deberta-v2", {"max_position_embeddings": 512}, 512),
        ("gemma3_text", {"max_position_embeddings": 32768}, 32768),
        ("gpt2", {"n_positions": 1024}, 1024),
        ("llama", {"max_position_embeddings": 131072}, 131072),
        ("bloom", {}, None),
    ],
)
def test_position_limits(kind, options, limit) -> None:
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind](**options)
    assert family_of(config).position_limit(config) == limit


# names of models


@pytest.mark.parametrize("name", [name for name in MODELS if name != "demo"])
def test_a_shelf_name_is_a_hub_model_pinned_or_said_not_to_be(name) -> None:
    source = resolve_model(name)
    assert (source.name, source.local) == (name, False)
    assert source.path_or_id == MODELS[name].hub_id
    if name in NOT_PINNED:
        assert source.revision is None
    else:
        assert re.fullmatch("[0-9a-f]{40}", source.revision)
    assert ("not pinned" in describe(name)) is (name in NOT_PINNED)
    assert source.gated is (name.startswith(("llama", "gemma")))
    assert published_config(source) is MODELS[name].published
    assert published_config(replace(source, revision="0" * 40)) is None


def test_the_list_of_models_has_sizes_licences_and_what_hinders_a_download() -> None:
    lines = {line.split()[0]: " ".join(line.split()) for line in describe("models").splitlines()}
    assert lines["gemma-3-270m"] == "gemma-3-270m 268M google/gemma-3-270m (Gemma terms, gated)"
    assert lines["qwen3-1.7b"] == "qwen3-1.7b 1.72B Qwen/Qwen3-1.7B (Apache-2.0)"
    assert lines["ettin-decoder-17m"].endswith("jhu-clsp/ettin-decoder-17m (MIT, not pinned)")
    assert lines["deberta-v3-base"].endswith("(MIT, weights are a pickle: convert them first)")


def test_a_shelf_name_takes_another_revision() -> None:
    assert resolve_model("distilbert@main").revision == "main"
    assert resolve_model("distilbert@main").path_or_id == "distilbert/distilbert-base-uncased"


def test_a_hub_id_may_name_its_revision() -> None:
    assert resolve_model("Qwen/Qwen2.5-0.5B").revision == "main"
    source = resolve_model("Qwen/Qwen2.5-0.5B@abc123")
    assert (source.name, source.path_or_id, source.revision) == (
        "Qwen2.5-0.5B",
        "Qwen/Qwen2.5-0.5B",
        "abc123",
    )


def test_a_folder_is_named_after_itself(tmp_path) -> None:
    folder = tiny_model(tmp_path / "my model <1>", "llama")
    source = resolve_model(folder)
    assert (source.name, source.local, source.path_or_id) == ("my-model-1", True, str(folder))


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ModelError) as error:
        resolve_model("distilbrt")
    assert str(error.value) == (
        "model: 'distilbrt' is not a known name, a hub id (owner/name) or a folder. Did you mean distilbert?"
    )


@pytest.mark.parametrize(
    "name", ["", "../../no-such", "/no/such/folder", "a/b/c", "https://x.y/z", "a\0b", "o/../n", "x@y"]
)
def test_what_is_no_model_is_refused(name) -> None:
    with pytest.raises(ModelError, match="is not a known name, a hub id"):
        resolve_model(name)


def test_folders_that_hold_no_usable_model_are_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        resolve_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights"):
        resolve_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError) as error:
        resolve_model(tmp_path)
    assert "only as pytorch_model.bin, a format that can run code" in str(error.value)
    assert "convert it once" in str(error.value)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert resolve_model(tmp_path).local
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/other"}')
    with pytest.raises(ModelError, match="a whole model and an adapter beside it"):
        resolve_model(tmp_path)
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(tmp_path / "config.json")


def test_the_shelf_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, tuneproof.families, tuneproof.families.models;"
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
