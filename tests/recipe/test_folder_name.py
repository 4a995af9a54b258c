"""A study's folder says what it holds, and a study of before stays in its own."""

from pathlib import Path

import pytest

from tuneproof.recipe.folder_name import folder_name
from tuneproof.recipe.recipe import recipe_from

DIGEST = "1a2b3c4d"


@pytest.mark.parametrize(
    ("file", "models", "arm", "name"),
    [
        ("data/reviews.csv", ["distilbert"], "lora", "reviews-distilbert-lora-1a2b3c4d"),
        (None, ["org/Some-Model"], "full", "sst2-Some-Model-full-1a2b3c4d"),
        (None, [], "lexical", "sst2-lexical-1a2b3c4d"),
        ("r.csv", ["a", "b"], "head", "r-2-models-head-1a2b3c4d"),
        ("C:\\my files\\a b.csv", ["C:\\m\\minilm"], None, "a-b-minilm-1a2b3c4d"),
        ("../..", ["/"], "..", "sst2-1a2b3c4d"),
        ("评论.csv", ["模型"], "lora", "sst2-lora-1a2b3c4d"),
        ("x" * 300 + ".csv", ["y" * 300], "z" * 60, f"{'x' * 24}-{'y' * 24}-{'z' * 24}-1a2b3c4d"),
    ],
)
def test_the_name_says_what_the_study_is_of(tmp_path, monkeypatch, file, models, arm, name):
    monkeypatch.chdir(tmp_path)
    assert Path(folder_name("sst2", file, models, arm, DIGEST)) == Path("studies") / name


def test_a_study_of_before_stays_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {"task": "demo", "models": ["demo"], "arms": ["majority", "head"]}
    new = recipe_from(recipe).out
    assert Path(new).name.startswith("demo-head-")
    before = Path("studies") / f"demo-{new[-8:]}"
    before.mkdir(parents=True)
    assert Path(recipe_from(recipe).out) == before
    assert recipe_from({**recipe, "out": "mine"}).out == "mine"
