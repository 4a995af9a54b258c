"""The parameter ledger adds up, and agrees with the published counts."""

import pytest
import torch
from peft import IA3Config, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
)

from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.families import family_of
from tuneproof.families.models import ModelSource
from tuneproof.methods.full import FullOptions, apply_full
from tuneproof.methods.lora import LoraOptions, apply_lora
from tuneproof.models.load import pretrained_on_meta
from tuneproof.parameters.ledger import parameter_ledger, parameter_sizes

PUBLISHED = {
    "Llama-3.2-1B": (
        LlamaConfig(
            vocab_size=128256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=64,
            tie_word_embeddings=True,
        ),
        1_235_814_400,
        1_235_818_496,
        {"head": 4_096},
    ),
    "Gemma-2-2B": (
        Gemma2Config(
            vocab_size=256000,
            hidden_size=2304,
            intermediate_size=9216,
            num_hidden_layers=26,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=256,
            tie_word_embeddings=True,
        ),
        2_614_341_888,
        2_614_346_496,
        {"head": 4_608},
    ),
    "Mistral-7B": (
        MistralConfig(
            vocab_size=32000,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            tie_word_embeddings=False,
        ),
        7_241_732_096,
        7_110_668_288,
        {"dropped": -131_072_000, "head": 8_192},
    ),
    "DistilBERT": (DistilBertConfig(), 66_985_530, 66_955_010, {"dropped": -622_650, "head": 592_130}),
}
SOURCE = ModelSource("a model", "no/where", "main", False)


def with_head(config):
    config.num_labels = 2
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_ledger_explains_the_published_counts(name) -> None:
    config, base, total, lines = PUBLISHED[name]
    family = family_of(config)
    model = apply_full(with_head(config), family, FullOptions())
    ledger = parameter_ledger(model, pretrained_on_meta(SOURCE, config), family)
    assert (ledger.base, ledger.total, ledger.trainable) == (base, total, total)
    assert {line.part: line.count for line in ledger.lines} == lines


@pytest.mark.parametrize(
    "kind", ["distilbert", "bert", "modernbert", "deberta-v2", "llama", "mistral", "gemma2", "gpt2"]
)
@pytest.mark.parametrize("method", ["full", "lora", "dora", "words", "lora-words", "probe"])
def test_base_and_lines_add_up_to_the_total(kind, method) -> None:
    config = tiny_config(kind, tiny_tokenizer(kind))
    family = family_of(config)
    encoder = family.kind == "encoder"
    if encoder and "words" in method:
        pytest.skip("an encoder continues no words")
    skeleton = pretrained_on_meta(SOURCE, config)
    if method == "probe":
        ledger = parameter_ledger(skeleton, skeleton, family, trainable=66, probe=66)
        expected, trains = sum(parameter_sizes(skeleton).values()) + 66, 66
    else:
        auto = AutoModelForCausalLM if "words" in method else AutoModelForSequenceClassification
        config.num_labels = 2
        model = auto.from_config(config)
        plain = sum(p.numel() for p in model.parameters())
        objective = "words" if "words" in method else "head"
        if method.startswith("lora") or method == "dora":
            variant = "dora" if method == "dora" else "none"
            options = LoraOptions(rank=2, objective=objective, variant=variant)
            model = apply_lora(model, family, options)
            added = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
            heads = [p for n, p in model.named_parameters() if ".modules_to_save." in n]
            trains = added + sum(p.numel() for p in heads)
            expected = plain + added
        else:
            model = apply_full(model, family, FullOptions(objective=objective))
            expected = trains = plain
        ledger = parameter_ledger(model, skeleton, family)
    assert ledger.total == expected
    assert ledger.trainable == trains
    assert ledger.base + sum(line.count for line in ledger.lines) == ledger.total
    assert ledger.base == sum(parameter_sizes(skeleton).values())
    assert all(line.count for line in ledger.lines)
    assert all(line.reason for line in ledger.lines)


def test_a_tied_weight_counts_once() -> None:
    tied = tiny_config("llama", tiny_tokenizer("llama"))
    loose = tiny_config("llama", tiny_tokenizer("llama"))
    loose.tie_word_embeddings = False
    sizes = [
        sum(parameter_sizes(AutoModelForCausalLM.from_config(config)).values()) for config in (tied, loose)
    ]
    assert sizes[1] - sizes[0] == tied.vocab_size * tied.hidden_size
    on_meta = pretrained_on_meta(SOURCE, tied)
    assert sum(parameter_sizes(on_meta).values()) == sizes[0]


def test_the_base_is_the_architecture_that_was_saved() -> None:
    config = tiny_config("bert", tiny_tokenizer("bert"))
    with_words = pretrained_on_meta(SOURCE, config)
    assert isinstance(with_words, AutoModelForMaskedLM._model_mapping[type(config)])
    config.architectures = ["BertModel"]
    bare = pretrained_on_meta(SOURCE, config)
    assert type(bare).__name__ == "BertModel"
    family = family_of(config)
    model = apply_full(with_head(config), family, FullOptions())
    lines = parameter_ledger(model, bare, family).lines
    assert [line.part for line in lines] == ["head"]


def test_adapters_of_another_peft_method_are_explained_too() -> None:
    config = tiny_config("llama", tiny_tokenizer("llama"))
    config.num_labels = 2
    options = IA3Config(
        task_type="SEQ_CLS",
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    )
    model = get_peft_model(AutoModelForSequenceClassification.from_config(config), options)
    ledger = parameter_ledger(model, pretrained_on_meta(SOURCE, config), family_of(config))
    keys = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    expected = config.num_hidden_layers * (2 * keys + config.intermediate_size)
    assert {line.part: line.count for line in ledger.lines} == {
        "head": 2 * config.hidden_size,
        "adapters": expected,
    }
    sizes = (
        f"{keys} to {config.intermediate_size} weights beside each of {3 * config.num_hidden_layers} layers"
    )
    assert ledger.lines[-1].reason == sizes
    assert ledger.trainable == expected + 2 * config.hidden_size


def test_the_ledger_is_json() -> None:
    config = tiny_config("llama", tiny_tokenizer("llama"))
    skeleton = pretrained_on_meta(SOURCE, config)
    values = parameter_ledger(skeleton, skeleton, family_of(config), trainable=10, probe=10).as_json()
    shares = {"embeddings", "trainable_embeddings", "trainable_share_of_others"}
    assert set(values) == {"base", "total", "trainable", "lines", *shares}
    assert set(values["lines"][0]) == {"part", "count", "reason"}
