"""What is loaded, what is refused, and that nothing a checkpoint brings is run.

In: tiny folders, the two small real models. Out: nothing. Knows nothing of: the pipeline.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.open_model import SHARED, open_model
from tests.tiny_models import (
    DECODERS,
    ENCODERS,
    TYPES,
    has_bert_tokens,
    tiny_config,
    tiny_model,
    tiny_tokenizer,
)
from tuneproof.errors import ModelError
from tuneproof.families import FAMILIES, family_of
from tuneproof.families.models import resolve_model
from tuneproof.models.checkpoint_files import (
    check_tokenizer,
    read_config,
    read_tokenizer_with_notes,
    require_lm_head,
    weight_names,
)
from tuneproof.models.load import _Uninitialized, load_model, pretrained_on_meta


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {kind: tiny_model(root / kind, kind) for kind in TYPES}


@pytest.fixture
def copy_of(folders, tmp_path):
    def copied(kind: str) -> Path:
        return Path(shutil.copytree(folders[kind], tmp_path / kind))

    return copied


def change(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def shared_model(name: str) -> Path:
    folder = SHARED / "models" / name
    if not folder.is_dir():
        pytest.skip(f"the real model is not here (../shared/models/{name})")
    return folder


@pytest.mark.parametrize("kind", TYPES)
def test_the_language_model_head_comes_from_the_checkpoint(kind, folders) -> None:
    opened = open_model(folders[kind], "cloze" if kind in ENCODERS else "words")
    assert opened.fresh == ()
    assert opened.notes == ()
    assert not opened.model.training
    names = weight_names(resolve_model(folders[kind]))
    for name, value in opened.model.state_dict().items():
        if name in names:
            assert value.dtype == torch.float32


@pytest.mark.parametrize("kind", TYPES)
def test_only_the_classifier_is_fresh_and_a_seed_draws_it(kind, folders) -> None:
    one = open_model(folders[kind], "labels", ["no", "yes", "so"], seed=1)
    state = torch.random.get_rng_state()
    same = open_model(folders[kind], "labels", ["no", "yes", "so"], seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    other = open_model(folders[kind], "labels", ["no", "yes", "so"], seed=2)
    assert one.fresh
    assert {name.split(".")[0] for name in one.fresh} <= set(one.family.head_modules)
    assert one.notes[0].startswith("Freshly initialised, not in the checkpoint: ")
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, same.model.state_dict()[name])
        if name not in one.fresh:
            assert torch.equal(value, other.model.state_dict()[name])
    name = next(name for name in one.fresh if name.endswith("weight"))
    assert not torch.equal(one.model.state_dict()[name], other.model.state_dict()[name])
    assert one.model.config.id2label == {0: "no", 1: "yes", 2: "so"}


def test_a_head_of_another_size_is_fresh_not_an_error(folders, tmp_path) -> None:
    three = open_model(folders["bert"], "labels", ["a", "b", "c"], seed=0)
    three.model.save_pretrained(tmp_path / "three")
    three.tokenizer.save_pretrained(tmp_path / "three")
    two = open_model(tmp_path / "three", "labels", ["a", "b"], seed=0)
    assert set(two.fresh) == {"classifier.weight", "classifier.bias"}
    assert two.model.classifier.weight.shape[0] == 2


def test_random_weights_are_drawn_only_when_asked_for(folders) -> None:
    source = resolve_model(folders["llama"])
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    drawn = load_model(source, config, tokenizer, family, head="words", random=True, seed=3)
    assert drawn.notes == ("All weights are random: no pretrained weights were loaded.",)
    loaded = load_model(source, config, tokenizer, family, head="words")
    assert not torch.equal(drawn.model.model.embed_tokens.weight, loaded.model.model.embed_tokens.weight)


# a random head is never zero-shot


@pytest.mark.parametrize("kind", TYPES)
def test_a_random_head_as_zero_shot_is_refused(kind, folders, tmp_path) -> None:
    head = "cloze" if kind in ENCODERS else "words"
    opened = open_model(folders[kind], head)
    opened.model.base_model.save_pretrained(tmp_path / "headless")
    opened.tokenizer.save_pretrained(tmp_path / "headless")
    if kind in DECODERS:
        change(tmp_path / "headless", "config.json", tie_word_embeddings=False)
    with pytest.raises(ModelError) as error:
        open_model(tmp_path / "headless", head)
    assert "so its answers would come from random weights." in str(error.value)
    assert "A random head is not zero-shot. Use head, lora or full instead" in str(error.value)
    assert open_model(tmp_path / "headless", "base").model is not None


def test_minilm_has_no_masked_head_and_is_refused_before_its_weights_load() -> None:
    source = resolve_model(shared_model("minilm-l6"))
    config = read_config(source)
    with pytest.raises(ModelError, match="minilm-l6: the checkpoint has no masked-language-model"):
        require_lm_head(source, config, family_of(config))


def test_stories_has_its_tied_head() -> None:
    source = resolve_model(shared_model("stories260k"))
    config = read_config(source)
    require_lm_head(source, config, family_of(config))
    assert open_model(shared_model("stories260k"), "words").fresh == ()


# another model's tokenizer


@pytest.mark.parametrize(
    ("model", "tokenizer", "found"),
    [
        ("stories260k", "minilm-l6", "it has 30522 tokens, the model has rows for 512"),
        ("minilm-l6", "stories260k", "it has 512 tokens, the model 30522"),
    ],
)
def test_the_tokenizers_of_two_real_models_swapped_are_refused(model, tokenizer, found, tmp_path) -> None:
    for file in shared_model(tokenizer).iterdir():
        if "token" in file.name or file.name == "vocab.txt":
            shutil.copy(file, tmp_path)
    shutil.copy(shared_model(model) / "config.json", tmp_path)
    shutil.copy(shared_model(model) / "model.safetensors", tmp_path)
    source = resolve_model(tmp_path)
    config = read_config(source)
    with pytest.raises(ModelError) as error:
        read_tokenizer_with_notes(source, config, family_of(config))
    assert f"the tokenizer is another model's: {found}." in str(error.value)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("other", TYPES)
def test_a_tokenizer_of_another_architecture_is_refused(kind, other) -> None:
    def group(name: str) -> str:
        same = {"gemma2": "gemma", "gemma3_text": "gemma", "mistral": "llama", "qwen3": "gpt2"}
        return "bert" if has_bert_tokens(name) else same.get(name, name)

    config = tiny_config(kind, tiny_tokenizer(kind))
    family = family_of(config)
    tokenizer = tiny_tokenizer(other)
    if group(kind) == group(other):
        check_tokenizer(tokenizer, config, family)
        return
    with pytest.raises(ModelError, match="the tokenizer is another model's: "):
        check_tokenizer(tokenizer, config, family)


@pytest.mark.parametrize("kind", ["bert", "llama", "gemma2"])
def test_markers_betray_another_tokenizer_of_the_same_size(kind) -> None:
    other = "gemma" if kind == "llama" else "llama"
    config = tiny_config(kind, tiny_tokenizer(kind))
    tokenizer = tiny_tokenizer(other)
    config.vocab_size = len(tokenizer)
    with pytest.raises(ModelError, match="another model's"):
        check_tokenizer(tokenizer, config, family_of(config))
    if kind == "llama":
        config.vocab_size = len(tiny_tokenizer("bert"))
        with pytest.raises(ModelError, match="another model's"):
            check_tokenizer(tiny_tokenizer("bert"), config, family_of(config))


def test_embeddings_padded_to_a_round_size_are_not_another_model() -> None:
    tokenizer = tiny_tokenizer("llama")
    config = tiny_config("llama", tokenizer)
    config.vocab_size = 480
    check_tokenizer(tokenizer, config, FAMILIES["llama"])


def test_a_chat_model_with_an_end_token_of_its_own_is_not_another_model() -> None:
    tokenizer = tiny_tokenizer("gemma2")
    config = tiny_config("gemma2", tokenizer)
    tokenizer.eos_token = "<end_of_turn>"
    check_tokenizer(tokenizer, config, FAMILIES["gemma"])


def test_a_model_without_a_tokenizer_is_refused(copy_of) -> None:
    folder = copy_of("llama")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        open_model(folder, "words")


# pad rule


@pytest.mark.parametrize(
    ("kind", "token"), [("bert", "[PAD]"), ("gemma", "<pad>"), ("llama", "<unk>"), ("gpt2", "<|endoftext|>")]
)
def test_the_pad_token_is_the_same_everywhere(kind, token, folders) -> None:
    opened = open_model(folders[kind], "cloze" if kind in ENCODERS else "words")
    pad = opened.family.pad_rule(opened.tokenizer, opened.config)
    assert pad.token == opened.tokenizer.pad_token == token
    assert pad.sentence.startswith(f"Pad token: {token}")
    assert pad.id == opened.tokenizer.pad_token_id == opened.model.config.pad_token_id
    if kind in DECODERS:
        assert opened.model.generation_config.pad_token_id == pad.id
    assert opened.model.get_input_embeddings().weight.shape[0] == opened.config.vocab_size


def test_a_reserved_token_pads_before_the_unknown_one() -> None:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|reserved_special_token_0|>", "<|eot|>"]})
    config = tiny_config("llama", tokenizer)
    config.vocab_size = len(tokenizer)
    pad = FAMILIES["llama"].pad_rule(tokenizer, config)
    assert pad.token == "<|reserved_special_token_0|>"
    tokenizer.pad_token = pad.token
    assert FAMILIES["llama"].pad_rule(tokenizer, config) == pad, "asked twice, the same rule"


def test_pad_set_to_end_of_text_by_hand_is_replaced() -> None:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.pad_token = tokenizer.eos_token
    pad = FAMILIES["llama"].pad_rule(tokenizer, tiny_config("llama", tokenizer))
    assert pad.token == "<unk>"


def test_all_end_tokens_end_an_answer_and_nothing_else_is_kept(copy_of) -> None:
    folder = copy_of("gemma2")
    end = tiny_tokenizer("gemma2").convert_tokens_to_ids("<end_of_turn>")
    change(folder, "generation_config.json", eos_token_id=[1, end], temperature=0.1, top_k=3)
    settings = open_model(folder, "words").model.generation_config
    assert settings.eos_token_id == [1, end]
    assert settings.do_sample is False
    assert settings.top_k != 3


# nothing that a checkpoint brings is run


def test_keys_that_could_load_code_are_dropped_everywhere(copy_of) -> None:
    folder = copy_of("llama")
    change(
        folder,
        "config.json",
        auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
        attn_implementation="evil/kernel",
        _attn_implementation="evil/kernel",
        _attn_implementation_internal="evil/kernel",
        trust_remote_code=True,
        custom_generate="evil/generate",
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "auto_map": {"a": "evil.b"}},
    )
    (folder / "evil.py").write_text(f"open({str(folder / 'canary')!r}, 'w')")
    opened = open_model(folder, "words")
    assert not (folder / "canary").exists()
    assert "evil" not in json.dumps(opened.model.config.to_dict())
    assert "evil" not in str(opened.model.config._attn_implementation)
    assert type(opened.model).__name__ == "LlamaForCausalLM"


def test_code_for_an_unknown_architecture_is_refused_without_a_question(copy_of) -> None:
    folder = copy_of("llama")
    change(folder, "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    with pytest.raises(ModelError, match=r"The checkpoint.s own code is never run"):
        open_model(folder, "words")


def test_a_pickle_beside_safetensors_is_never_opened(copy_of) -> None:
    import pickle

    folder = copy_of("llama")

    class Evil:
        def __reduce__(self):
            return (open, (str(folder / "canary"), "w"))

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    open_model(folder, "words")
    assert not (folder / "canary").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("vocab_size", 10**11), ("hidden_size", 10**9), ("num_hidden_layers", 10**6)]
)
def test_absurd_sizes_are_refused_before_memory_is_taken(key, value, copy_of) -> None:
    folder = copy_of("llama")
    change(folder, "config.json", **{key: value})
    with pytest.raises(ModelError, match=f"{key} is {value}"):
        read_config(resolve_model(folder))


def test_an_index_that_points_outside_is_refused(copy_of) -> None:
    folder = copy_of("llama")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="points outside its folder"):
        weight_names(resolve_model(folder))


def test_broken_files_are_named(copy_of) -> None:
    folder = copy_of("llama")
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read"):
        weight_names(resolve_model(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: is not JSON"):
        read_config(resolve_model(folder))
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"config\.json: is not a JSON object"):
        read_config(resolve_model(folder))


def test_missing_base_weights_are_an_error(copy_of) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy_of("llama")
    tensors = load_file(folder / "model.safetensors")
    gone = "model.layers.1.mlp.up_proj.weight"
    del tensors[gone]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for head in ("words", "labels"):
        with pytest.raises(ModelError, match=r"are missing or have another size, model\.layers\.1"):
            open_model(folder, head, ["a", "b"])


def test_quantised_checkpoints_are_refused(copy_of) -> None:
    folder = copy_of("llama")
    change(folder, "config.json", quantization_config={"quant_method": "gptq"})
    with pytest.raises(ModelError, match="quantised"):
        read_config(resolve_model(folder))


def test_a_causal_model_is_no_masked_model(folders) -> None:
    source = resolve_model(folders["llama"])
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer_with_notes(source, config, family)[0]
    with pytest.raises(ModelError, match="transformers has no AutoModelForMaskedLM for llama"):
        load_model(source, config, tokenizer, family, head="cloze")


# counts


@pytest.mark.parametrize("kind", TYPES)
def test_the_architecture_on_meta_has_the_checkpoints_parameters(kind, folders) -> None:
    source = resolve_model(folders[kind])
    meta = pretrained_on_meta(source, read_config(source))
    assert {parameter.device.type for parameter in meta.parameters()} == {"meta"}
    kept = weight_names(source)
    named = {name for name, _ in meta.named_parameters()}
    assert named <= kept


def test_real_models_have_their_published_number_of_parameters() -> None:
    source = resolve_model(shared_model("minilm-l6"))
    meta = pretrained_on_meta(source, read_config(source))
    assert sum(parameter.numel() for parameter in meta.parameters()) == 22_713_216


def test_only_tensors_without_data_are_left_undrawn() -> None:
    with _Uninitialized():
        drawn = torch.nn.init.constant_(torch.empty(3), 2.0)
        filled = torch.empty(3).fill_(2.0)
        undrawn = torch.nn.init.normal_(torch.empty(3, device="meta"))
    assert drawn.tolist() == filled.tolist() == [2.0] * 3
    assert undrawn.is_meta
