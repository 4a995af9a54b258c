"""What an architecture cannot do is said by `check`, with what works instead."""

import json

import pytest

from tests.arms.small import small_recipe
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError
from tuneproof.families.models import resolve_model
from tuneproof.families.unsupported import why_unusable
from tuneproof.models.checkpoint_files import read_config
from tuneproof.study.plan import check

WORDS = {"lora": {"objective": "words"}}


@pytest.mark.parametrize(
    ("kind", "arm", "reason"),
    [
        ("mamba", "full", "no classification head for mamba. Use head, or lora or full with objective"),
        ("cohere", "lora", "no classification head for cohere. Use head, or lora"),
        ("mamba", WORDS, "Name the other layers in targets, such as"),
        ("xlnet", "lora", "reads the last position even where it is padding. Use head."),
        ("xlnet", "zero-shot", "whose tokens read those that follow"),
        ("xlnet", WORDS, "whose tokens read those that follow"),
        ("squeezebert", "lora", "adapters have nothing to stand beside. Use head or full."),
        ("bert-generation", "zero-shot", "whose tokens read those that follow"),
        ("rwkv", "zero-shot", "read the padding before a prompt as if it were text. Use head."),
        ("convbert", "head", "layers read padding as if it were text"),
        ("fnet", "full", "layers read padding as if it were text"),
    ],
)
def test_an_arm_of_such_a_model_is_refused_before_it_starts(tmp_path, kind, arm, reason) -> None:
    model = tiny_model(tmp_path / kind, kind)
    with pytest.raises(RecipeError) as error:
        check(small_recipe(tmp_path, [model], ["majority", arm]))
    assert reason in str(error.value)


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
