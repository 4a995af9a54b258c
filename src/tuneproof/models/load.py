"""A model with its weights, ready to predict or to be adapted.

In: a ModelSource, which head, labels, precision. Out: model, tokenizer, what is freshly initialised;
or the same architecture without weights, on the meta device.
Knows nothing of: tasks, methods, training.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch

from tuneproof.errors import ModelError
from tuneproof.families import family_of
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource
from tuneproof.models.checkpoint_files import (
    check_tokenizer,
    fetch,
    random_head,
    read_config,
    read_tokenizer,
    require_words_head,
    weight_files,
    weight_names,
)
from tuneproof.models.quantize import Packing, packed_config, unpacked_on_cpu
from tuneproof.models.quiet import quiet

__all__ = [
    "Loaded",
    "check_tokenizer",
    "fetch",
    "load_model",
    "model_on_meta",
    "pretrained_on_meta",
    "quiet",
    "read_config",
    "read_tokenizer",
    "require_words_head",
    "weight_names",
]

MOST_FRESH = 50_000_000  # parameters of a head that no checkpoint holds
Head = Literal["labels", "span", "words", "cloze", "base"]


@dataclass(frozen=True)
class Loaded:
    """A loaded model. `fresh`: names of the weights that the checkpoint did not hold; `notes` say so."""

    model: Any
    fresh: tuple[str, ...]
    notes: tuple[str, ...]


def load_model(
    source: ModelSource,
    config: Any,
    tokenizer: Any,
    family: Family,
    *,
    head: Head,
    labels: Sequence[str] = (),
    random: bool = False,
    dtype: torch.dtype = torch.float32,
    packing: Packing | None = None,
    seed: int | None = None,
) -> Loaded:
    """Load a checkpoint under a head, in eval mode; on the CPU, or packed where `packing` says.

    labels: a classification head, one output a label, freshly drawn where the checkpoint holds
    none of that size; span: one that marks where an answer begins and ends; words: a decoder's
    language-model head; cloze: an encoder's masked one;
    base: no head. With `random` all weights are drawn and the checkpoint's are not read. Draws
    come from `seed`, or from torch's present state, which is left as it was.

    Raises: ModelError where weights are missing, do not fit, or the head asked for would be random.
    """
    auto = _auto_class(source, config, head)
    config = _under_head(config, head, labels)
    _refuse_larger(auto, source, config)
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        if random:
            model = auto.from_config(config, dtype=dtype, trust_remote_code=False)
            fresh = tuple(name for name, _ in model.named_parameters())
        else:
            if head in ("words", "cloze"):
                require_words_head(source, config, family)
            more = packed_config(_on_meta(auto, config), family, packing) if packing else {}
            model, info = _from_pretrained(auto, source, config, dtype, more)
            unpacked_on_cpu(model)
            if head == "span":
                info = _with_base(model, source, config, dtype, info, more)
            fresh = _check_weights(source, family, head, info)
    _set_ids(model, tokenizer)
    return Loaded(model.eval(), fresh, _notes(fresh, random))


def _refuse_larger(auto: Any, source: ModelSource, config: Any) -> None:
    """Raises ModelError where the configuration asks for far more weights than the checkpoint has.

    They would be drawn, and fill the memory, before any comparison by name.
    """
    from safetensors import safe_open

    held = 0
    for path in weight_files(source, fetch(source, weights=True)):
        with safe_open(str(path), framework="pt") as file:
            held += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    asked = sum(parameter.numel() for parameter in _on_meta(auto, config).parameters())
    if asked > 2 * held + MOST_FRESH:
        raise ModelError(
            source.path_or_id,
            f"its configuration describes {asked:,} parameters ({4 * asked / 2**30:,.1f} GiB in fp32), "
            f"and the checkpoint holds {held:,} values.",
            do="Fetch it again: config.json and the weights do not belong together.",
        )


def _notes(fresh: tuple[str, ...], random: bool) -> tuple[str, ...]:
    if random:
        return ("All weights are random: nothing pretrained was loaded.",)
    if not fresh:
        return ()
    modules = dict.fromkeys(name.rpartition(".")[0] for name in fresh)
    return (f"Freshly initialised, not in the checkpoint: {', '.join(modules)}.",)


def _under_head(config: Any, head: Head, labels: Sequence[str]) -> Any:
    """A copy of the configuration, with the labels in it where the head has one output a label."""
    config = copy.deepcopy(config)
    if head == "labels":
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: place for place, label in enumerate(labels)}
        config.problem_type = "single_label_classification"
    elif head == "span":
        config.num_labels = 2
    return config


def _auto_class(source: ModelSource, config: Any, head: Head) -> Any:
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        __version__,
    )

    auto: Any = {
        "labels": AutoModelForSequenceClassification,
        "span": AutoModelForQuestionAnswering,
        "words": AutoModelForCausalLM,
        "cloze": AutoModelForMaskedLM,
        "base": AutoModel,
    }[head]
    if type(config) not in auto._model_mapping and head == "span":
        raise ModelError(
            source.name,
            f"it can have no span head: transformers {__version__} has no {auto.__name__} for "
            f"{config.model_type}.",
            do="Let it answer in words, or use another model.",
        )
    if type(config) not in auto._model_mapping:
        raise ModelError(
            source.name,
            f"transformers has no {auto.__name__} for {config.model_type}.",
            do="Use another arm or another model.",
        )
    return auto


def _on_meta(auto: Any, config: Any) -> Any:
    """The auto class's model without weights.

    Raises: ModelError where the configuration's values do not make a model.
    """
    try:
        with torch.device("meta"), quiet():
            return auto.from_config(copy.deepcopy(config), trust_remote_code=False)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, AssertionError) as error:
        raise _no_model(config, error) from None


def _no_model(config: Any, error: Exception) -> ModelError:
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return ModelError("model", f"the configuration of {config.model_type} makes no model: {said}.")


def model_on_meta(source: ModelSource, config: Any, *, head: Head, labels: Sequence[str] = ()) -> Any:
    """What `load_model` gives, without weights, on the meta device: for counting ahead.

    Raises: ModelError where transformers has no such head for this architecture.
    """
    return _on_meta(_auto_class(source, config, head), _under_head(config, head, labels))


def pretrained_on_meta(source: ModelSource, config: Any) -> Any:
    """The architecture that the checkpoint was saved as, without weights, on the meta device.

    Its parameters are what a ledger starts from: with the language-model head where the
    configuration names a class that has one (or names none).
    """
    import transformers

    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and getattr(found, "config_class", None) is type(config):
            break
    else:
        words: Head = "cloze" if family_of(config).kind == "encoder" else "words"
        found = _auto_class(source, config, words)._model_mapping[type(config)]
    try:
        with torch.device("meta"), quiet():
            return found(copy.deepcopy(config))
    except (ValueError, RuntimeError, TypeError, ArithmeticError, AssertionError) as error:
        raise _no_model(config, error) from None


def _from_pretrained(
    auto: Any, source: ModelSource, config: Any, dtype: torch.dtype, more: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    from safetensors import SafetensorError

    folder = fetch(source, weights=True)
    weight_files(source, folder)
    if (folder / "adapter_config.json").exists():  # transformers would follow it to another model
        raise ModelError(source.path_or_id, "holds an adapter beside its weights.")
    try:
        with quiet():
            return auto.from_pretrained(
                str(folder),
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # `_check_weights` refuses them, by name
                output_loading_info=True,
                **more,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, ImportError) as error:
        raise ModelError(
            source.path_or_id, f"its weights cannot be loaded: {str(error).strip().splitlines()[0]}"
        ) from None


def _with_base(
    model: Any,
    source: ModelSource,
    config: Any,
    dtype: torch.dtype,
    info: dict[str, Any],
    more: dict[str, Any],
) -> dict[str, Any]:
    """Put the checkpoint's base into a model with a span head whose own name for it differs.

    transformers calls Llama's base "transformer" there and "model" everywhere else: it would leave
    the whole base at random. Returns what is then still missing.
    """
    prefix = f"{model.base_model_prefix}."
    lost = {name for name in info["missing_keys"] if name.startswith(prefix)}
    if not lost or any(name.startswith(prefix) for name in weight_names(source)):
        return info
    auto = _auto_class(source, config, "base")
    base, its = _from_pretrained(auto, source, config, dtype, more)
    setattr(model, model.base_model_prefix, base)
    still = {f"{prefix}{name}" for name in its["missing_keys"]}
    return {
        **info,
        "missing_keys": (set(info["missing_keys"]) - lost) | still,
        "mismatched_keys": its["mismatched_keys"],
    }


def _check_weights(source: ModelSource, family: Family, head: Head, info: dict[str, Any]) -> tuple[str, ...]:
    """Names of the fresh weights; they may be the classifier's and the pooler's alone."""
    resized = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    missing = sorted(set(info["missing_keys"]) | resized)
    may_be_fresh = {"pooler"} if head in ("labels", "span", "base") else set()
    if head in ("labels", "span"):
        may_be_fresh.update(family.head_modules)
    lost = [name for name in missing if may_be_fresh.isdisjoint(name.split("."))]
    if not lost:
        return tuple(missing)
    if head in ("words", "cloze") and all("layer" not in name for name in lost):
        raise random_head(source.name, family)
    raise ModelError(
        source.path_or_id,
        f"{len(lost)} of the model's weights are missing or of another size, {lost[0]} first.",
        do="The checkpoint is incomplete or does not belong to its config.json; fetch it again.",
    )


def _set_ids(model: Any, tokenizer: Any) -> None:
    """The pad token in every place that reads it; generation settings of the checkpoint are dropped.

    All end tokens stay: those of the configuration, of the generation settings, of the tokenizer.
    """
    model.config.pad_token_id = tokenizer.pad_token_id
    settings = getattr(model, "generation_config", None)
    if settings is None:
        return
    from transformers import GenerationConfig

    ends: list[int] = []
    for value in (getattr(model.config, "eos_token_id", None), settings.eos_token_id, tokenizer.eos_token_id):
        ends += value if isinstance(value, list) else [] if value is None else [value]
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(set(ends)) or None,
        pad_token_id=tokenizer.pad_token_id,
    )
