"""A model with its weights, ready to predict or to be adapted.

In: a ModelSource, a kind of head, labels, precision. Out: the model and its freshly initialised weights; or
the same architecture without weights, on the meta device. Knows nothing of: tasks, methods, training.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from torch.overrides import TorchFunctionMode

from tuneproof.errors import ModelError
from tuneproof.families import family_of
from tuneproof.families.family import Family
from tuneproof.families.models import ModelSource
from tuneproof.hub.download import download_model
from tuneproof.models.checkpoint_files import (
    generation_end_ids,
    random_head_error,
    read_raw_config,
    require_lm_head,
    stored_weights,
    weight_files,
    weight_names,
)
from tuneproof.models.old_head import match_old_head
from tuneproof.models.quantize import Quantization, quantization_config, set_quantized_precision
from tuneproof.models.quiet import quiet

MAX_HEAD_PARAMETERS = 50_000_000  # of a head that is not in the checkpoint
Head = Literal["labels", "span", "words", "cloze", "base"]
AUTO_CLASSES: dict[Head, str] = {
    "labels": "AutoModelForSequenceClassification",
    "span": "AutoModelForQuestionAnswering",
    "words": "AutoModelForCausalLM",
    "cloze": "AutoModelForMaskedLM",
    "base": "AutoModel",
}


@dataclass(frozen=True)
class LoadResult:
    """A loaded model. fresh: names of the weights that are not the checkpoint's; notes: say so."""

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
    stored_labels: Sequence[str] = (),
    random: bool = False,
    dtype: torch.dtype = torch.float32,
    quantization: Quantization | None = None,
    seed: int | None = None,
) -> LoadResult:
    """Load a checkpoint with a head, in eval mode, on the CPU or quantised on a device.

    head: labels, a classification head, its last layer drawn anew unless the checkpoint's has rows for
    just these labels by name (`stored_labels`, if given, else those of its configuration); span, one that
    marks where an answer begins and ends; words, a decoder's language-model head; cloze, an encoder's masked
    one; base, no head. random: initialise all weights randomly and do not read the checkpoint's. seed: of
    random weights; without one torch's current state, which stays.

    Raises: ModelError where weights are missing, do not fit, or a language-model head would be random.
    """
    auto = _auto_class(source, config, head)
    config = _config_for_head(config, head, labels)
    _check_size(auto, source, config)
    redrawn: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        if random:
            model = auto.from_config(config, dtype=dtype, trust_remote_code=False)
            fresh = tuple(name for name, _ in model.named_parameters())
        else:
            if head in ("words", "cloze"):
                require_lm_head(source, config, family)
            options: dict[str, Any] = {"config": config, "dtype": dtype}
            if quantization:
                options |= quantization_config(_on_meta(auto, config), family, quantization)
            model, info = _from_pretrained(auto, source, options)
            set_quantized_precision(model)
            if head == "span":
                info = _load_base_of_span_model(model, source, info, options)
            fresh = _check_weights(source, family, head, info)
            if head == "labels":
                redrawn, notes = match_old_head(
                    model, family, _stored_names(source, stored_labels), labels, fresh
                )
    ends = () if random else generation_end_ids(download_model(source, weights=False))
    _set_ids(model, tokenizer, family, ends)
    return LoadResult(model.eval(), (*fresh, *redrawn), (*_notes(fresh, random), *notes))


def _stored_names(source: ModelSource, stored_labels: Sequence[str]) -> Mapping[str, Any]:
    """The checkpoint's configuration, whose id2label names its head's rows."""
    values = read_raw_config(source)[1]
    return {**values, "id2label": dict(enumerate(stored_labels))} if stored_labels else values


def _check_size(auto: Any, source: ModelSource, config: Any) -> None:
    """Refuse a configuration of far more weights than the checkpoint has, before they fill the memory."""
    from safetensors import safe_open

    stored = 0
    for path in weight_files(source, download_model(source, weights=True)):
        with safe_open(str(path), framework="pt") as file:
            stored += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    described = sum(parameter.numel() for parameter in _on_meta(auto, config).parameters())
    if described > 2 * stored + MAX_HEAD_PARAMETERS:
        raise ModelError(
            source.path_or_id,
            f"its configuration describes {described:,} parameters "
            f"({4 * described / 2**30:,.1f} GiB in fp32), but the checkpoint has {stored:,} values.",
            do="Download it again: config.json and the weights do not match.",
        )


def _notes(fresh: tuple[str, ...], random: bool) -> tuple[str, ...]:
    if random:
        return ("All weights are random: no pretrained weights were loaded.",)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in fresh)
    return (f"Freshly initialised, not in the checkpoint: {', '.join(modules)}.",) if fresh else ()


def _config_for_head(config: Any, head: Head, labels: Sequence[str]) -> Any:
    """A copy of the configuration with the number and the names of the head's outputs."""
    config = copy.deepcopy(config)
    if head == "labels":
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        config.problem_type = "single_label_classification"
    elif head == "span":
        config.num_labels = 2
    return config


def _auto_class(source: ModelSource, config: Any, head: Head) -> Any:
    import transformers

    auto: Any = getattr(transformers, AUTO_CLASSES[head])
    if type(config) in auto._model_mapping:
        return auto
    missing = f"has no {auto.__name__} for {config.model_type}."
    if head == "span":
        problem = f"it has no span head: transformers {transformers.__version__} {missing}"
        raise ModelError(source.name, problem, do="Let it answer in words, or use another model.")
    raise ModelError(source.name, f"transformers {missing}", do="Use another arm or another model.")


class _Uninitialized(TorchFunctionMode):
    """Leaves tensors without data as they are where they would be drawn.

    For them torch imports sympy, which takes longer than to build the model.
    """

    DRAWS = frozenset(("normal_", "uniform_", "trunc_normal_", "zero_", "fill_", "constant_"))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in self.DRAWS:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def _on_meta(auto: Any, config: Any) -> Any:
    """The auto class's model without weights."""
    return _build_on_meta(lambda copied: auto.from_config(copied, trust_remote_code=False), config)


def _build_on_meta(build: Callable[[Any], Any], config: Any) -> Any:
    """Raises: ModelError where the configuration's values do not make a model."""
    try:
        with torch.device("meta"), _Uninitialized(), quiet():
            return build(copy.deepcopy(config))
    except Exception as error:  # each class fails in its own way at values that it does not expect
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        problem = f"the configuration of {config.model_type} does not make a model: {reason}."
        raise ModelError("model", problem) from None


def model_on_meta(source: ModelSource, config: Any, *, head: Head, labels: Sequence[str] = ()) -> Any:
    """`load_model`'s model without weights, for counting. Raises: ModelError where there is no such head."""
    model = _on_meta(_auto_class(source, config, head), _config_for_head(config, head, labels))
    return _untied_as_stored(model, source)


def pretrained_on_meta(source: ModelSource, config: Any) -> Any:
    """The architecture that the checkpoint was saved as, on the meta device; a ledger starts from it.

    It has a language-model head where the configuration names a class that has one, or names none.
    """
    import transformers

    for name in getattr(config, "architectures", None) or ():
        model_class = getattr(transformers, str(name), None)
        if isinstance(model_class, type) and getattr(model_class, "config_class", None) is type(config):
            break
    else:
        head: Head = "cloze" if family_of(config).kind == "encoder" else "words"
        model_class = _auto_class(source, config, head)._model_mapping[type(config)]
    return _untied_as_stored(_build_on_meta(model_class, config), source)


def _untied_as_stored(model: Any, source: ModelSource) -> Any:
    """The model with two weights where its class ties them and a folder holds them with different values.

    transformers keeps both then, whatever config.json says.
    """
    tied = getattr(model, "all_tied_weights_keys", {})
    if not (tied and source.local and Path(source.path_or_id).is_dir()):
        return model
    try:
        stored = stored_weights(source)
        untied = [name for name, tied_to in tied.items() if stored.differ(name, tied_to)]
    except ModelError:  # said when they load; a count needs none
        return model
    for name in untied:
        module, _, weight = name.rpartition(".")
        own = torch.nn.Parameter(torch.empty_like(model.get_parameter(name)))
        setattr(model.get_submodule(module), weight, own)
    return model


def _from_pretrained(auto: Any, source: ModelSource, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from safetensors import SafetensorError

    folder = download_model(source, weights=True)
    weight_files(source, folder)
    if (folder / "adapter_config.json").exists():  # transformers would load another model
        raise ModelError(source.path_or_id, "has an adapter beside its weights.")
    try:
        with quiet():
            return auto.from_pretrained(
                str(folder),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # `_check_weights` refuses them, by name
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(source.path_or_id, f"its weights cannot be loaded: {reason}") from None


def _load_base_of_span_model(
    model: Any, source: ModelSource, info: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Load the base of a span model under its other name; returns the updated loading info.

    transformers names Llama's base "transformer" in this class and "model" in all others.
    """
    prefix = f"{model.base_model_prefix}."
    missing = {name for name in info["missing_keys"] if name.startswith(prefix)}
    if not missing or any(name.startswith(prefix) for name in weight_names(source)):
        return info
    auto = _auto_class(source, options["config"], "base")
    base, base_info = _from_pretrained(auto, source, options)
    setattr(model, model.base_model_prefix, base)
    missing_in_base = {f"{prefix}{name}" for name in base_info["missing_keys"]}
    missing_keys = (set(info["missing_keys"]) - missing) | missing_in_base
    return {**info, "missing_keys": missing_keys, "mismatched_keys": base_info["mismatched_keys"]}


def _check_weights(source: ModelSource, family: Family, head: Head, info: dict[str, Any]) -> tuple[str, ...]:
    """Names of the fresh weights; only the classifier and the pooler may be fresh."""
    resized = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    missing = sorted(set(info["missing_keys"]) | resized)
    heads = family.head_modules if head in ("labels", "span") else ()
    poolers = {"labels", "span", "base"}
    refused = [
        name
        for name in missing
        if name.split(".")[0] not in heads and not (head in poolers and "pooler" in name.split("."))
    ]
    if not refused:
        return tuple(missing)
    if head in ("words", "cloze") and all("layer" not in name for name in refused):
        raise random_head_error(source.name, family)
    raise ModelError(
        source.path_or_id,
        f"{len(refused)} of the model's weights are missing or have another size, {refused[0]} first.",
        do="The checkpoint is incomplete or does not match its config.json; download it again.",
    )


def _set_ids(model: Any, tokenizer: Any, family: Family, more_ends: Sequence[int]) -> None:
    """Set the pad token (see `keeps_pad_id`) and drop the checkpoint's generation settings.

    All end tokens stay: those of the configuration, of the tokenizer, and `more_ends`.
    """
    if not family.keeps_pad_id(model.config):
        model.config.pad_token_id = tokenizer.pad_token_id
    if getattr(model, "generation_config", None) is None:
        return
    from transformers import GenerationConfig

    ends = [*more_ends]
    for value in (getattr(model.config, "eos_token_id", None), tokenizer.eos_token_id):
        ends += value if isinstance(value, list) else [] if value is None else [value]
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=sorted(set(ends)) or None, **ids)
