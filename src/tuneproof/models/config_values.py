"""Ranges of a configuration's values, checked key by key before a class of transformers reads them.

In: the values of config.json or generation_config.json. Out: nothing, or the ids of end tokens.
Knows nothing of: classes, weights, tokenizers.

Values of no existing model fill the memory or the time before any weight is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneproof.errors import ModelError

MAX_ID = 10_000_000
SIZES = {"vocab_size": MAX_ID} | dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd"), 1_000_000)
SIZES |= dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers"), 10_000)
SIZES |= dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_head", "n_heads"), 100_000)
COUNTS = {"num_labels": 1_000_000, "type_vocab_size": 1_000_000}  # also 0
ENDINGS = {  # of an integer under any other name
    ("layers", "experts", "heads", "groups", "blocks", "group_num"): 100_000,
    ("_size", "_dim", "_ff", "_inner", "_rank", "window"): 1_000_000_000,
    ("_positions", "_embeddings", "n_ctx"): 10_000_000_000,
}
NAMES = ("architectures",)  # lists of texts
TOKENS = tuple(f"{name}_token_id" for name in ("bos", "eos", "pad", "cls", "sep", "mask", "unk"))


def check_config_values(values: Mapping[str, Any], path: str, prefix: str = "") -> None:
    """Check sizes, counts and token ids, also those of nested configurations.

    Raises: ModelError, naming path and key, where a value is out of its range.
    """
    for key, value in values.items():
        where = f"{prefix}{key}"
        if key in TOKENS:
            _check_ids(where, value, path)
        elif key in NAMES and value is not None:
            _check_names(where, value, path)
        elif isinstance(value, Mapping):
            if key.endswith("_config"):
                check_config_values(value, path, f"{where}.")
        elif value is not None:
            for number in value if isinstance(value, list) else (value,):
                _check_size(key, where, number, path)


def _check_names(where: str, value: Any, path: str) -> None:
    """Raises ModelError where a value is no list of texts."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ModelError(path, f"{where} is {value!r:.60}; it must be a list of texts.")


def _check_size(key: str, where: str, value: Any, path: str) -> None:
    """Raises ModelError where a size or a count is none, or of no existing model."""
    if key in SIZES or key in COUNTS:
        least, most = (1, SIZES[key]) if key in SIZES else (0, COUNTS[key])
        if not isinstance(value, int) or isinstance(value, bool):
            raise ModelError(path, f"{where} is {value!r:.60}; it must be a whole number.")
    else:
        least, most = -1, next((most for ends, most in ENDINGS.items() if key.endswith(ends)), 0)
        if most == 0 or not isinstance(value, int | float):
            return
    if not value >= least:
        raise ModelError(path, f"{where} is {value}; it must be at least {least}.")
    if value > most:
        raise ModelError(path, f"{where} is {value}; no model has more than {most}.")


def _check_ids(where: str, value: Any, path: str) -> list[int]:
    """The ids as a list. Raises ModelError where they are no ids of tokens."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    for id in ids:
        if not isinstance(id, int) or isinstance(id, bool) or not -1 <= id <= MAX_ID:
            raise ModelError(
                path,
                f"{where} holds {id!r:.60}.",
                f"The id of a token is a whole number from 0 to {MAX_ID}.",
                "Correct the file, or download the model again.",
            )
    return [id for id in ids if id >= 0]


def end_ids(values: Mapping[str, Any], path: Path) -> list[int]:
    """The end tokens of a generation_config.json. Raises: ModelError where one is no token's id."""
    for key in TOKENS:
        _check_ids(key, values.get(key), str(path))
    return _check_ids("eos_token_id", values.get("eos_token_id"), str(path))
