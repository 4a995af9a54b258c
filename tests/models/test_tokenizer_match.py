"""A model's own tokenizer is not taken for another's because of ids that nothing uses.

In: tiny configurations and tokenizers. Out: nothing. Knows nothing of: files, weights.
"""

import pytest

from tests.tiny_models import tiny_config, tiny_tokenizer
from tuneproof.errors import ModelError
from tuneproof.families import family_of
from tuneproof.families.family import position_limit
from tuneproof.models.tokenizer_match import check_tokenizer


def check(kind: str, **ids: object) -> tuple[list[str], object]:
    tokenizer = tiny_tokenizer(kind)
    config = tiny_config(kind, tokenizer)
    config.update(ids)
    return check_tokenizer(tokenizer, config, family_of(config)), config


@pytest.mark.parametrize("kind", ["roberta", "modernbert", "bert"])
def test_the_ids_of_a_class_in_an_encoders_configuration_refuse_nothing(kind) -> None:
    tokenizer = tiny_tokenizer(kind)
    tokenizer.bos_token, tokenizer.eos_token = "[CLS]", "[SEP]"
    config = tiny_config(kind, tokenizer)
    config.update({"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1})
    notes = check_tokenizer(tokenizer, config, family_of(config))
    assert "its tokenizer's begin and end tokens are used, not those of config.json" in notes[0]
    assert "token 2, the model with 0" in notes[0]
    assert config.pad_token_id == 1


def test_a_decoder_whose_end_token_agrees_keeps_it() -> None:
    notes, config = check("llama", bos_token_id=77)
    assert notes
    assert (config.bos_token_id, config.eos_token_id) == (None, 2)


def test_the_default_ids_of_a_class_do_not_end_answers_early() -> None:
    tokenizer = tiny_tokenizer("llama")
    tokenizer.bos_token, tokenizer.eos_token = "<0x00>", "<0x01>"
    config = tiny_config("llama", tokenizer)
    config.update({"bos_token_id": 1, "eos_token_id": 2})
    assert check_tokenizer(tokenizer, config, family_of(config))
    assert config.eos_token_id is None


def test_own_ids_that_differ_and_begin_and_end_that_change_sides_are_another_models() -> None:
    with pytest.raises(ModelError, match="another model's"):
        check("llama", bos_token_id=77, eos_token_id=78)
    with pytest.raises(ModelError, match="another model's"):
        check("llama", bos_token_id=2, eos_token_id=1)


def test_ids_that_agree_need_no_note() -> None:
    assert check("llama")[0] == []


@pytest.mark.parametrize(("positions", "limit"), [(-1, None), (0, None), (128, 128)])
def test_a_limit_below_one_means_none(positions, limit) -> None:
    config = tiny_config("bert", tiny_tokenizer("bert"))
    config.max_position_embeddings = positions
    assert position_limit(config) == limit
