"""The catalog of model names: where a short name, a hub id or a local folder is read from.

In: a name, a hub id or a folder. Out: a ModelSource. Knows nothing of: tokenizers, weights, tasks.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import tuneproof.families.published as published
from tuneproof.errors import ModelError, did_you_mean
from tuneproof.families.published import PublishedConfig

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True)
class ModelEntry:
    """One entry of the catalog: hub id, pinned revision, licence, whether the hub requires consent.

    `published`: what its config.json says at that revision, so that it can be counted offline.
    """

    hub_id: str
    revision: str
    licence: str
    gated: bool = False
    published: PublishedConfig | None = None


MODELS: dict[str, ModelEntry] = {
    "distilbert": ModelEntry(
        "distilbert/distilbert-base-uncased",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
        "Apache-2.0",
        published=published.DISTILBERT_BASE,
    ),
    "bert": ModelEntry(
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "Apache-2.0",
        published=published.BERT_BASE,
    ),
    "minilm": ModelEntry(
        "nreimers/MiniLM-L6-H384-uncased",
        "3276f0fac9d818781d7a1327b3ff818fc4e643c0",
        "MIT",
        published=published.MINILM_L6,
    ),
    "llama-3.2-1b": ModelEntry(
        "meta-llama/Llama-3.2-1B",
        "4e20de362430cd3b72f300e6b0f18e50e7166e08",
        "Llama 3.2 Community Licence",
        gated=True,
        published=published.LLAMA_3_2_1B,
    ),
    "gemma-2b": ModelEntry(
        "google/gemma-2b",
        "9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
        "Gemma terms",
        gated=True,
        published=published.GEMMA_2B,
    ),
    "gemma-2-2b": ModelEntry(
        "google/gemma-2-2b",
        "c5ebcd40d208330abc697524c919956e692655cf",
        "Gemma terms",
        gated=True,
        published=published.GEMMA_2_2B,
    ),
    "gemma-2-2b-it": ModelEntry(
        "google/gemma-2-2b-it",
        "299a8560bedf22ed1c72a8a11e7dce4a7f9f51f8",
        "Gemma terms",
        gated=True,
        published=published.GEMMA_2_2B,
    ),
    "mistral-7b": ModelEntry(
        "mistralai/Mistral-7B-v0.1",
        "27d67f1b5f57dc0953326b2601d68371d40ea8da",
        "Apache-2.0",
        published=published.MISTRAL_7B,
    ),
    "mistral-7b-instruct": ModelEntry(
        "mistralai/Mistral-7B-Instruct-v0.2",
        "3ad372fc79158a2148299e3318516c786aeded6c",
        "Apache-2.0",
        published=published.MISTRAL_7B_INSTRUCT,
    ),
    "demo": ModelEntry("", "", "Apache-2.0"),
}

DEMO_FOLDER = Path(__file__).parent / "demo_model"


@dataclass(frozen=True)
class ModelSource:
    """Where a model is read from. `name` is safe as a part of a file name."""

    name: str
    path_or_id: str
    revision: str | None
    local: bool
    licence: str | None = None
    gated: bool = False


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or "model"


def _refuse_links(folder: Path) -> None:
    """Raises ModelError where a link leads out of the folder; the hub's cache links to its blobs."""
    home = folder.resolve()
    allowed = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    for file in sorted(folder.iterdir()):
        if file.is_symlink() and not any(file.resolve().is_relative_to(path) for path in allowed):
            do = "Put the file itself there, or name the folder where it is."
            raise ModelError(str(file), "is a link that leads out of the model's folder.", do=do)


def _from_folder(folder: Path, name: str, weights: bool = True) -> ModelSource:
    """A folder as a source, checked by its file names. Raises: ModelError if no safe model is there."""
    if (folder / "adapter_config.json").is_file():
        do = "Merge it into its base model (peft: merge_and_unload, save_pretrained) and name that folder."
        raise ModelError(str(folder), "holds an adapter, not a whole model.", do=do)
    if not (folder / "config.json").is_file():
        do = "Name the folder that save_pretrained wrote, a hub id, or one of: " + ", ".join(MODELS) + "."
        raise ModelError(str(folder), "holds no config.json, so it is not a model's folder.", do=do)
    _refuse_links(folder)
    names = [file.name for file in folder.iterdir() if file.is_file()]
    if weights and not any(file.endswith(".safetensors") for file in names):
        pickles = sorted(file for file in names if file.endswith(PICKLES))
        if pickles:
            problem = f"holds its weights only as {pickles[0]}, a format that can run code when it is read."
            do = (
                "If you trust the file, convert it once: AutoModel.from_pretrained(folder)"
                ".save_pretrained(new_folder), with the class the model was trained as."
            )
            raise ModelError(str(folder), problem, "Weights are read from .safetensors files.", do)
        raise ModelError(str(folder), "holds no weights.", do="It must hold model.safetensors or its shards.")
    return ModelSource(name=_safe(name), path_or_id=str(folder), revision=None, local=True)


def resolve_model(name_or_id_or_folder: str | Path, weights: bool = True) -> ModelSource:
    """A short name, a hub id ("owner/name", "owner/name@revision") or a folder, as a source.

    Without `weights` a folder needs none, and a configuration file is a source too. Downloads nothing.

    Raises: ModelError where it is none of the three, or the folder has no usable model.
    """
    name = str(name_or_id_or_folder).strip()
    if name == "demo":
        return _from_folder(DEMO_FOLDER, "demo")
    short, _, other_revision = name.partition("@")
    if short in MODELS and short != "demo":
        entry = MODELS[short]
        revision = other_revision or entry.revision
        return ModelSource(short, entry.hub_id, revision, False, entry.licence, entry.gated)
    folder = Path(name).expanduser()
    if name and os.path.isdir(folder):  # False where Path would raise: for what is not a path
        return _from_folder(folder, folder.resolve().name, weights)
    if name and os.path.isfile(folder):
        if not weights:
            stem = folder.resolve().parent.name if folder.name == "config.json" else folder.stem
            return ModelSource(_safe(stem), str(folder), None, True)
        raise ModelError(name, "is a file.", do="Name the folder that holds config.json.")
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match and not name.startswith((".", "/", "~")) and ".." not in name:
        hub_id, revision = match.groups()
        return ModelSource(_safe(hub_id.split("/")[1]), hub_id, revision or "main", False)
    problem = f"{name!r} is not a known name, a hub id (owner/name) or a folder."
    raise ModelError("model", problem, did_you_mean(name, MODELS))


def published_config(source: ModelSource) -> PublishedConfig | None:
    """The published configuration of a model in the catalog; None for another model or revision."""
    for entry in MODELS.values():
        if not source.local and entry.hub_id == source.path_or_id:
            return entry.published if source.revision in ("main", entry.revision) else None
    return None
