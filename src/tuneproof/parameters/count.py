"""Every parameter of a model and of its adaptation, from the configuration alone.

In: a model's name, optionally a method and a task. Out: a Count. Nothing is loaded, least of all weights.
Knows nothing of: data, training, the terminal.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.families import Family, family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.models import ModelSource, published_config, resolve_model
from tuneproof.families.published import PublishedCount
from tuneproof.methods.compatibility import why_incompatible_method
from tuneproof.methods.method import Method
from tuneproof.methods.options import TunedOptions
from tuneproof.models.checkpoint_files import (
    code_keys,
    ignored_code_note,
    make_config,
    read_config,
    read_raw_config,
)
from tuneproof.parameters.architecture import Architecture, count_by_group, describe_architecture
from tuneproof.parameters.head_choice import HeadSpec, default_head, parse_head, parse_method
from tuneproof.parameters.ledger import Ledger, fresh_weight_names, parameter_ledger, probe_ledger
from tuneproof.parameters.quantized import estimate_quantized
from tuneproof.recipe.recipe import Arm


@dataclass(frozen=True)
class Adaptation:
    """The adapted model. method: None if only a head is added; `ledger.trainable` has no meaning then."""

    method: str | None
    changes: dict[str, Any]
    head: HeadSpec
    ledger: Ledger


@dataclass(frozen=True)
class Count:
    """A model's architecture, its exact parameters, and those of an adaptation.

    `groups` add up to `total`; `architecture_class` is the class that was counted; `origin`: of the values.
    """

    model: str
    origin: str
    architecture_class: str
    architecture: Architecture
    groups: dict[str, int]
    total: int
    published: PublishedCount | None
    adaptation: Adaptation | None
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether the published count equals ours; None if none is known."""
        published = self.published
        return None if published is None else published.difference(self.total, self.groups["head"]) == 0

    def as_json(self) -> dict[str, Any]:
        """Plain values; `trainable` is null if no method is named."""
        values = asdict(self)
        if self.published is not None:
            values["published"]["agrees"] = self.agrees
        if self.adaptation is not None:
            values["adaptation"]["ledger"] = self.adaptation.ledger.as_json()
            if self.adaptation.method is None:
                unknown = ("trainable", "trainable_embeddings", "trainable_share_of_others")
                values["adaptation"]["ledger"].update(dict.fromkeys(unknown))
        return values


def count(
    model: str,
    method: str | None = None,
    changes: Sequence[str] = (),
    task: str | None = None,
    head: str | None = None,
) -> Count:
    """Count a model, and what `method` makes of it for `task` (or with `head`).

    model: short name, hub id, folder or configuration file. changes: settings of the method, such as
    "lora.rank=8". head: "labels:N", "span" or "words", if no task is named.
    Raises: RecipeError for an unknown method, task, head or setting; ModelError if the configuration
    cannot be read or the model cannot do it.
    """
    arm = parse_method(method, changes)
    choice = parse_head(task, head, arm)
    source = resolve_model(model, weights=False)
    config, origin, notes = load_configuration(source)
    family = family_of(config)
    if arm is not None and choice is None:
        choice = default_head(arm, family)
    from tuneproof.models.load import pretrained_on_meta

    pretrained = pretrained_on_meta(source, config)
    architecture = describe_architecture(config, family, pretrained)
    groups = count_by_group(pretrained)
    adaptation = None
    if choice is not None:
        adaptation = _adaptation(source, config, family, pretrained, arm, choice)
        notes += _notes(architecture, adaptation)
    class_names = [str(name) for name in getattr(config, "architectures", None) or ()]
    counted_class = type(pretrained).__name__
    if class_names and counted_class not in class_names:
        notes.append(f"Its configuration names {class_names[0]}; transformers counts it as {counted_class}.")
    reference = published_config(source)
    published, total = reference.parameters if reference else None, sum(groups.values())
    counted = (counted_class, architecture, groups, total)
    return Count(source.name, origin, *counted, published, adaptation, tuple(notes))


def load_configuration(source: ModelSource) -> tuple[Any, str, list[str]]:
    """The configuration, its origin, and notes on what in it is ignored."""
    reference = published_config(source)
    if reference is not None:
        url = f"https://huggingface.co/{source.path_or_id}"
        return make_config(reference.values, source.name), f"from the catalog, as published at {url}", []
    path, values = read_raw_config(source)
    origin = str(path) if source.local else f"https://huggingface.co/{source.path_or_id}"
    notes = [ignored_code_note(key) for key in code_keys(values)]
    return read_config(source), origin, notes


def _adaptation(
    source: ModelSource, config: Any, family: Family, pretrained: Any, arm: Arm | None, head: HeadSpec
) -> Adaptation:
    """Build the real model class on the meta device, apply the real method, and write their ledger."""
    from tuneproof.models.load import model_on_meta

    options = _options_for_head(arm, head)
    _check_adaptation(source, config, family, arm, options, head)
    labels = [str(label) for label in range(head.outputs)]
    model = model_on_meta(source, config, head=head.kind, labels=labels)
    reference = published_config(source)
    fresh = fresh_weight_names(model, pretrained, reference.unnamed_modules if reference else ())
    if arm is None:
        return Adaptation(None, {}, head, parameter_ledger(model, pretrained, family, fresh=fresh))
    if arm.method.apply is None:
        has_bias = family.kind == "encoder" or head.kind == "span"
        base = model_on_meta(source, config, head="base")
        size = head.outputs * (config.get_text_config().hidden_size + has_bias)
        ledger = probe_ledger(base, pretrained, family, size)
    else:
        ledger = _ledger_of_method(arm.method, options, model, pretrained, family, fresh)
    changes = arm.options.model_dump(mode="json", include=arm.options.model_fields_set)
    return Adaptation(arm.method_name, changes, head, ledger)


def _options_for_head(arm: Arm | None, head: HeadSpec) -> Any:
    """The method's options, with the objective that the head implies."""
    if arm is None or not isinstance(arm.options, TunedOptions):
        return arm and arm.options
    return arm.options.model_copy(update={"objective": "words" if head.kind == "words" else "head"})


def _check_adaptation(
    source: ModelSource, config: Any, family: Family, arm: Arm | None, options: Any, head: HeadSpec
) -> None:
    """Raises RecipeError if this model cannot have the head or the method."""
    if head.kind == "words" and family.kind == "encoder" and arm is None:
        problem = f"{source.name} is an encoder and cannot continue a text."
        raise RecipeError("--head words", problem, do="Use --head labels:2 or --head span.")
    if arm is not None:
        reason = why_incompatible_method(arm.method, options, family, source.name, layers_of(config))
        if reason:
            raise RecipeError(f"--method {arm.method_name}", reason)


def _ledger_of_method(
    method: Method, options: Any, model: Any, pretrained: Any, family: Family, fresh: Sequence[str]
) -> Ledger:
    import torch

    from tuneproof.models.load import quiet
    from tuneproof.models.quantize import quantized_layers

    quantized = None
    if method.quantizes:
        layers = [model.get_submodule(name) for name in quantized_layers(model, family)]
        quantized = estimate_quantized([layer.weight.numel() for layer in layers])
    assert method.apply is not None
    with torch.device("meta"), quiet():
        model = method.apply(model, family, options, fresh)
    return parameter_ledger(model, pretrained, family, fresh=fresh, quantized=quantized)


def _notes(architecture: Architecture, adaptation: Adaptation) -> list[str]:
    """Explain lines that a reader may miss in the ledger."""
    notes = []
    parts = {line.part for line in adaptation.ledger.lines}
    if adaptation.head.kind != "words" and architecture.tied_embeddings and "dropped" not in parts:
        tied_note = "the language-model head shares its matrix with the embeddings (tied)."
        notes.append(f"Nothing is dropped: {tied_note}")
    if architecture.kind == "decoder":
        row = (architecture.hidden_size or 0) * (2 if architecture.tied_embeddings is False else 1)
        pad_note = "No row is added for padding: an existing token serves as pad token."
        notes.append(f"{pad_note} A new [PAD] would have added {row:,}.")
    if adaptation.method is None:
        notes.append("Which weights train depends on the method: add --method.")
    return notes
