"""A model of the study, made ready without its weights: what can be known before they load.

In: a model choice and the recipe's settings. Out: Ready, and the reason why an arm cannot be.
Knows nothing of: scores, files of a study.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneproof.atomic import sha256_of_file, sha256_of_sample
from tuneproof.data.encode import Encoded, encode_texts
from tuneproof.errors import RecipeError
from tuneproof.families import Family, family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.family import PadRule
from tuneproof.families.models import ModelSource, resolve_model
from tuneproof.methods.compatibility import misfit
from tuneproof.models.checkpoint_files import fetch, left_aside, read_config, read_tokenizer, weight_names
from tuneproof.process_group import launched, present
from tuneproof.recipe.recipe import Arm, ModelChoice
from tuneproof.settings import ComputeSettings, EncodeSettings
from tuneproof.tasks.task import Example

MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")


@dataclass(frozen=True)
class Compute:
    """Where and how precisely to compute, the same for every arm.

    `accelerator` is Accelerate's; `autocast()` the context of a forward pass.
    """

    accelerator: Any
    precision: str
    sentence: str

    @property
    def device(self) -> Any:
        """torch's device."""
        return self.accelerator.device

    @property
    def frozen_dtype(self) -> Any:
        """How weights that do not train are held: as they are computed with."""
        import torch

        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return kinds[self.precision]

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass in this precision."""
        return nullcontext() if self.precision == "fp32" else self.accelerator.autocast()


def check_compute(settings: ComputeSettings) -> None:
    """Raises RecipeError where a device or precision is asked for that is not there.

    RunError where torch.compile is, and its compiler is missing.
    """
    if settings.compile:
        import torch

        from tuneproof.models.compile import check_compiler

        check_compiler(settings.device != "cpu" and torch.cuda.is_available())
    if settings.device in ("auto", "cpu") and settings.precision != "fp16":
        return  # always there; torch need not load to say so
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            "compute.device",
            "cuda is asked for and torch sees no CUDA device.",
            do="Write compute: {device: auto}.",
        )
    if settings.device == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(
            "compute.device", "mps is asked for and torch sees none.", do="Write compute: {device: auto}."
        )
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "fp16" and on_cpu:
        raise RecipeError(
            "compute.precision",
            "fp16 is asked for on a CPU, which does not train in it.",
            do="Write bf16, fp32 or auto.",
        )


def resolved(settings: ComputeSettings) -> dict[str, Any]:
    """Device, precision and threads as they will be, by the settings' dotted names.

    Raises: as `check_compute`.
    """
    import torch

    check_compute(settings)
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    mps = settings.device != "cpu" and torch.backends.mps.is_available()
    precision = settings.precision
    if precision == "auto":
        half = "bf16" if cuda and torch.cuda.is_bf16_supported(False) else "fp16"
        precision = half if cuda else "fp32"  # type: ignore[assignment]
    return {
        "compute.device": "cuda" if cuda else "mps" if mps else "cpu",
        "compute.precision": precision,
        "compute.threads": settings.threads or torch.get_num_threads(),
        "compute.processes": present().size,
    }


def make_compute(settings: ComputeSettings, longest: int) -> Compute:
    """Choose device, precision, threads and matrix kernels as the settings say.

    longest: tokens of the study's longest item.

    Raises: as `check_compute`.
    """
    import torch

    from tuneproof.memory.usage import return_freed_blocks
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.loop import make_accelerator

    precision = resolved(settings)["compute.precision"]
    if settings.threads:
        torch.set_num_threads(settings.threads)
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    returned = on_cpu and settings.memory is not None and return_freed_blocks()
    accelerator = make_accelerator(settings.device, precision)
    kernels = choose_matmul(accelerator.device.type, longest)
    waiting = os.environ.get("OMP_WAIT_POLICY", "")
    team = present()
    together = f", {team.size} processes ({settings.parallel})" if launched() else ""
    if settings.parallel == "fsdp" and not launched():
        together = " in one process, so that compute.parallel: fsdp changes nothing"
    return Compute(
        accelerator,
        precision,
        f"{accelerator.device.type}, {precision}, {torch.get_num_threads()} threads{together}"
        f"{', waiting ' + waiting.lower() if on_cpu and waiting else ''}. {kernels}"
        f"{' Freed memory goes back to the system at once.' if returned else ''}",
    )


@dataclass(frozen=True)
class Ready:
    """A model without its weights. `name` is what the report calls it; `commit` the hub's."""

    name: str
    source: ModelSource
    config: Any
    tokenizer: Any
    family: Family
    pad: PadRule
    weights: frozenset[str]
    max_length: int
    commit: str | None = None
    notes: tuple[str, ...] = ()
    _encoded: dict[str, Encoded] = field(default_factory=dict, repr=False)
    _foreseen: dict[str, Any] = field(default_factory=dict, repr=False)
    asked: list[Any] = field(default_factory=list, repr=False)  # loaded for prompts: one at most

    @property
    def fingerprint(self) -> str:
        """Changes with the weights: the hub's commit, or the checksums of the folder's files."""
        if self.commit is not None:
            return f"{self.source.path_or_id}@{self.commit}"
        files = sorted(Path(self.source.path_or_id).glob("*.safetensors"))
        return "|".join(sha256_of_file(file) for file in files)

    @property
    def origin(self) -> str:
        """The hub id, or the folder's absolute path."""
        where = self.source.path_or_id
        return str(Path(where).resolve()) if self.source.local else where

    @property
    def sketch(self) -> str:
        """As `fingerprint`, from samples of large files, and of the tokenizer and configuration too."""
        if self.commit is not None:
            return self.fingerprint
        folder = Path(self.source.path_or_id)
        files = [path for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES]
        return "|".join(f"{path.name} {sha256_of_sample(path)}" for path in files)

    def encode(self, part: str, examples: Sequence[Example], settings: EncodeSettings) -> Encoded:
        """The texts of a part as tokens, encoded once for all arms of the study."""
        if part not in self._encoded:
            self._encoded[part] = encode_texts(
                self.tokenizer, self.family, examples, self.max_length, settings.truncate
            )
        return self._encoded[part]

    def foreseen(self, subject: Any, scene: Any) -> Any:
        """The Forecast of one arm of this model, played once for all seeds."""
        from tuneproof.memory.simulate_step import play

        key = f"{subject.method.name} {subject.options.model_dump_json(exclude={'name'})} {scene}"
        if key not in self._foreseen:
            self._foreseen[key] = play(subject, scene)
        return self._foreseen[key]


def source_of(choice: ModelChoice) -> ModelSource:
    """Where the chosen model is read from.

    Raises: ModelError where it is no name, hub id or folder.
    """
    return resolve_model(f"{choice.id}@{choice.revision}" if choice.revision else choice.id)


def make_ready(choice: ModelChoice, settings: EncodeSettings) -> Ready:
    """Read configuration, tokenizer and the names of the weights; refuse what does not fit.

    Raises: ModelError naming what is wrong with the model or its tokenizer.
    """
    source = source_of(choice)
    config = read_config(source)
    family = family_of(config)
    tokenizer = read_tokenizer(source, config, family)
    limit = family.position_limit(config)
    pad = family.pad_rule(tokenizer, config)
    notes = [*left_aside(source)]
    max_length = settings.max_length
    if limit is not None and max_length > limit:
        notes.append(f"max_length {max_length} is cut to {limit}, all that {source.name} can read.")
        max_length = limit
    return Ready(
        name=choice.name or source.name,
        source=source,
        config=config,
        tokenizer=tokenizer,
        family=family,
        pad=pad,
        weights=frozenset(weight_names(source)),
        max_length=max_length,
        commit=None if source.local else fetch(source, weights=False).name,
        notes=(*notes, pad.sentence),
    )


def why_impossible(arm: Arm, ready: Ready, kind: str) -> str | None:
    """The reason why this model cannot do this arm on tasks of this kind; None where it can.

    The reason says what to use instead.
    """
    asked = (arm, ready.name, ready.family, ready.config)
    return (_why_not_questions(*asked) if kind == "questions" else None) or _why_not(arm, ready)


def why_misfit(arm: Arm, name: str, family: Family, config: Any, kind: str) -> str | None:
    """The same as far as the model's configuration alone tells, without the names of its weights."""
    not_questions = _why_not_questions(arm, name, family, config) if kind == "questions" else None
    return not_questions or misfit(arm.method, arm.options, family, name, layers_of(config))


def _why_not_questions(arm: Arm, name: str, family: Family, config: Any) -> str | None:
    """The reasons that questions have and labels have not."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

    encoder = family.kind == "encoder"
    if arm.method.kind == "prompt":
        return f"{name} is an encoder: it writes no answers. Use head, lora or full." if encoder else None
    if getattr(arm.options, "pooling", "auto") != "auto":
        return "A head over spans reads every token. Leave pooling out."
    spans = arm.method.apply is None or getattr(arm.options, "objective", "head") == "head"
    if spans and config.model_type not in MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES:
        other = "Use another model." if encoder else "Use lora or full with objective: words."
        return f"transformers has no question-answering head for {config.model_type}. {other}"
    return None


def _why_not(arm: Arm, ready: Ready) -> str | None:
    """The reason why this model cannot do this arm, with what to use instead; None where it can."""
    options, family = arm.options, ready.family
    objective = getattr(options, "objective", None)
    has_words = family.has_words_head(ready.config, family, set(ready.weights))
    if arm.method.kind == "prompt" and not has_words:
        return (
            f"{ready.name} has no language-model head in its checkpoint: it would be random, and what"
            " a random head says is not zero-shot. Use head, lora or full."
        )
    unsure = objective == "words" and family.kind == "decoder" and not has_words
    if unsure and getattr(options, "weights", "") != "random":
        return f"{ready.name} has no language-model head in its checkpoint. Use objective: head."
    return misfit(arm.method, options, family, ready.name, layers_of(ready.config))
