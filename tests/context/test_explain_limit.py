"""Where the model's own positions are the limit, no setting is named that could raise it.

In: a stand-in for a model spec. Out: nothing. Knows nothing of: encodings.
"""

from types import SimpleNamespace

import pytest

from tuneproof.context.model_spec import explain_limit
from tuneproof.errors import DataError, RecipeError

TOO_LONG = RecipeError("encode.max_length", "256 tokens are too few.", do="Set it above 464.")
NO_ROOM = DataError("question 7", "leaves 0 for the context.", do="Raise encode.max_length.")


def spec(max_length: int, limit: int | None) -> SimpleNamespace:
    family = SimpleNamespace(position_limit=lambda config: limit)
    return SimpleNamespace(name="tiny", max_length=max_length, family=family, config=None)


@pytest.mark.parametrize(("error", "where"), [(TOO_LONG, "tiny"), (NO_ROOM, "question 7")])
def test_a_models_limit_is_named_instead_of_the_setting(error, where) -> None:
    with pytest.raises(type(error)) as raised, explain_limit(spec(256, 256)):
        raise error
    assert str(raised.value).startswith(f"{where}: {error.problem} tiny reads at most 256 tokens.")
    assert "encode.max_length" not in str(raised.value)


@pytest.mark.parametrize("limit", [None, 512])
def test_a_setting_below_the_models_limit_is_named(limit) -> None:
    with (
        pytest.raises(RecipeError, match=r"encode\.max_length.*Set it above 464"),
        explain_limit(spec(256, limit)),
    ):
        raise TOO_LONG
