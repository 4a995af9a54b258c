"""Configurations that fill the memory or mix types are refused in a sentence."""

import pytest

from tests.open_model import SHARED
from tuneproof.errors import ModelError
from tuneproof.families.models import resolve_model
from tuneproof.models.checkpoint_files import read_config

CASES = SHARED / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("strangers-09-num-labels/model", r"config\.json: num_labels is 1000000000; no model has more"),
        ("strangers-15-generation-config/gen-mixed", r"generation_config\.json: eos_token_id holds 'a'"),
    ],
)
def test_it_is_refused_by_its_key(folder, sentence) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_config(resolve_model(CASES / folder))
