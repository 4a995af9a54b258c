"""What `check` lets pass runs: each arm of an architecture is refused before the study starts, or is done.

In: tiny random models of the architectures that transformers has. Out: nothing. Knows nothing of: figures.
"""

from pathlib import Path

import pytest

from tests.arms.small import arm_of, small_recipe
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.plan import check

WORDS = {"lora": {"objective": "words"}}
ARMS = ("zero-shot", "head", "lora", "full")
SHORT = {"train": {"epochs": 1, "warmup_share": 0}, "encode": {"max_length": 48}}
KINDS = (
    *("bert", "roberta", "gpt2", "ctrl", "xlnet", "flaubert", "xlm", "opt", "mamba", "rwkv", "gpt_neox"),
    *("bloom", "mpt", "falcon", "big_bird", "fnet", "convbert", "squeezebert", "eurobert", "electra"),
    *("deberta", "albert", "mobilebert", "mpnet", "ernie", "megatron-bert", "layoutlm", "tapas", "xmod"),
    *("camembert", "data2vec-text", "roberta-prelayernorm", "bert-generation", "biogpt", "cpmant"),
    *("xglm", "openai-gpt", "rembert", "roformer", "nystromformer", "phi", "cohere", "starcoder2"),
    *("longformer", "reformer", "funnel", "jamba", "luke", "mra", "yoso", "ibert", "roc_bert", "gte"),
)


@pytest.mark.parametrize(
    ("kind", "arm"),
    [
        *(("ctrl", "full"), ("xlnet", "head"), ("opt", "zero-shot"), ("mamba", WORDS)),
        *(
            pytest.param(kind, arm, marks=pytest.mark.slow)
            for kind, arm in (
                ("flaubert", "lora"),
                ("jamba", "lora"),
                ("jamba", WORDS),
                ("longformer", "lora"),
            )
        ),
    ],
)
def test_an_arm_that_was_planned_is_done(tmp_path, kind, arm) -> None:
    recipe = small_recipe(tmp_path, [tiny_model(tmp_path / "m", kind)], [arm], **SHORT)
    run_recorded(recipe)
    name = arm if isinstance(arm, str) else next(iter(arm))
    assert arm_of(recipe, name)["status"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_arm_is_refused_or_done(tmp_path: Path, kind: str) -> None:
    model = tiny_model(tmp_path / "m", kind)
    for arm in ARMS:
        recipe = small_recipe(tmp_path, [model], [arm], out=f"study-{arm}", **SHORT)
        if not is_refused(recipe):
            run_recorded(recipe)
            assert arm_of(recipe, arm)["status"] == "done"


def is_refused(recipe: Recipe) -> bool:
    try:
        check(recipe)
    except RecipeError as error:
        return "Use " in str(error) or "Add " in str(error)
    return False
