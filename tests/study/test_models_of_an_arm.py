"""An arm may name the models that it runs on."""

import pytest

from tests.arms.small import small_recipe
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError
from tuneproof.study.plan import check


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    return [tiny_model(folder / kind, kind) for kind in ("bert", "llama")]


def test_an_arm_runs_on_the_models_that_it_names(tmp_path, models):
    arms = ["majority", {"zero-shot": {"models": ["llama"]}}, {"head": {"models": ["bert"]}}, "lora"]
    runs = check(small_recipe(tmp_path, models, arms)).arms
    assert [(run.arm.name, run.spec and run.spec.name) for run in runs] == [
        ("majority", None),
        ("zero-shot", "llama"),
        ("head", "bert"),
        ("lora", "bert"),
        ("lora", "llama"),
    ]


def test_naming_the_models_changes_no_result(tmp_path, models):
    plain, named = ["head"], [{"head": {"models": ["bert", "llama"]}}]
    facts = [
        [dict(run.facts) for run in check(small_recipe(tmp_path, models, arms)).arms]
        for arms in (plain, named)
    ]
    assert facts[0] == facts[1]


def test_a_model_that_is_not_there_is_named(tmp_path, models):
    with pytest.raises(RecipeError, match=r"arms: head: models.*'bart' is not a model of this study.*bert"):
        check(small_recipe(tmp_path, models, [{"head": {"models": ["bart"]}}]))
