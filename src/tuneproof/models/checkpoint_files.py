"""The parts of a model that can be read without its weights: configuration, tokenizer, weight names.

In: a ModelSource. Out: configuration, tokenizer with its pad rule, names of weights.
Knows nothing of: tasks, methods, training.

No code of a checkpoint is ever run: no remote code, no pickles, no kernels by name.
"""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneproof.atomic import load_json
from tuneproof.errors import ModelError
from tuneproof.families.family import Family
from tuneproof.families.models import CONVERT, ModelSource
from tuneproof.hub.download import download_model, http_error_type
from tuneproof.models.config_values import check_config_values, end_ids
from tuneproof.models.own_tokenizer import OWN_FILE, as_own_file
from tuneproof.models.quiet import quiet
from tuneproof.models.stored_weights import StoredWeights
from tuneproof.models.tokenizer_match import check_tokenizer
from tuneproof.models.tokenizer_trial import try_tokenizer

TOKENIZER_FILES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "spm.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "tekken.json"),
)
CODE_KEYS = {"auto_map", "custom_generate", "custom_pipelines", "trust_remote_code"}
CODE_KEYS |= {"use_kernels", "kernel_config", "allow_all_kernels"}
CODE_ENDINGS = ("_implementation", "_internal")  # kernels that would be fetched by name
ROUNDS_WHOLE_WEIGHTS = ("bitnet",)  # each time that they are used
MAX_JSON_BYTES = 50_000_000  # a shard index has a few million at most


def _names_code(key: str) -> bool:
    return key in CODE_KEYS or key.endswith(CODE_ENDINGS) or "attn_implementation" in key


def _without_code(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_code(inner) for k, inner in value.items() if not _names_code(k)}
    return [_without_code(inner) for inner in value] if isinstance(value, list) else value


def read_json_object(path: Path, name: str) -> dict[str, Any]:
    """A JSON object of bounded size. Raises: ModelError where it is none, or missing."""
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= MAX_JSON_BYTES):
            raise ModelError(str(path), f"is not a file of at most {MAX_JSON_BYTES:,} bytes.")
        value = load_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(name, f"has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise ModelError(str(path), f"is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ModelError(str(path), "is not a JSON object.")
    return value


def read_raw_config(source: ModelSource) -> tuple[Path, dict[str, Any]]:
    """The configuration's file and its unchecked values. Raises: ModelError where it is no JSON object."""
    folder = download_model(source, weights=False)
    path = folder if folder.is_file() else folder / "config.json"
    return path, read_json_object(path, source.path_or_id)


def code_keys(values: Any) -> list[str]:
    """The configuration's keys that name code; every reader ignores them."""
    if isinstance(values, list):
        return sorted({key for inner in values for key in code_keys(inner)})
    if not isinstance(values, dict):
        return []
    return sorted({key for key in values if _names_code(key)} | set(code_keys([*values.values()])))


def ignored_code_notes(source: ModelSource) -> tuple[str, ...]:
    """A note for each key that names code, for model and tokenizer. Raises: as `read_raw_config`."""
    path, values = read_raw_config(source)
    notes = [ignored_code_note(key) for key in code_keys(values)]
    tokenizer_path = path.with_name("tokenizer_config.json")
    if tokenizer_path.is_file():
        keys = code_keys(read_json_object(tokenizer_path, ""))
        notes += [ignored_code_note(key, "tokenizer's ") for key in keys]
    return tuple(notes)


def ignored_code_note(key: str, owner: str = "") -> str:
    """The note that a key is ignored."""
    return f"{key} in its {owner}configuration can name code of the checkpoint: ignored, never run."


def read_config(source: ModelSource) -> Any:
    """The configuration of a model, made by `make_config`. Raises: ModelError where the file is broken."""
    path, values = read_raw_config(source)
    if values.get("quantization_config"):
        _refuse_left_over(source, path, values["quantization_config"])
    config = make_config(values, str(path))
    generation_end_ids(path.parent)
    return config


def _refuse_left_over(source: ModelSource, path: Path, quantization: Any) -> None:
    """Raises ModelError where the weights are whole, although config.json says that they are quantised."""
    quantizer = quantization.get("quant_method") if isinstance(quantization, dict) else None
    if path.name != "config.json" or quantizer in ROUNDS_WHOLE_WEIGHTS:
        return
    if stored_weights(source).are_whole:
        raise ModelError(
            str(path),
            f"quantization_config says that the weights are quantised ({quantizer or 'unnamed'}); they "
            "are whole.",
            do="Take quantization_config out of the file.",
        )


def stored_weights(source: ModelSource) -> StoredWeights:
    """The weights of a model's folder; none where it is on the hub and not downloaded."""
    folder = download_model(source, weights=False)
    try:
        return StoredWeights([file for file in weight_files(source, folder) if file.is_file()])
    except ModelError:
        return StoredWeights(())


def generation_end_ids(folder: Path) -> list[int]:
    """The end tokens of the folder's generation_config.json, if there is one. Raises: as `end_ids`."""
    path = folder / "generation_config.json"
    return end_ids(read_json_object(path, str(folder)), path) if path.exists() else []


def make_config(raw: Mapping[str, Any], path: str) -> Any:
    """The configuration as transformers' own class, without the keys that could load code.

    Begin and end ids missing in `raw` are None instead of the class's defaults.
    Raises: ModelError, naming `path`, where transformers has no such class, or a value does not fit it.
    """
    from transformers import CONFIG_MAPPING

    values: dict[str, Any] = _without_code(dict(raw))
    kind = values.pop("model_type", None)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            path,
            f"model_type {json.dumps(kind)} is not an architecture that transformers has.",
            "The checkpoint's own code is never run.",
            "Name another model.",
        )
    if values.get("quantization_config"):
        raise ModelError(path, "the weights are quantised.", do="Name the model with its full weights.")
    check_config_values(values, path)
    try:
        with quiet():
            config = CONFIG_MAPPING[kind].from_dict(values)
            text = config.get_text_config()
    except Exception as error:  # each class checks its values in its own way, or not at all
        reason = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
        raise ModelError(path, f"does not fit the class of {kind}: {reason}.") from None
    for key in ("vocab_size", "hidden_size", "num_hidden_layers"):
        size = getattr(text, key, 1)
        if not isinstance(size, int | dict) or size is True or (isinstance(size, int) and size < 1):
            raise ModelError(path, f"{key} is {json.dumps(size)}; it must be a whole number from 1.")
    for key in ("bos_token_id", "eos_token_id"):
        if key not in values and not values.get("text_config"):
            setattr(config, key, None)
    return config


def read_tokenizer_with_notes(source: ModelSource, config: Any, family: Family) -> tuple[Any, list[str]]:
    """The fast tokenizer of the model, its pad token set by the family's rule.

    It reads texts as the folder's tokenizer.json does (see `as_own_file`); the notes say what is to be known.

    Raises: ModelError where it is missing, slow, or another model's (see `check_tokenizer`).
    """
    folder = download_model(source, weights=False)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(
            source.path_or_id,
            "has no tokenizer.",
            f"One of {', '.join(TOKENIZER_FILES)} must exist.",
            "Save the tokenizer that the model was trained with into the model's folder.",
        )
    _require_sentencepiece(source, folder)
    if (folder / OWN_FILE).is_file():
        try_tokenizer(folder / OWN_FILE, source.path_or_id)
    tokenizer, notes = _load_tokenizer(source, folder)
    if not tokenizer.is_fast:
        raise ModelError(source.path_or_id, "its tokenizer is a slow one.", do="Save it with tokenizer.json.")
    notes += check_tokenizer(tokenizer, config, family, source.name)
    rows = config.get_text_config().vocab_size
    notes += [
        f"its generation_config.json names the end token {id}; the model has {rows}, so it ends no answer."
        for id in generation_end_ids(folder)
        if id >= rows
    ]
    pad = family.pad_rule(tokenizer, config)
    tokenizer.pad_token = pad.token
    if not family.keeps_pad_id(config):
        config.pad_token_id = pad.id
    return tokenizer, [note.replace("its ", f"{source.name}'s ", 1) for note in notes]


def _require_sentencepiece(source: ModelSource, folder: Path) -> None:
    """Raises ModelError where only the package sentencepiece can read the tokenizer, and it is missing."""
    files = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if find_spec("sentencepiece") is None and all(name.endswith(".model") for name in files):
        raise ModelError(
            source.path_or_id,
            f"its tokenizer is {files[0]} alone, which the package sentencepiece reads.",
            do="Install it (pip install sentencepiece), or save the tokenizer with a tokenizer.json.",
        )


def _load_tokenizer(source: ModelSource, folder: Path) -> tuple[Any, list[str]]:
    from transformers import AutoTokenizer

    try:
        with quiet():
            safe = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **safe)
            if not isinstance(tokenizer.model_max_length, int | float):
                raise ValueError(f"model_max_length is {tokenizer.model_max_length!r}, not a number")
            return as_own_file(tokenizer, folder) if tokenizer.is_fast else (tokenizer, [])
    except Exception as error:  # tokenizers, written in Rust, raises nothing more exact
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(source.path_or_id, f"its tokenizer cannot be read: {reason}.") from None


def weight_names(source: ModelSource) -> set[str]:
    """Names of the tensors in the checkpoint, read from the safetensors headers alone.

    Raises: ModelError where a file is missing, broken or outside the model's folder.
    """
    if not source.local:
        from huggingface_hub import get_safetensors_metadata
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        try:
            return set(get_safetensors_metadata(source.path_or_id, revision=source.revision).weight_map)
        except NotASafetensorsRepoError:
            do = CONVERT.format(path=repr(source.path_or_id))
            raise ModelError(source.path_or_id, "has no safetensors weights.", do=do) from None
        except SafetensorsParsingError as error:
            raise ModelError(source.path_or_id, f"its weights cannot be read: {error}.") from None
        except (http_error_type(), OSError):
            pass  # offline: use the cached files, if any
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for path in weight_files(source, download_model(source, weights=not source.local)):
        try:
            with safe_open(str(path), framework="np") as file:
                names.update(file.keys())
        except (OSError, SafetensorError) as error:
            raise ModelError(str(path), f"cannot be read: {error}.") from None
    return names


def weight_files(source: ModelSource, folder: Path) -> list[Path]:
    """The safetensors files of the model in this folder.

    Raises: ModelError where there are none, or the index points outside the folder.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        raise ModelError(source.path_or_id, "has no model.safetensors and no index of its shards.")
    shards = read_json_object(index, source.name).get("weight_map")
    if not isinstance(shards, dict):
        raise ModelError(str(index), "has no weight_map.")
    files = sorted(set(map(str, shards.values())))
    outside = [name for name in files if Path(name).name != name or "\\" in name]
    if outside:
        raise ModelError(str(index), f"points outside its folder: {outside[0]}.")
    return [folder / name for name in files]


def require_lm_head(source: ModelSource, config: Any, family: Family) -> None:
    """Refuse a checkpoint without a language-model head. Raises: ModelError with the arms it can run."""
    if not family.has_words_head(config, family, weight_names(source)):
        raise random_head_error(source.name, family)


def random_head_error(name: str, family: Family) -> ModelError:
    """The error for a checkpoint without a language-model head."""
    head = "masked-language-model head" if family.kind == "encoder" else "language-model head"
    return ModelError(
        name,
        f"the checkpoint has no {head}, so its answers would come from random weights.",
        "A random head is not zero-shot.",
        "Use head, lora or full instead, or a checkpoint that has the head.",
    )
