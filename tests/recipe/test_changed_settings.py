"""`check` lists the settings that differ from their defaults, and no other."""

from tuneproof.recipe.changed_settings import changed_settings
from tuneproof.recipe.recipe import recipe_from

PLAIN = {"task": "sst2", "models": ["distilbert"], "arms": ["lexical", "lora"]}


def _changed(**values):
    return {change.name: (change.value, change.default) for change in changed_settings(recipe_from(values))}


def test_a_plain_recipe_changes_nothing():
    assert _changed(**PLAIN) == {}
    assert _changed(**PLAIN, train={"batch_size": 16}, seeds=[0, 1, 2]) == {}


def test_settings_of_stages_methods_seeds_and_searches_are_listed_with_their_defaults():
    values = {**PLAIN, "arms": ["lexical", {"lora": {"rank": 4, "name": "small"}}], "seeds": [7]}
    changed = _changed(**values, train={"epochs": 2}, search={"learning_rate": "auto"})
    assert changed["arms.small.rank"][0] == 4
    assert changed["seeds"] == ([7], [0, 1, 2])
    assert changed["train.epochs"] == (2, None)
    assert changed["search.learning_rate"] == ("auto", None)
    assert len(changed) == 4
