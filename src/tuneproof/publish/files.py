"""The published files of an arm, and the folder that holds them.

In: a finished arm, whether to merge it, its base. Out: files that plain libraries load.
Knows nothing of: the card, the gate, the hub.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.apply.finished_arm import base_model_spec, read_finished_arm
from tuneproof.arms.probe import load_head
from tuneproof.arms.tuned import head_of
from tuneproof.atomic import MANIFEST, check_folder, read_json, write_in_folder, write_json
from tuneproof.context.model_spec import ModelSpec
from tuneproof.data.prompt_format import build_prompt_frame
from tuneproof.errors import RecipeError
from tuneproof.families.family import reads_token_types
from tuneproof.methods import METHODS
from tuneproof.methods.options import trains_words
from tuneproof.methods.text_classifier import BASELINE
from tuneproof.models.adapter import check_adapter, load_adapter
from tuneproof.models.adapter_config import ADAPTER_CONFIG as ADAPTER
from tuneproof.models.heads import accepts_argument
from tuneproof.models.load import download_model, load_model, model_on_meta, quiet
from tuneproof.models.quiet import quiet_bitsandbytes
from tuneproof.publish.load_code import SKOPS, Form, LoadSpec, Objective
from tuneproof.publish.skops_file import check_skops, write_skops
from tuneproof.recipe.recipe import Arm, Recipe, read_recipe
from tuneproof.record.study_folder import FACTS, RECIPE, WEIGHTS, ArmRecord, StudyRecord, read_study
from tuneproof.score.decision import read_decision

# files of the arm's weights that are written anew, or of no use elsewhere
NOT_COPIED = {MANIFEST, "README.md", "head.json"}
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Publication:
    """An arm to publish. `base_name` is its base's hub id, or "" if it has none.

    `precision` is that of its predictions in the study.
    """

    record: ArmRecord
    study: StudyRecord
    recipe: Recipe
    arm: Arm
    spec: Any  # its ModelSpec; None of a baseline
    load_spec: LoadSpec
    merged: bool
    base_name: str
    precision: str

    @property
    def weights(self) -> Path:
        """The folder of the arm's own weights."""
        return self.record.folder / WEIGHTS

    @property
    def base_folder(self) -> str:
        """The base on this machine."""
        return str(download_model(self.spec.source, weights=True))


def prepare_publication(folder: Path, merged: bool, base: str | None) -> Publication:
    """Read a finished arm and check that it can be published.

    Raises: RecipeError if it has nothing to publish, if plain libraries cannot compute its predictions, or
    if nobody else has its base; RunError if it is not finished; ModelError if its base is gone.
    """
    record = read_finished_arm(folder)
    name = record.about["arm"]
    if (record.folder / WEIGHTS / BASELINE).is_file():
        return _prepare_baseline(record, merged or base is not None)
    if record.about["kind"] != "tuned" or not (record.folder / WEIGHTS).is_dir():
        tuned = [method.name for method in METHODS.values() if method.kind == "tuned"]
        problem = f"{name} has no weights of its own, so there is nothing to publish."
        allowed = f"Allowed: arms that train weights ({', '.join(tuned)}), and baselines of labels."
        raise RecipeError(str(folder), problem, allowed)
    study = read_study(record.folder.parent.parent)
    recipe = read_recipe(study.folder / RECIPE)
    arm = recipe.arm(name)
    spec = base_model_spec(record, recipe)
    objective = _objective(str(folder), arm, recipe.task.kind, spec)
    check_folder(record.folder / WEIGHTS)
    form = weights_form(record.folder / WEIGHTS)
    if merged:
        _check_merge(arm, form)
    base_name = base or ("" if spec.source.local else spec.source.path_or_id)
    needs_base = form != "model" and not merged
    if needs_base and not base_name:
        raise RecipeError(
            str(folder),
            f"its base is a folder of this machine ({spec.source.name}); others need the base to load the "
            "arm.",
            do="Add --merged to include the base, or --base OWNER/NAME if the hub has it.",
        )
    precision = str(read_json(record.folder / FACTS)["facts"]["compute.precision"])
    load_spec = _load_spec(record, recipe, spec, form, objective, precision)
    load_spec = replace(load_spec, decision=_decision(record))
    if needs_base:
        load_spec = replace(load_spec, base=base_name, revision=None if base else spec.commit)
    return Publication(record, study, recipe, arm, spec, load_spec, merged, base_name, precision)


def _prepare_baseline(record: ArmRecord, names_base: bool) -> Publication:
    """A fitted baseline of labels. Raises: RecipeError where it cannot be published."""
    name, labels = record.about["arm"], tuple(record.about["labels"])
    if names_base:
        raise RecipeError(str(record.folder), f"{name} has no base.", do="Omit --merged and --base.")
    check_skops()
    study = read_study(record.folder.parent.parent)
    recipe = read_recipe(study.folder / RECIPE)
    check_folder(record.folder / WEIGHTS)
    load_spec = LoadSpec("baseline", "labels", labels, max_length=0, decision=_decision(record))
    return Publication(record, study, recipe, recipe.arm(name), None, load_spec, False, "", "fp64")


def _decision(record: ArmRecord) -> dict[str, Any] | None:
    """How the arm decides labels; None where it predicts the most probable one."""
    entry = record.about["chosen"].get("decision") or {}
    return None if read_decision(entry, len(record.about["labels"])) is None else entry


def _check_merge(arm: Arm, form: Form) -> None:
    if arm.method.quantizes:
        problem = (
            f"the base of {arm.method_name} is quantised to 4 bits; merged into full weights it would be a "
            "different model from the tested one."
        )
        raise RecipeError("--merged", problem, do="Publish the adapter.")
    if form == "adapter" and not arm.method.merges:
        problem = f"the adapters of {arm.method_name} cannot be merged into its base."
        raise RecipeError("--merged", problem, do="Publish the adapter.")
    if form == "model":
        raise RecipeError("--merged", f"{arm.method_name} already is a whole model.", do="Omit --merged.")


def _objective(where: str, arm: Arm, task_kind: str, spec: ModelSpec) -> Objective:
    in_words = trains_words(arm.options)
    if task_kind == "labels":
        return "words" if in_words else "labels"
    if in_words or spec.family.kind == "decoder":
        problem = (
            "its answers need tuneproof's prompt around each question, which plain libraries do not add."
        )
        allowed = "Of arms that answer questions, only encoders with a span head can be published."
        raise RecipeError(where, problem, allowed, "Use `tuneproof predict` with the study's folder.")
    return "span"


def weights_form(weights: Path) -> Form:
    """What an arm's weights are: an adapter, a head, or a whole model."""
    if (weights / ADAPTER).is_file():
        return "adapter"
    return "head" if (weights / HEAD).is_file() else "model"


def _load_spec(
    record: ArmRecord, recipe: Recipe, spec: ModelSpec, form: Form, objective: Objective, precision: str
) -> LoadSpec:
    """What the code needs to know to predict as in the study."""
    labels = tuple(record.about["labels"])
    quantized = bool(recipe.arm(record.about["arm"]).method.quantizes)
    half = {"bf16": "bfloat16", "fp16": "float16"}.get(precision, "float32")
    extra: dict[str, Any] = {}
    if objective == "words":
        prompt: Any = recipe.task.prompt(recipe.task_options, labels)
        frame = build_prompt_frame(spec.tokenizer, prompt, (), recipe.encode.chat)
        extra = {
            "before": frame.before,
            "after": frame.after,
            "words": frame.answers,
            "markup": frame.has_markup,
        }
    if objective == "span":
        # peft's model for question answering drops the token types, in training and prediction
        token_types = (
            form != "adapter"
            and reads_token_types(spec.config)
            and accepts_argument(model_on_meta(spec.source, spec.config, head="span"), "token_type_ids")
        )
        extra = {
            "token_types": token_types,
            "answer_tokens": recipe.encode.answer_tokens,
            "threshold": record.about["chosen"]["answers"]["no_answer_threshold"],
        }
    if form == "head":
        extra["pooling"] = load_head(record.folder / WEIGHTS).pooling
    if objective == "labels" and form == "adapter":
        has_head = any(name.split(".")[0] in spec.family.head_modules for name in spec.weights)
        extra["resizes"] = has_head and spec.config.num_labels != len(labels)
        extra["pad_id"] = None if spec.family.keeps_pad_id(spec.config) else spec.pad.id
    extra |= {"dtype": half if form != "model" else "float32", "quantized": quantized}
    if quantized:
        extra["unquantized"] = (*sorted(spec.family.head_modules), "lm_head")
    return LoadSpec(form, objective, labels, spec.max_length, **extra)


def write_weights(publication: Publication, folder: Path) -> LoadSpec:
    """Write weights and tokenizer into `folder`; returns what the code loads from there.

    Raises: RecipeError or ModelError if a merge cannot load them.
    """
    if publication.merged:
        return _write_merged(publication, folder)
    load_spec = publication.load_spec
    if load_spec.form == "baseline":
        write_skops(publication.weights, load_spec.labels, folder / SKOPS)
        return load_spec
    if load_spec.form == "adapter":
        check_adapter(publication.weights, _base_on_meta(publication))
    for name in (*copied_files(publication), *([ADAPTER] if load_spec.form == "adapter" else ())):
        copy_file(publication.weights / name, folder / name)
    if load_spec.form == "head":
        publication.spec.tokenizer.save_pretrained(folder)
    if load_spec.form == "adapter":
        value = read_json(folder / ADAPTER)
        value |= {"base_model_name_or_path": publication.base_name, "revision": load_spec.revision}
        write_json(folder / ADAPTER, value)
    return load_spec


def copied_files(publication: Publication) -> dict[str, str]:
    """The arm's files that are published unchanged, with their checksums in the study."""
    if publication.load_spec.form == "baseline":
        return {}
    checksums: dict[str, str] = read_json(publication.weights / MANIFEST)
    if publication.merged:
        return {name: checksums[name] for name in checksums if name == HEAD}
    return {name: checksums[name] for name in checksums if name not in (*NOT_COPIED, ADAPTER)}


def copy_file(file: Path, to: Path) -> None:
    """Copy a file into a folder that is written atomically."""
    write_in_folder(to, lambda path: shutil.copyfile(file, path))


def _base_on_meta(publication: Publication) -> Any:
    """The adapter's base under the head of its objective, without weights."""
    spec, head = publication.spec, head_of(publication.arm, publication.recipe.task.kind)
    return model_on_meta(spec.source, spec.config, head=head, labels=publication.load_spec.labels)


def _write_merged(publication: Publication, folder: Path) -> LoadSpec:
    """Write the base with the adapter merged into it, or beside the head, in float32."""
    spec, load_spec = publication.spec, publication.load_spec
    changes: dict[str, Any] = {"base": "", "revision": None, "dtype": "float32"}
    if load_spec.form == "head":
        model = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head="base").model
        for name in copied_files(publication):
            copy_file(publication.weights / name, folder / name)
    else:
        head = head_of(publication.arm, publication.recipe.task.kind)
        labels = load_spec.labels
        base = load_model(spec.source, spec.config, spec.tokenizer, spec.family, head=head, labels=labels)
        with quiet(), quiet_bitsandbytes():  # peft checks whether it is installed
            adapted = load_adapter(base.model, publication.weights, _base_on_meta(publication))
            model = adapted.merge_and_unload()
        changes["form"] = "model"
    with quiet():
        model.save_pretrained(folder)
        spec.tokenizer.save_pretrained(folder)
    return replace(load_spec, **changes)
