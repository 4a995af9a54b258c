"""A tokenizer.json that would end the process, or fill its memory, is refused with a sentence.

In: files with one part changed. Out: nothing. Knows nothing of: weights.
"""

import json
from pathlib import Path

import pytest

from tests.tiny_models import TYPES, tiny_tokenizer
from tuneproof.errors import ModelError
from tuneproof.models.tokenizer_trial import try_tokenizer

GROWS = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 100}
BAD = {
    "a chain that fills the memory": (
        {"type": "Sequence", "normalizers": [GROWS] * 5},
        "process that tried it|memory",
    ),
    "a rare letter that grows": (GROWS | {"pattern": {"String": "ǂ"}}, "normaliser makes"),
    "a pattern that grows": (GROWS | {"pattern": {"Regex": "[a-z]"}}, "normaliser makes"),
    "a character map that panics": (
        {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"},
        "out of bounds",
    ),
    "a normaliser that is none": ({"type": "Unheard"}, "Normalizer"),
}


def write(folder: Path, kind: str, **values: object) -> Path:
    tokenizer = json.loads(tiny_tokenizer(kind).backend_tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | values))
    return folder / "tokenizer.json"


LONG = "a chain that fills the memory"


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case == LONG else ()) for case in BAD]
)
def test_a_normaliser_that_breaks_or_grows_is_refused(case, tmp_path) -> None:
    normalizer, reason = BAD[case]
    with pytest.raises(ModelError, match=rf"model: its tokenizer cannot be read: .*{reason}"):
        try_tokenizer(write(tmp_path, "gpt2", normalizer=normalizer), "model")


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_a_sound_tokenizer_passes(kind, tmp_path) -> None:
    assert kind in TYPES
    try_tokenizer(write(tmp_path, kind), "model")


def test_truncation_and_padding_in_the_file_refuse_nothing(tmp_path) -> None:
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 2}
    try_tokenizer(write(tmp_path, "bert", truncation=truncation), "model")
