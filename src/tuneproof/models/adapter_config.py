"""An adapter's configuration, checked key by key before peft reads it.

In: an adapter's folder. Out: peft's configuration. Knows nothing of: weights, base models, tasks.

Of LoRA, a key that the methods here write has its own rule; every other key has peft's default.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from tuneproof.errors import ModelError, did_you_mean
from tuneproof.families.models import ADAPTER_CONFIG
from tuneproof.models.checkpoint_files import read_json_object

MAX_RANK = 65_536  # as wide as a layer of the largest models
RESTORE = "Restore the file, or run the arm again."
Rule = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)


INITIAL: tuple[Any, ...] = (True, False, "gaussian")  # how it began changes nothing of what it is


TASK_TYPES = ("SEQ_CLS", "QUESTION_ANS", "CAUSAL_LM")
TEXT_OR_NULL: Rule = ("a text or null", lambda value: value is None or isinstance(value, str))
NAMES_OR_NULL: Rule = ("null or a list of names", lambda value: value is None or _are_names(value))
FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
OF_EVERY_TYPE: dict[str, Rule] = {
    "base_model_name_or_path": TEXT_OR_NULL,
    "revision": TEXT_OR_NULL,
    "peft_version": TEXT_OR_NULL,
    "inference_mode": FLAG,
    "task_type": (f"one of {', '.join(TASK_TYPES)}", lambda value: value in TASK_TYPES),
    "modules_to_save": NAMES_OR_NULL,
}
OF_LORA: dict[str, Rule] = {
    "r": (f"a whole number from 1 to {MAX_RANK}", lambda value: _is_integer(value, 1, MAX_RANK)),
    "lora_alpha": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "lora_dropout": ("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "use_rslora": FLAG,
    "use_dora": FLAG,
    "fan_in_fan_out": FLAG,
    "init_lora_weights": ('true or "pissa"', lambda value: value is True or value == "pissa"),
    "target_modules": ("a list of names", _are_names),
    "target_parameters": NAMES_OR_NULL,
}


@dataclass(frozen=True)
class Writer:
    """Whose adapters are read: the rules of LoRA's keys, what holds for all others, what to do if not so."""

    rules: dict[str, Rule]
    others: str
    do: str


OWN = Writer(OF_LORA, "No arm writes another value than peft's own.", RESTORE)
FOREIGN = Writer(
    OF_LORA
    | {
        "init_lora_weights": (
            'true, false, "gaussian" or "pissa"',
            lambda value: value in (*INITIAL, "pissa"),
        ),
        "target_modules": (
            'a list of names or "all-linear"',
            lambda value: value == "all-linear" or _are_names(value),
        ),
        "auto_mapping": (
            "null or an object of texts",
            lambda value: value is None or isinstance(value, dict),
        ),
        "layers_to_transform": (
            "null or a list of numbers",
            lambda value: (
                value is None
                or (isinstance(value, list) and all(_is_integer(index, 0, 10_000) for index in value))
            ),
        ),
    },
    "Only peft's own value is read.",
    "Merge the adapter into its base with the program that made it (merge_and_unload), and name that folder.",
)


def read_adapter_config(folder: Path, writer: Writer = OWN) -> Any:
    """peft's configuration of an adapter.

    Raises: ModelError, naming the file and the key, where it is not as its writer writes it.
    """
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    path = folder / ADAPTER_CONFIG
    values = read_json_object(path, str(folder))
    types = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    kind = values.get("peft_type")
    if not isinstance(kind, str) or kind not in types:
        raise ModelError(str(path), f"peft_type {kind!r} is no kind of adapter that peft has.", do=writer.do)
    defaults = {
        field.name: field.default_factory() if field.default_factory is not MISSING else field.default
        for field in fields(types[kind])
        if field.init
    }
    rules = OF_EVERY_TYPE | (writer.rules if kind == "LORA" else {})
    for key, value in values.items():
        if key not in defaults and (value or isinstance(value, int | float)):
            hint = did_you_mean(key, rules)
            raise ModelError(str(path), f"{key} is no key of a {kind} adapter.", hint, writer.do)
        _check_value(path, (key, value), rules, {} if kind != "LORA" else defaults, writer)
    if "target_modules" not in defaults:  # peft makes these of files and models that the values name
        problem = f"a {kind} adapter stands beside no layer."
        raise ModelError(str(path), problem, "Such a kind is not read.", writer.do)
    for key in ("target_modules", "r") if kind == "LORA" else ():
        if key not in values:
            raise ModelError(str(path), f"{key} is missing.", do=writer.do)
    try:
        return PeftConfig.from_pretrained(str(folder))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ModelError(str(path), f"peft cannot read it: {reason}.", do=writer.do) from None


def _check_value(
    path: Path, entry: tuple[str, Any], rules: Mapping[str, Rule], defaults: Mapping[str, Any], writer: Writer
) -> None:
    """Raises ModelError where a value breaks its rule, or a key without one has not its default."""
    key, value = entry
    if key in rules:
        allowed, is_allowed = rules[key]
        if is_allowed(value):
            return
        allowed = f"It must be {allowed}."
    elif key == "peft_type" or key not in defaults or _is_default(value, defaults[key]):
        return
    else:
        allowed = writer.others
    raise ModelError(str(path), f"{key} is {value!r:.60}.", allowed, writer.do)


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is peft's default, or as empty as it: versions differ in what stands for nothing."""
    both_empty = not value and not default and not isinstance(value, int | float)
    return both_empty or (type(value) is type(default) and value == default)
