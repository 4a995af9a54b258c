"""A wrong value is explained in words, whatever its rule looks like."""

import pytest
from pydantic import Field

from tuneproof.errors import RecipeError
from tuneproof.recipe.validate import check_part
from tuneproof.recipe.yaml import Document
from tuneproof.settings import Settings


class Part(Settings):
    code: str = Field("aa", pattern="^a{2,3}$", max_length=5)


@pytest.mark.parametrize(("value", "words"), [("{x}", r"a\{2,3\}"), ("aaaaaa", "at most 5 characters")])
def test_a_rule_with_braces_is_shown_as_it_is(value, words):
    with pytest.raises(RecipeError, match=words):
        check_part(Part, {"code": value}, Document("recipe.yaml", {}), ("part",))
