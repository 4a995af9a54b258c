"""The recipes that come with the project."""

from pathlib import Path

import pytest

from tuneproof.families.models import MODELS
from tuneproof.recipe.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
EXPERIMENTS = {
    "llama-sst2-head",
    "llama-sst2-full",
    "llama-sst2-lora",
    "llama-squad",
    "llama-squad-span",
    "gemma-sst2",
    "gemma-squad",
    "distilbert-imdb",
    "mistral-imdb",
    "gemma-imdb-shots",
}


def test_every_reference_experiment_is_a_recipe() -> None:
    assert {path.stem for path in RECIPES} >= EXPERIMENTS


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_says_what_it_is_and_is_read_again_as_it_was(path, tmp_path) -> None:
    recipe = read_recipe(path)
    assert path.read_text("utf-8").startswith("# ")
    names = [arm.name for arm in recipe.arms]
    assert {"majority", "lexical"} <= set(names), "a recipe without the cheap alternatives"
    assert recipe.claims
    assert all(choice.id in MODELS for choice in recipe.models)
    (tmp_path / "again.yaml").write_text(recipe.text())
    assert read_recipe(tmp_path / "again.yaml") == recipe
