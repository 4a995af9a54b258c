"""A model before its weights load: configuration, tokenizer, family, and what it can be used for.

In: a model choice and the recipe's settings. Out: ModelSpec; the reason why an arm is impossible.
Knows nothing of: scores, files of a study.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from tuneproof.atomic import sha256_of_file, sha256_of_sample
from tuneproof.data.encode import EncodedTexts, encode_texts
from tuneproof.errors import DataError, RecipeError
from tuneproof.families import Family, family_of
from tuneproof.families.blocks import layers_of
from tuneproof.families.family import PadRule
from tuneproof.families.models import ModelSource, published_config, resolve_model
from tuneproof.families.unsupported import Need, why_no_adapters, why_no_head, why_no_span_head, why_unusable
from tuneproof.hub.download import cached_folder
from tuneproof.methods.compatibility import why_incompatible_method
from tuneproof.methods.options import AdapterOptions, PoolingOption, starts_random, trains_words
from tuneproof.models.checkpoint_files import (
    download_model,
    ignored_code_notes,
    make_config,
    read_config,
    read_tokenizer_with_notes,
    weight_names,
)
from tuneproof.recipe.recipe import Arm, ModelChoice
from tuneproof.settings import EncodeSettings
from tuneproof.tasks.task import Example, Task

T = TypeVar("T")
MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")


@dataclass(frozen=True)
class ModelSpec:
    """A model before its weights load.

    name: what the report calls it. commit: the hub's, None for a local folder. notes: what the user should
    know about it. details: the same, for the record alone. adapter: the folder of a finished adapter on it.
    """

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
    details: tuple[str, ...] = ()
    adapter: Path | None = None
    _encoded: dict[str, EncodedTexts] = field(default_factory=dict, repr=False)
    _results: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_complete(self) -> bool:
        """Whether its files were read; if the hub was not reached, only its configuration is known."""
        return self.tokenizer is not None

    @property
    def width(self) -> int | None:
        """The hidden size of the text model, where its configuration names one."""
        return getattr(self.config.get_text_config(), "hidden_size", None)

    @property
    def fingerprint(self) -> str:
        """Identifies the weights: the hub's commit, or the SHA-256 of the folder's weight files."""
        if self.commit is not None:
            return f"{self.source.path_or_id}@{self.commit}"
        files = sorted(Path(self.source.path_or_id).glob("*.safetensors"))
        return "|".join(sha256_of_file(file) for file in files)

    @property
    def weight_bytes(self) -> int | None:
        """Size of the weights on disk; None where they are not here."""
        folder = cached_folder(self.source)
        return sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder else None

    @property
    def origin(self) -> str:
        """The hub id, or the folder's absolute path."""
        path_or_id = self.source.path_or_id
        return str(Path(path_or_id).resolve()) if self.source.local else path_or_id

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by file name, from samples of large files; of a hub model {"commit": ID@COMMIT}."""
        adapter = _digests(self.adapter) if self.adapter is not None else {}
        own = {f"adapter {name}": digest for name, digest in adapter.items()}
        if self.commit is not None:
            return {"commit": self.fingerprint, **own}
        return {**_digests(Path(self.source.path_or_id)), **own}

    def encode(self, part: str, examples: Sequence[Example], settings: EncodeSettings) -> EncodedTexts:
        """The texts of a part as tokens, encoded once for all arms of the study."""
        if part not in self._encoded:
            self._encoded[part] = encode_texts(
                self.tokenizer, self.family, examples, self.max_length, settings.truncate
            )
        return self._encoded[part]

    def estimate_memory(self, arm: Any, workload: Any) -> Any:
        """The MemoryEstimate of one arm of this model, simulated once for all seeds."""
        from tuneproof.memory.all_layers import estimate_step

        options = arm.options.model_dump_json(exclude={"name"})
        return self.once(
            f"memory {arm.method.name} {options} {workload}", lambda: estimate_step(arm, workload)
        )

    def once(self, key: str, work: Callable[[], T]) -> T:
        """The result of work whose result is the same for equal keys; a false one is worked out again."""
        if not self._results.get(key):
            self._results[key] = work()
        return cast(T, self._results[key])

    def save_model(self, model: Any, folder: Path) -> None:
        """Write a model of this base as safetensors, with its tokenizer."""
        from tuneproof.models.quiet import quiet

        with quiet():
            model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def _digests(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in MODEL_FILES]
    return {path.name: sha256_of_sample(path) for path in paths}


def source_of(choice: ModelChoice) -> ModelSource:
    """Where the model is loaded from.

    Raises: ModelError where it is neither a short name nor a hub id nor a folder.
    """
    return resolve_model(f"{choice.id}@{choice.revision}" if choice.revision else choice.id)


def make_model_spec(choice: ModelChoice, settings: EncodeSettings) -> ModelSpec:
    """Read configuration, tokenizer and weight names.

    Raises: ModelError where the files do not fit each other.
    """
    source = source_of(choice)
    config = read_config(source)
    family = family_of(config)
    tokenizer, tokenizer_notes = read_tokenizer_with_notes(source, config, family)
    limit = family.position_limit(config)
    pad = family.pad_rule(tokenizer, config)
    commit = None if source.local else download_model(source, weights=False).name
    notes = [*ignored_code_notes(source), *tokenizer_notes]
    if commit and source.revision is None:
        notes.append(f"{source.name} is not pinned: the hub's main branch is used, now {commit[:12]}.")
    max_length = settings.max_length
    if limit is not None and max_length > limit:
        notes.append(f"encode.max_length {max_length} exceeds {source.name}'s limit; {limit} is used.")
        max_length = limit
    return ModelSpec(
        name=choice.name or source.name,
        source=source,
        config=config,
        tokenizer=tokenizer,
        family=family,
        pad=pad,
        weights=frozenset(weight_names(source)),
        max_length=max_length,
        commit=commit,
        notes=tuple(notes),
        details=(pad.sentence,),
    )


def declare_model_spec(choice: ModelChoice, settings: EncodeSettings) -> ModelSpec | None:
    """A model that was not downloaded, from the configuration that tuneproof knows; None: it knows none."""
    source = source_of(choice)
    published = published_config(source)
    if published is None:
        return None
    config = make_config(published.values, source.name)
    pinned = f"revision {source.revision}" if source.revision else "not pinned"
    return ModelSpec(
        name=choice.name or source.name,
        source=source,
        config=config,
        tokenizer=None,
        family=family_of(config),
        pad=PadRule(0, "", ""),
        weights=frozenset(),
        max_length=settings.max_length,
        notes=(f"Not downloaded; {source.path_or_id}, {pinned}, as tuneproof knows it.",),
    )


@contextmanager
def explain_limit(spec: ModelSpec) -> Iterator[None]:
    """Where a length does not fit because the model has no more positions, say so; no setting raises that.

    Raises: the error of its block.
    """
    try:
        yield
    except (RecipeError, DataError) as error:
        limit = spec.family.position_limit(spec.config)
        if "encode.max_length" not in (error.where + error.do) or limit is None or spec.max_length < limit:
            raise
        where = spec.name if error.where == "encode.max_length" else error.where
        allowed = f"{spec.name} reads at most {limit} tokens."
        do = "Shorten the prompt or the question, use fewer shots, lower encode.stride, or use another model."
        raise type(error)(where, error.problem, allowed, do) from None


def why_impossible(arm: Arm, spec: ModelSpec, task: Task) -> str | None:
    """Why this model cannot run this arm on this task, and what to use instead; None: it can."""
    return (
        why_unusable(spec.config, spec.name)
        or (_why_no_writing(arm, spec) if task.written else None)
        or (_why_no_questions(arm, spec) if task.kind == "questions" else None)
        or why_incompatible_method(arm.method, arm.options, spec.family, spec.name, layers_of(spec.config))
        or (_why_no_class(arm, spec) if task.kind == "labels" else None)
        or _why_no_adapters(arm, spec)
        or (_why_no_words_head(arm, spec) if spec.is_complete else None)
    )


def _why_no_class(arm: Arm, spec: ModelSpec) -> str | None:
    """Why transformers has no class for what an arm over labels loads."""
    need: Need = "labels"
    if arm.method.kind == "prompt" or trains_words(arm.options):
        need = "cloze" if spec.family.kind == "encoder" else "words"
    elif arm.method.apply is None:
        need = "base"
    return why_no_head(spec.config, spec.family, need, spec.name)


def _why_no_adapters(arm: Arm, spec: ModelSpec) -> str | None:
    """Why an arm's adapters cannot stand beside the layers that it names."""
    if not isinstance(arm.options, AdapterOptions):
        return None
    return why_no_adapters(spec.config, arm.options.targets, spec.name)


def _why_no_writing(arm: Arm, spec: ModelSpec) -> str | None:
    """Why an arm cannot write answers of its own."""
    if spec.family.kind == "encoder":
        return f"{spec.name} is an encoder: it writes no answers. Use a decoder."
    if arm.method.kind == "tuned" and (arm.method.fits_head or not trains_words(arm.options)):
        return f"{arm.name} trains a head, which writes no answers. Use lora or full, or a prompt."
    return None


def _why_no_questions(arm: Arm, spec: ModelSpec) -> str | None:
    """The reasons that hold for questions alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

    encoder, options = spec.family.kind == "encoder", arm.options
    if arm.method.kind == "prompt":
        return (
            f"{spec.name} is an encoder: it writes no answers. Use head, lora or full." if encoder else None
        )
    if arm.method.fits_head and arm.method.fit_span_head is None:
        return f"{arm.method_name} fits a head over labels, not over spans. Use head, lora or full."
    if isinstance(options, PoolingOption) and options.pooling != "auto":
        return "A head over spans reads every token. Leave pooling out."
    model_type = spec.config.model_type
    if not trains_words(options) and model_type not in MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES:
        instead = "Use another model." if encoder else "Use lora or full with objective: words."
        return f"transformers has no question-answering head for {model_type}. {instead}"
    return None if trains_words(options) else why_no_span_head(spec.config, spec.name)


def _why_no_words_head(arm: Arm, spec: ModelSpec) -> str | None:
    """Why a language-model head is missing that the arm needs."""
    if spec.family.has_words_head(spec.config, spec.family, set(spec.weights)):
        return None
    if arm.method.kind == "prompt":
        return (
            f"{spec.name} has no language-model head in its checkpoint: it would be random, and the output "
            "of a random head is not zero-shot. Use head, lora or full."
        )
    if trains_words(arm.options) and spec.family.kind == "decoder" and not starts_random(arm.options):
        return f"{spec.name} has no language-model head in its checkpoint. Use objective: head."
    return None
