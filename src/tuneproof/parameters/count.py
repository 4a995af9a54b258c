"""Every parameter of a model and of its adaptation, from the configuration alone.

In: a model's name, perhaps a method and a task. Out: a Count. Nothing is loaded, weights least of all.
Knows nothing of: data, training, the terminal.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.families import Family, family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.facts import Published
from tuneproof.families.models import ModelSource, facts_of, resolve_model
from tuneproof.methods.compatibility import misfit
from tuneproof.models.checkpoint_files import code_keys, code_sentence, config_from, read_values
from tuneproof.parameters.architecture import Architecture, architecture_of, parameter_groups
from tuneproof.parameters.head_choice import HeadChoice, asked_arm, asked_head, default_head
from tuneproof.parameters.ledger import Ledger, fresh_ahead, parameter_ledger, probe_ledger
from tuneproof.parameters.quantized import packed_ahead
from tuneproof.recipe.recipe import Arm


@dataclass(frozen=True)
class Adaptation:
    """What becomes of the model: its method (None: only a head is added), head and ledger.

    The ledger's `trainable` means nothing where there is no method.
    """

    method: str | None
    changes: dict[str, Any]
    head: HeadChoice
    ledger: Ledger


@dataclass(frozen=True)
class Count:
    """A model's architecture, its exact parameters, and those of an adaptation.

    `groups` add up to `total`; `architecture_class` is the class that was counted; `origin` says
    where the configuration comes from; `notes` what else there is to know.
    """

    model: str
    origin: str
    architecture_class: str
    architecture: Architecture
    groups: dict[str, int]
    total: int
    published: Published | None
    adaptation: Adaptation | None
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether the published count is ours; None where none is known."""
        return None if self.published is None else self.published.count == self.total

    def as_json(self) -> dict[str, Any]:
        """Plain values; an unknown number of trained weights is null."""
        values = asdict(self)
        if self.published is not None:
            values["published"]["agrees"] = self.agrees
        if self.adaptation is not None and self.adaptation.method is None:
            values["adaptation"]["ledger"]["trainable"] = None
        return values


def count(
    model: str,
    method: str | None = None,
    changes: Sequence[str] = (),
    task: str | None = None,
    head: str | None = None,
) -> Count:
    """Count a model, and what `method` makes of it for `task` (or under `head`).

    model: shelf name, hub id, folder or configuration file. changes: settings of the method, such as
    "lora.rank=8". head: "labels:N", "span" or "words", where no task says it.

    Raises: RecipeError for an unknown method, task, head or setting; ModelError where the
    configuration cannot be read or the model cannot do it.
    """
    arm = asked_arm(method, changes)
    choice = asked_head(task, head, arm)
    source = resolve_model(model, weights=False)
    config, origin, notes = configuration(source)
    family = family_of(config)
    if arm is not None and choice is None:
        choice = default_head(arm, family)
    from tuneproof.models.load import pretrained_on_meta

    pretrained = pretrained_on_meta(source, config)
    architecture = architecture_of(config, family, pretrained)
    groups = parameter_groups(pretrained)
    adaptation = None
    if choice is not None:
        adaptation = _adaptation(source, config, family, pretrained, arm, choice)
        notes += _notes(architecture, adaptation)
    named = [str(name) for name in getattr(config, "architectures", None) or ()]
    counted = type(pretrained).__name__
    if named and counted not in named:
        notes.append(f"Its configuration names {named[0]}; transformers counts it as {counted}.")
    facts = facts_of(source)
    return Count(
        model=source.name,
        origin=origin,
        architecture_class=counted,
        architecture=architecture,
        groups=groups,
        total=sum(groups.values()),
        published=facts.published if facts else None,
        adaptation=adaptation,
        notes=tuple(notes),
    )


def configuration(source: ModelSource) -> tuple[Any, str, list[str]]:
    """The configuration, where it comes from, and what was left aside in it."""
    facts = facts_of(source)
    if facts is not None:
        where = f"https://huggingface.co/{source.path_or_id}"
        return config_from(facts.values, source.name), f"the shelf's, as published at {where}", []
    path, values = read_values(source)
    where = str(path) if source.local else f"https://huggingface.co/{source.path_or_id}"
    notes = [code_sentence(key) for key in code_keys(values)]
    return config_from(values, str(path)), where, notes


def _adaptation(
    source: ModelSource, config: Any, family: Family, pretrained: Any, arm: Arm | None, choice: HeadChoice
) -> Adaptation:
    """The real model class on the meta device, the real method applied, and their ledger."""
    from tuneproof.models.load import model_on_meta, quiet
    from tuneproof.models.quantize import packed_layers

    facts = facts_of(source)
    options: Any = arm.options if arm else None
    if options is not None and hasattr(options, "objective"):
        objective = "words" if choice.kind == "words" else "head"
        options = options.model_copy(update={"objective": objective})
    if choice.kind == "words" and family.kind == "encoder" and arm is None:
        raise RecipeError(
            "--head words",
            f"{source.name} is an encoder: it continues no words.",
            do="Write --head labels:2 or --head span.",
        )
    known = layers_of(config)
    reason = misfit(arm.method, options, family, source.name, known) if arm else None
    if arm and reason:
        raise RecipeError(f"--method {arm.method_name}", reason)
    labels = [str(place) for place in range(choice.outputs)]
    model = model_on_meta(source, config, head=choice.kind, labels=labels)
    fresh = fresh_ahead(model, pretrained, facts.held if facts else ())
    if arm is not None and arm.method.apply is None:
        biased = family.kind == "encoder" or choice.kind == "span"
        base = model_on_meta(source, config, head="base")
        size = choice.outputs * (config.get_text_config().hidden_size + biased)
        ledger = probe_ledger(base, pretrained, family, size)
    else:
        packed = None
        if arm is not None and arm.method.packs:
            layers = [model.get_submodule(name) for name in packed_layers(model, family)]
            packed = packed_ahead([layer.weight.numel() for layer in layers])
        if arm is not None and arm.method.apply is not None:
            import torch

            with torch.device("meta"), quiet():
                model = arm.method.apply(model, family, options, fresh)
        ledger = parameter_ledger(model, pretrained, family, fresh=fresh, packed=packed)
    changes = arm.options.model_dump(mode="json", include=arm.options.model_fields_set) if arm else {}
    return Adaptation(arm.method_name if arm else None, changes, choice, ledger)


def _notes(architecture: Architecture, adaptation: Adaptation) -> list[str]:
    """Why lines that one might look for are not in the ledger."""
    notes = []
    lines = {line.what for line in adaptation.ledger.lines}
    if adaptation.head.kind != "words" and architecture.tied and "dropped" not in lines:
        notes.append("Nothing is dropped: the language-model head is the embeddings' own matrix (tied).")
    if architecture.kind == "decoder":
        notes.append(_no_padding_row(architecture))
    if adaptation.method is None:
        notes.append("Which of the weights train, a method says: --method.")
    return notes


def _no_padding_row(architecture: Architecture) -> str:
    row = (architecture.dimension or 0) * (2 if architecture.tied is False else 1)
    return (
        "No row is added for padding: a token that the vocabulary holds pads. "
        f"A new [PAD] would have added {row:,}."
    )
