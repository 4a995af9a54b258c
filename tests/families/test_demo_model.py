"""The model that the package carries: small, loadable, trained, and with its card."""

import json
import math
from pathlib import Path

import pytest

import tuneproof

FOLDER = Path(tuneproof.__file__).parent / "families" / "demo_model"
TEXT = "This film was not great.\nStill, the music is lovely."


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(FOLDER).float().eval()


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


def test_weights_and_tokenizer_are_at_most_ten_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 10_000_000


def test_the_folder_holds_no_pickle():
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_it_is_a_llama_with_grouped_queries_and_tied_embeddings(model):
    config = model.config
    assert config.model_type == "llama"
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.tie_word_embeddings
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_parameter_count_follows_from_the_shape(model):
    c = model.config
    head = c.hidden_size // c.num_attention_heads
    attention = 2 * c.hidden_size**2 + 2 * c.hidden_size * head * c.num_key_value_heads
    block = attention + 3 * c.hidden_size * c.intermediate_size + 2 * c.hidden_size
    expected = c.vocab_size * c.hidden_size + c.num_hidden_layers * block + c.hidden_size
    found = sum(p.numel() for p in model.parameters())
    assert found == expected
    assert f"| parameters | {found:,} " in (FOLDER / "README.md").read_text("utf-8")


def test_the_stored_weights_are_bfloat16():
    from safetensors import safe_open

    with safe_open(FOLDER / "model.safetensors", "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118


def test_the_tokenizer_begins_with_bos_and_gives_the_text_back(tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids[1:]) == TEXT
    odd = "Crème brûlée 🍮\tfor £7 — 食べた"
    assert tokenizer.decode(tokenizer(odd)["input_ids"], skip_special_tokens=True) == odd


def test_the_special_tokens_are_three_and_differ(tokenizer):
    ids = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert len(ids) == 3
    assert tokenizer.pad_token == "<pad>"


def test_the_vocabulary_fits_the_embedding(model, tokenizer):
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.bos_token_id == tokenizer.bos_token_id
    assert model.config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize("word", [" positive", " negative", " good", " bad", " great", " terrible"])
def test_a_label_word_is_one_token(tokenizer, word):
    assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_it_has_learned_english(model, tokenizer):
    import torch

    text = (
        "I really wanted to like this movie, but the acting was bad and the story made no sense. "
        "The only good thing about it is the music."
    )
    ids_BS = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        loss = float(model(input_ids=ids_BS, labels=ids_BS).loss)
        shuffled_BS = ids_BS[:, torch.randperm(ids_BS.shape[1], generator=torch.manual_seed(0))]
        shuffled = float(model(input_ids=shuffled_BS, labels=shuffled_BS).loss)
    assert loss < 0.6 * math.log(model.config.vocab_size)
    assert shuffled > loss + 1


def test_it_generates_without_a_warning_about_padding(model, tokenizer, caplog):
    inputs = tokenizer(["The film", "I bought this because it"], return_tensors="pt", padding=True)
    out_BS = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=5,
        do_sample=False,
    )
    assert out_BS.shape[0] == 2
    assert "pad_token_id" not in caplog.text


def test_the_card_names_data_command_licence_and_loss():
    card = (FOLDER / "README.md").read_text("utf-8")
    for needed in ("license: apache-2.0", "Large Movie Review Dataset", "demo/pretrain.py"):
        assert needed in card
    for needed in ("labels were never read", "held-out loss", "## Curve", "## Samples"):
        assert needed in card
    assert json.loads((FOLDER / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
