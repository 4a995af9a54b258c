"""The key `tests`: files by name, and nothing else of the study changes with them."""

import pytest

from tuneproof.errors import RecipeError
from tuneproof.recipe.recipe import recipe_from

BASE = {"task": "demo", "arms": ["majority", "lexical"]}


def recipe_with(tests):
    return recipe_from({**BASE, "tests": tests})


def test_a_file_alone_and_a_file_with_columns_are_the_same_thing() -> None:
    assert recipe_with({"a": "x.csv"}).tests == recipe_with({"a": {"path": "x.csv"}}).tests


def test_the_written_recipe_is_read_back() -> None:
    recipe = recipe_with({"a": {"path": "x.csv", "text": "t", "rename": {"5": "positive", "3": None}}})
    assert recipe_from(recipe.values()) == recipe


def test_further_tests_change_neither_the_folder_nor_a_recipe_without_them() -> None:
    plain = recipe_from(BASE)
    assert recipe_with({"a": "x.csv"}).out == plain.out
    assert "tests" not in plain.values()


@pytest.mark.parametrize(
    ("tests", "problem"),
    [
        ("x.csv", "not files by name"),
        ({"test": "x.csv"}, "'test' cannot be the name"),
        ({"a/b": "x.csv"}, "'a/b' cannot be the name"),
        ({3: "x.csv"}, "3 cannot be the name"),
        ({"a": "x.csv", "A": "y.csv"}, "two files are called A"),
        ({"a": ["x.csv"]}, r"tests.a is \['x.csv'\], not a file"),
        ({"a": {"label": "l"}}, "tests.a.path is missing"),
        ({"a": {"path": "x.csv", "lable": "l"}}, "Did you mean label"),
        ({f"t{i}": "x.csv" for i in range(21)}, "names 21 files"),
    ],
)
def test_what_is_no_file_by_name_is_refused(tests, problem) -> None:
    with pytest.raises(RecipeError, match=problem):
        recipe_with(tests)
