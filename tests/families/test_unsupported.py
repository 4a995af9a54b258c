"""What an architecture cannot do is said by `check`, with what works instead."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING

from tests.arms.questions import question_recipe
from tests.arms.small import small_recipe
from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.errors import RecipeError, TuneproofError
from tuneproof.families.family import position_limit
from tuneproof.families.models import resolve_model
from tuneproof.families.unsupported import why_unusable
from tuneproof.models.checkpoint_files import read_config
from tuneproof.study.plan import check

WORDS = {"lora": {"objective": "words"}}
NAMED = {"lora": {"objective": "words", "targets": ["in_proj", "out_proj"]}}


@pytest.mark.parametrize(
    ("kind", "arm", "reason"),
    [
        ("mamba", "full", "no classification head for mamba. Use head, or lora or full with objective"),
        ("cohere", "lora", "no classification head for cohere. Use head, or lora"),
        ("mamba", NAMED, "reads the weights of out_proj past any adapter. Use other layers in targets"),
        ("jamba", {"lora": {"targets": ["dt_proj"]}}, "reads the weights of dt_proj past any adapter."),
        ("xlnet", "lora", "reads the last position even where it is padding. Use head."),
        ("xlnet", "zero-shot", "whose tokens read those that follow"),
        ("xlnet", WORDS, "whose tokens read those that follow"),
        ("squeezebert", "lora", "adapters have nothing to stand beside. Use head or full."),
        ("bert-generation", "zero-shot", "whose tokens read those that follow"),
        ("rwkv", "zero-shot", "read the padding before a prompt as if it were text. Use head."),
        ("convbert", "head", "layers read padding as if it were text"),
        ("fnet", "full", "layers read padding as if it were text"),
        ("funnel", "lora", "layers read padding as if it were text"),
        ("nystromformer", "full", "layers read padding as if it were text"),
        ("reformer", "zero-shot", "layers read padding as if it were text"),
        ("yoso", "head", "layers read padding as if it were text"),
        ("ibert", "lora", "layers of integers in place of linear layers"),
    ],
)
def test_an_arm_of_such_a_model_is_refused_before_it_starts(tmp_path, kind, arm, reason) -> None:
    model = tiny_model(tmp_path / kind, kind)
    with pytest.raises(RecipeError) as error:
        check(small_recipe(tmp_path, [model], ["majority", arm]))
    assert reason in str(error.value)


@pytest.mark.parametrize("kind", ["longformer", "big_bird"])
@pytest.mark.parametrize("arm", ["head", "lora", "full"])
def test_a_span_head_that_counts_separators_is_refused(tmp_path, kind, arm) -> None:
    model = tiny_model(tmp_path / kind, kind)
    with pytest.raises(RecipeError, match="by counting separator tokens"):
        check(question_recipe(tmp_path, [model], [arm]))


@pytest.mark.parametrize("kind", ["t5", "mt5", "umt5", "longt5", "led", "switch_transformers"])
@pytest.mark.parametrize("encoder_alone", [False, True])
def test_encoders_of_two_part_models_are_refused(tmp_path, kind, encoder_alone) -> None:
    tiny_tokenizer("llama").save_pretrained(tmp_path / kind)
    config = CONFIG_MAPPING[kind]()
    config.is_encoder_decoder = not encoder_alone
    config.architectures = ["T5EncoderModel" if encoder_alone else "T5ForConditionalGeneration"]
    config.save_pretrained(tmp_path / kind)
    save_file({"shared.weight": torch.zeros(1)}, tmp_path / kind / "model.safetensors")
    with pytest.raises(TuneproofError, match=f"{kind} is neither a causal nor a masked language model"):
        check(small_recipe(tmp_path, [tmp_path / kind], ["majority", "head"]))


def test_sparse_attention_that_padding_changes_is_never_reached(tmp_path) -> None:
    config = tiny_config("big_bird", tiny_tokenizer("big_bird"))
    assert position_limit(config) == (5 + 2 * config.num_random_blocks) * config.block_size == 44
    config.attention_type = "original_full"
    assert position_limit(config) == config.max_position_embeddings


@pytest.mark.parametrize("kind", ["ctrl", "flaubert", "opt"])
def test_the_other_arms_are_planned(tmp_path, kind) -> None:
    model = tiny_model(tmp_path / kind, kind)
    plan = check(small_recipe(tmp_path, [model], ["head", "zero-shot", "lora", "full"]))
    assert [run.impossible for run in plan.arms] == [None] * 4


def test_adapters_of_languages_need_a_language(tmp_path) -> None:
    folder = tiny_model(tmp_path / "xmod", "xmod")
    config = read_config(resolve_model(folder))
    assert "names no default_language. Add one of en_XX" in (why_unusable(config, "xmod") or "")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"default_language": "en_XX"}))
    assert why_unusable(read_config(resolve_model(folder)), "xmod") is None
