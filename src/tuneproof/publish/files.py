"""What of an arm is published, and the folder that holds it.

In: a finished arm, whether it is merged, where its base is found. Out: files that plain libraries load.
Knows nothing of: the card, the gate, the hub.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneproof.apply.labels import base_of, finished_arm
from tuneproof.arms.tuned import head_of, reload_tuned
from tuneproof.atomic import MANIFEST, check_folder, read_json, write_inside, write_json
from tuneproof.context.model_spec import Ready
from tuneproof.data.prompt_format import prompt_frame
from tuneproof.errors import RecipeError
from tuneproof.models.heads import takes
from tuneproof.models.load import fetch, load_model, model_on_meta, quiet
from tuneproof.models.quiet import quiet_bitsandbytes
from tuneproof.publish.load_code import Asks, Holds, Published
from tuneproof.recipe.recipe import Arm, Recipe, read_recipe
from tuneproof.record.study_folder import FACTS, RECIPE, WEIGHTS, ArmRecord, StudyRecord, read_study

LEFT = {MANIFEST, "README.md", "head.json"}  # of the arm's weights: written anew, or of no use elsewhere
ADAPTER = "adapter_config.json"
HEAD = "head.safetensors"


@dataclass(frozen=True)
class Material:
    """An arm that can be published. `base_name` is its base's hub id, or "" where none is known.

    `precision` is what it predicted the study's items in.
    """

    record: ArmRecord
    study: StudyRecord
    recipe: Recipe
    arm: Arm
    ready: Ready
    it: Published
    merged: bool
    base_name: str
    precision: str

    @property
    def weights(self) -> Path:
        """The arm's own weights."""
        return self.record.folder / WEIGHTS

    @property
    def base_folder(self) -> str:
        """The base on this machine."""
        return str(fetch(self.ready.source, weights=True))


def material_of(folder: Path, merged: bool, base: str | None) -> Material:
    """What of the arm is published.

    Raises: RecipeError where it has nothing to publish, where plain libraries cannot ask what it answers,
    or nobody else has its base; RunError where it is not finished; ModelError where its base is gone.
    """
    record = finished_arm(folder)
    about = record.about
    if about["kind"] != "tuned" or not (record.folder / WEIGHTS).is_dir():
        raise RecipeError(
            str(folder),
            f"{about['arm']} has no weights of its own: there is nothing to publish.",
            "An arm that learnt (head, lp-ft, lora, qlora, full) can be published.",
        )
    study = read_study(record.folder.parent.parent)
    recipe = read_recipe(study.folder / RECIPE)
    arm = recipe.arm(about["arm"])
    objective = getattr(arm.options, "objective", "head")
    ready = base_of(record, recipe)
    asks = _asks(str(folder), objective, recipe.task.kind, ready)
    check_folder(record.folder / WEIGHTS)
    holds = _holds(record.folder / WEIGHTS)
    if merged and arm.method.packs:
        raise RecipeError(
            "--merged",
            f"the base of {about['arm']} was held in 4 bits: merged into whole weights it "
            "would be another model than the one that was tested.",
            do="Publish the adapter.",
        )
    if merged and holds == "model":
        raise RecipeError("--merged", f"{about['arm']} is a whole model already.", do="Leave it out.")
    base_name = base or ("" if ready.source.local else ready.source.path_or_id)
    if holds != "model" and not merged and not base_name:
        raise RecipeError(
            str(folder),
            f"its base is a folder of this machine ({ready.source.name}), and whoever loads "
            "what is published beside it needs the base too.",
            do="Add --merged, so that the base is in it, or --base OWNER/NAME where the hub has the same.",
        )
    facts = read_json(record.folder / FACTS)["facts"]
    precision = str(facts["compute.precision"])
    it = _published(record, recipe, arm, ready, holds, asks, precision)
    if holds != "model" and not merged:
        it = replace(it, base=base_name, revision=None if base else ready.commit)
    return Material(record, study, recipe, arm, ready, it, merged, base_name, precision)


def _asks(where: str, objective: str, kind: str, ready: Ready) -> Asks:
    if kind == "labels":
        return "words" if objective == "words" else "labels"
    if objective == "words" or ready.family.kind == "decoder":
        raise RecipeError(
            where,
            "answers questions by words of tuneproof's around them, which plain libraries do not put there.",
            "Of arms that answer questions, encoders with a head over spans can be published.",
            "Use `tuneproof predict` with the study's folder.",
        )
    return "span"


def _holds(weights: Path) -> Holds:
    if (weights / ADAPTER).is_file():
        return "adapter"
    return "head" if (weights / HEAD).is_file() else "model"


def _published(
    record: ArmRecord, recipe: Recipe, arm: Arm, ready: Ready, holds: Holds, asks: Asks, precision: str
) -> Published:
    """What the lines need to know, as the arm was asked in the study."""
    labels = tuple(record.about["labels"])
    packed = bool(arm.method.packs)
    half = {"bf16": "bfloat16", "fp16": "float16"}.get(precision, "float32")
    more: dict[str, Any] = {}
    if asks == "words":
        words: Any = recipe.task.prompt(recipe.task_options, labels)
        frame = prompt_frame(ready.tokenizer, words, (), recipe.encode.chat)
        more = {"before": frame.before, "after": frame.after, "words": frame.answers, "markup": frame.markup}
    if asks == "span":
        # peft's model for question answering drops the types, and was trained and asked without them
        types = holds != "adapter" and takes(
            model_on_meta(ready.source, ready.config, head="span"), "token_type_ids"
        )
        more = {
            "types": types,
            "answer_tokens": recipe.encode.answer_tokens,
            "threshold": record.about["chosen"]["answers"]["no_answer_threshold"],
        }
    if holds == "head":
        more["pooling"] = read_json(record.folder / WEIGHTS / "head.json")["pooling"]
    return Published(
        holds=holds,
        asks=asks,
        labels=labels,
        max_length=ready.max_length,
        pad_id=ready.pad.id,
        packed=packed,
        unpacked=(*sorted(ready.family.head_modules), "lm_head") if packed else (),
        dtype=half if holds != "model" else "float32",
        **more,
    )


def write_weights(material: Material, folder: Path) -> Published:
    """Write weights and tokenizer into `folder`; returns what the lines load from there.

    Raises: RecipeError, ModelError where they cannot be loaded to be merged.
    """
    if material.merged:
        return _write_merged(material, folder)
    for name in (*copied(material), *([ADAPTER] if material.it.holds == "adapter" else ())):
        copy_file(material.weights / name, folder / name)
    if material.it.holds == "head":
        material.ready.tokenizer.save_pretrained(folder)
    if material.it.holds == "adapter":
        value = read_json(folder / ADAPTER)
        value |= {"base_model_name_or_path": material.base_name, "revision": material.it.revision}
        write_json(folder / ADAPTER, value)
    return material.it


def copied(material: Material) -> dict[str, str]:
    """The arm's files that are published as they are, with the checksums under which it saved them."""
    sums: dict[str, str] = read_json(material.weights / MANIFEST)
    if material.merged:
        return {name: sums[name] for name in sums if name == HEAD}
    return {name: sums[name] for name in sums if name not in (*LEFT, ADAPTER)}


def copy_file(file: Path, to: Path) -> None:
    """Copy a file into a folder that is written as a whole."""
    write_inside(to, lambda path: shutil.copyfile(file, path))


def _write_merged(material: Material, folder: Path) -> Published:
    """The base with the adapter in it, or beside the head, in float32."""
    ready, recipe = material.ready, material.recipe
    if material.it.holds == "head":
        model = load_model(ready.source, ready.config, ready.tokenizer, ready.family, head="base").model
        for name in copied(material):
            copy_file(material.weights / name, folder / name)
        made = replace(material.it, base="", revision=None, dtype="float32")
    else:
        objective = getattr(material.arm.options, "objective", "head")
        head = head_of(objective, recipe.task.kind)
        adapted = reload_tuned(material.weights, ready, head, tuple(material.it.labels))
        with quiet_bitsandbytes():  # peft looks whether it is there
            model = adapted.merge_and_unload()
        made = replace(material.it, holds="model", base="", revision=None, dtype="float32")
    with quiet():
        model.save_pretrained(folder)
        ready.tokenizer.save_pretrained(folder)
    return made
