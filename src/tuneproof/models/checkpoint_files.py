"""All of a model that can be read without its weights: configuration, tokenizer, names of weights.

In: a ModelSource. Out: configuration, tokenizer with its pad rule, names of weights.
Knows nothing of: tasks, methods, training.

Nothing that a checkpoint brings is run: no remote code, no pickles, no kernels by name.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuneproof.errors import ModelError
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource
from tuneproof.hub.download import client_error, fetch
from tuneproof.models.quiet import quiet

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
CODE_KEYS = {
    "auto_map",
    "custom_generate",
    "custom_pipelines",
    "trust_remote_code",
    "use_kernels",
    "kernel_config",
    "allow_all_kernels",
}
CODE_ENDINGS = ("_implementation", "_internal")  # kernels that would be fetched by name
LARGEST_JSON = 50_000_000  # bytes of a configuration; a shard index has a few million at most
# A tokenizer that knows less than this share of the model's rows belongs to another model: padding
# of embeddings to round sizes takes a few per cent at most.
LEAST_VOCABULARY_SHARE = 0.9
LARGEST = {
    "vocab_size": 10_000_000,
    "hidden_size": 1_000_000,
    "num_hidden_layers": 10_000,
    "num_experts": 10_000,
    "num_local_experts": 10_000,
    "n_routed_experts": 10_000,
}


def _names_code(key: str) -> bool:
    return key in CODE_KEYS or key.endswith(CODE_ENDINGS) or "attn_implementation" in key


def _without_code(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_code(inner) for k, inner in value.items() if not _names_code(k)}
    return [_without_code(inner) for inner in value] if isinstance(value, list) else value


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= LARGEST_JSON):
            raise ModelError(str(path), f"is no file of at most {LARGEST_JSON:,} bytes.")
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(name, f"has no {path.name}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(str(path), f"is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ModelError(str(path), "is not a JSON object.")
    return value


def read_values(source: ModelSource) -> tuple[Path, dict[str, Any]]:
    """The configuration's file and what it says, as it stands there.

    Raises: ModelError where the file is missing or is no JSON object.
    """
    place = fetch(source, weights=False)
    path = place if place.is_file() else place / "config.json"
    return path, _read_json(path, source.path_or_id)


def code_keys(values: Any) -> list[str]:
    """The configuration's keys that name code; they are left aside, whoever reads it."""
    if isinstance(values, list):
        return sorted({key for inner in values for key in code_keys(inner)})
    if not isinstance(values, dict):
        return []
    return sorted({key for key in values if _names_code(key)} | set(code_keys([*values.values()])))


def left_aside(source: ModelSource) -> tuple[str, ...]:
    """A sentence for every key that names code, in the configurations of model and tokenizer.

    Raises: as `read_values`.
    """
    path, values = read_values(source)
    said = [code_sentence(key) for key in code_keys(values)]
    beside = path.with_name("tokenizer_config.json")
    if beside.is_file():
        said += [code_sentence(key, "tokenizer's ") for key in code_keys(_read_json(beside, ""))]
    return tuple(said)


def code_sentence(key: str, whose: str = "") -> str:
    """That a key is left aside."""
    return (
        f"{key} in its {whose}configuration can name code that comes with the checkpoint: left "
        "aside, never run."
    )


def read_config(source: ModelSource) -> Any:
    """The configuration of a model, as `config_from` makes it of its file.

    Raises: ModelError where the file is missing or broken, or transformers has no such class.
    """
    path, values = read_values(source)
    return config_from(values, str(path))


def config_from(given: Mapping[str, Any], where: str) -> Any:
    """The configuration as transformers' own class, freed of everything that could load code.

    Begin and end ids that `given` does not say are None, not the class's defaults. `where` they
    come from is what an error names.

    Raises: ModelError where transformers has no such class, or a value does not fit it.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    values: dict[str, Any] = _without_code(dict(given))
    kind = values.pop("model_type", None)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            where,
            f"model_type {json.dumps(kind)} is not an architecture that transformers has.",
            "Code that a checkpoint brings along is never run.",
            "Name another model.",
        )
    for key, most in LARGEST.items():
        if isinstance(values.get(key), int) and values[key] > most:
            raise ModelError(where, f"{key} is {values[key]}; no model has more than {most}.")
    if values.get("quantization_config"):
        raise ModelError(where, "the weights are quantised.", do="Name the model with its full weights.")
    try:
        with quiet():
            config = CONFIG_MAPPING[kind].from_dict(values)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, StrictDataclassError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise ModelError(where, f"does not fit the class of {kind}: {said}.") from None
    for key in ("vocab_size", "hidden_size", "num_hidden_layers"):
        least = getattr(config.get_text_config(), key, None)
        if isinstance(least, int) and least < 1:
            raise ModelError(where, f"{key} is {least}; it must be 1 or more.")
    for key in ("bos_token_id", "eos_token_id"):
        if key not in values and not values.get("text_config"):
            setattr(config, key, None)
    return config


def read_tokenizer(source: ModelSource, config: Any, family: Family) -> Any:
    """The fast tokenizer of the model, its pad token set there and in `config` by the family's rule.

    Raises: ModelError where it is missing, slow, or another model's (see `check_tokenizer`).
    """
    from transformers import AutoTokenizer

    folder = fetch(source, weights=False)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(
            source.path_or_id,
            "has no tokenizer.",
            f"One of {', '.join(TOKENIZER_FILES)} must be there.",
            "Save the tokenizer that the model was trained with beside it.",
        )
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RecursionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(source.path_or_id, f"its tokenizer cannot be read: {said}.") from None
    if not tokenizer.is_fast:
        raise ModelError(source.path_or_id, "its tokenizer is a slow one.", do="Save it with tokenizer.json.")
    check_tokenizer(tokenizer, config, family, source.name)
    pad = family.pad_rule(tokenizer, config)
    tokenizer.pad_token = pad.token
    config.pad_token_id = pad.id
    return tokenizer


def _ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {int(i) for i in value} if isinstance(value, list | tuple) else {int(value)}


def check_tokenizer(tokenizer: Any, config: Any, family: Family, name: str = "model") -> None:
    """Refuse a tokenizer that was not made for the model.

    Compared are the sizes of the vocabularies, the ids of begin, end and pad, and whether the
    tokenizer has the markers of the model's kind.

    Raises: ModelError that says what does not fit.
    """
    text = config.get_text_config()
    rows = int(text.vocab_size)
    known = len(tokenizer)
    largest = max(tokenizer.get_vocab().values(), default=-1) + 1
    bos, config_bos = tokenizer.bos_token_id, text.bos_token_id
    asked = _ids(text.bos_token_id) | _ids(text.eos_token_id)
    own = _ids(bos) | _ids(tokenizer.eos_token_id) | _ids(tokenizer.pad_token_id)
    found = ""
    if max(known, largest) > rows:
        found = f"it knows {max(known, largest)} tokens, the model has rows for {rows}"
    elif known < LEAST_VOCABULARY_SHARE * rows:
        found = f"it knows {known} tokens, the model {rows}"
    elif bos is not None and config_bos is not None and bos != config_bos:
        found = f"it begins texts with token {bos}, the model with {config_bos}"
    elif asked and own and own.isdisjoint(asked | _ids(text.pad_token_id)):
        found = f"its markers are tokens {sorted(own)}, the model's {sorted(asked)}"
    elif (
        family.kind == "encoder"
        and tokenizer.cls_token_id is None
        and (bos is None or tokenizer.mask_token_id is None)
    ):
        found = "it has no token that opens a text or stands for a masked word, as an encoder's has"
    elif (
        family.kind == "decoder"
        and tokenizer.mask_token_id is not None
        and not (_ids(tokenizer.eos_token_id) & _ids(text.eos_token_id) or not asked)
    ):
        found = "it is made for an encoder ([MASK], no end of text), the model for continuing texts"
    if found:
        raise ModelError(
            name,
            f"the tokenizer is another model's: {found}.",
            do="Put the files of the tokenizer that the model was trained with into its folder.",
        )


def weight_names(source: ModelSource) -> set[str]:
    """Names of the tensors in the checkpoint, read from the safetensors headers alone.

    Raises: ModelError where a file is missing, broken or outside the model's folder.
    """
    if not source.local:
        from huggingface_hub import get_safetensors_metadata
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        try:
            found = get_safetensors_metadata(source.path_or_id, revision=source.revision)
            return set(found.weight_map)
        except NotASafetensorsRepoError:
            raise ModelError(source.path_or_id, "holds no safetensors weights.") from None
        except SafetensorsParsingError as error:
            raise ModelError(source.path_or_id, f"its weights cannot be read: {error}.") from None
        except (client_error(), OSError):
            pass  # offline: the cached files, where there are some
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for path in weight_files(source, fetch(source, weights=not source.local)):
        try:
            with safe_open(str(path), framework="np") as file:
                names.update(file.keys())
        except (OSError, SafetensorError) as error:
            raise ModelError(str(path), f"cannot be read: {error}.") from None
    return names


def weight_files(source: ModelSource, folder: Path) -> list[Path]:
    """The safetensors files of a model that lies in this folder.

    Raises: ModelError where there are none, or the index leads out of the folder.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        raise ModelError(source.path_or_id, "has no model.safetensors and no index of its shards.")
    shards = _read_json(index, source.name).get("weight_map")
    if not isinstance(shards, dict):
        raise ModelError(str(index), "has no weight_map.")
    files = sorted(set(map(str, shards.values())))
    outside = [name for name in files if Path(name).name != name or "\\" in name]
    if outside:
        raise ModelError(str(index), f"points outside its folder: {outside[0]}.")
    return [folder / name for name in files]


def require_words_head(source: ModelSource, config: Any, family: Family) -> None:
    """Refuse to ask a model whose language-model head would be random.

    Raises: ModelError that says which arms the model can do.
    """
    if not family.has_words_head(config, family, weight_names(source)):
        raise random_head(source.name, family)


def random_head(name: str, family: Family) -> ModelError:
    """The error for a checkpoint without a language-model head."""
    what = "masked-language-model head" if family.kind == "encoder" else "language-model head"
    return ModelError(
        name,
        f"the checkpoint has no {what}, so its answers would come from random weights.",
        "A random head is not zero-shot.",
        "Use head, lora or full instead, or a checkpoint that holds the head.",
    )
