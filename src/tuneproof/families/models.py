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


GATED_LICENCES = ("Gemma terms", "Llama 3.2 Community Licence")
CONVERT = (
    "If you trust the file, convert it once: AutoModel.from_pretrained({path}).save_pretrained(new_folder), "
    "with the class the model was trained as, and the tokenizer likewise."
)


@dataclass(frozen=True)
class ModelEntry:
    """One entry of the catalog: hub id, revision, licence.

    revision: the pinned commit; None: not pinned, the hub's main branch. pickled: its weights are a pickle
    there, which is never read. `published`: what its config.json says, so that it can be counted offline.
    """

    hub_id: str
    revision: str | None
    licence: str
    pickled: bool = False
    published: PublishedConfig | None = None

    @property
    def gated(self) -> bool:
        """Whether the hub requires consent to the licence."""
        return self.licence in GATED_LICENCES


# name, hub id, revision (-: not pinned), licence; *: the weights are a pickle
_TABLE = """
distilbert            distilbert/distilbert-base-uncased   12040accade4e8a0f71eabdb258fecc2e7e948be  apache
bert                  google-bert/bert-base-uncased        86b5e0934494bd15c9632b12f734a8a67f723594  apache
minilm                nreimers/MiniLM-L6-H384-uncased      3276f0fac9d818781d7a1327b3ff818fc4e643c0  mit
roberta-base          FacebookAI/roberta-base              e2da8e2f811d1448a5b465c236feacd80ffbac7b  mit
deberta-v3-small      microsoft/deberta-v3-small           a36c739020e01763fe789b4b85e2df55d6180012  mit *
deberta-v3-base       microsoft/deberta-v3-base            8ccc9b6f36199bec6961081d44eb72fb3f7353f3  mit *
modernbert-base       answerdotai/ModernBERT-base          8949b909ec900327062f0ebf497f51aef5e6f0c8  apache
modernbert-large      answerdotai/ModernBERT-large         45bb4654a4d5aaff24dd11d4781fa46d39bf8c13  apache
ettin-encoder-17m     jhu-clsp/ettin-encoder-17m           987607455c61e7a5bbc85f7758e0512ea6d0ae4c  mit *
ettin-encoder-32m     jhu-clsp/ettin-encoder-32m           1b8ba06455dd44f80fc9c1ca9e22806157a57379  mit *
ettin-encoder-68m     jhu-clsp/ettin-encoder-68m           ac19ae4bc51093b31c475665ac872a936d056cc2  mit *
ettin-encoder-150m    jhu-clsp/ettin-encoder-150m          45d08642849e5c5701b162671ac811b7654bfd9f  mit
ettin-encoder-400m    jhu-clsp/ettin-encoder-400m          -                                         mit
ettin-decoder-17m     jhu-clsp/ettin-decoder-17m           -                                         mit
ettin-decoder-32m     jhu-clsp/ettin-decoder-32m           -                                         mit
ettin-decoder-68m     jhu-clsp/ettin-decoder-68m           -                                         mit
ettin-decoder-150m    jhu-clsp/ettin-decoder-150m          -                                         mit
ettin-decoder-400m    jhu-clsp/ettin-decoder-400m          -                                         mit
smollm2-135m          HuggingFaceTB/SmolLM2-135M           93efa2f097d58c2a74874c7e644dbc9b0cee75a2  apache
smollm2-360m          HuggingFaceTB/SmolLM2-360M           f8027fd0eaeea54caa13c31d31b9fdc459c38b49  apache
qwen3-0.6b            Qwen/Qwen3-0.6B                      c1899de289a04d12100db370d81485cdf75e47ca  apache
qwen3-1.7b            Qwen/Qwen3-1.7B                      70d244cc86ccca08cf5af4e1e306ecf908b1ad5e  apache
llama-3.2-1b          meta-llama/Llama-3.2-1B              4e20de362430cd3b72f300e6b0f18e50e7166e08  llama
llama-3.2-1b-instruct meta-llama/Llama-3.2-1B-Instruct     9213176726f574b556790deb65791e0c5aa438b6  llama
gemma-2b              google/gemma-2b                      9cf48e52b224239de00d483ec8eb84fb8d0f3a3a  gemma
gemma-2-2b            google/gemma-2-2b                    c5ebcd40d208330abc697524c919956e692655cf  gemma
gemma-2-2b-it         google/gemma-2-2b-it                 299a8560bedf22ed1c72a8a11e7dce4a7f9f51f8  gemma
gemma-3-270m          google/gemma-3-270m                  9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1  gemma
gemma-3-270m-it       google/gemma-3-270m-it               ac82b4e820549b854eebf28ce6dedaf9fdfa17b3  gemma
gemma-3-1b            google/gemma-3-1b-pt                 fcf18a2a879aab110ca39f8bffbccd5d49d8eb29  gemma
gemma-3-1b-it         google/gemma-3-1b-it                 dcc83ea841ab6100d6b47a070329e1ba4cf78752  gemma
mistral-7b            mistralai/Mistral-7B-v0.1            27d67f1b5f57dc0953326b2601d68371d40ea8da  apache
mistral-7b-instruct   mistralai/Mistral-7B-Instruct-v0.2   3ad372fc79158a2148299e3318516c786aeded6c  apache
"""
_LICENCES = {"apache": "Apache-2.0", "mit": "MIT", "gemma": GATED_LICENCES[0], "llama": GATED_LICENCES[1]}


def _catalog() -> dict[str, ModelEntry]:
    entries = {}
    for line in _TABLE.strip().splitlines():
        name, hub_id, revision, licence, *pickle = line.split()
        pinned = None if revision == "-" else revision
        entries[name] = ModelEntry(hub_id, pinned, _LICENCES[licence], bool(pickle), published.CONFIGS[name])
    return {**entries, "demo": ModelEntry("", None, "Apache-2.0")}


MODELS = _catalog()

ADAPTER_CONFIG = "adapter_config.json"
DEMO_FOLDER = Path(__file__).parent / "demo_model"


@dataclass(frozen=True)
class ModelSource:
    """Where a model is read from. `name` is safe as a part of a file name.

    revision: None for a folder, and for an entry of the catalog that is not pinned.
    """

    name: str
    path_or_id: str
    revision: str | None
    local: bool
    licence: str | None = None
    gated: bool = False


def safe_name(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or "model"


def _refuse_links(folder: Path) -> None:
    """Raises ModelError where a link leads out of the folder; the hub's cache links to its blobs."""
    home = folder.resolve()
    allowed = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    for file in sorted(folder.iterdir()):
        if file.is_symlink() and not any(file.resolve().is_relative_to(path) for path in allowed):
            do = "Put the file itself there, or name the folder where it is."
            raise ModelError(str(file), "is a link that leads out of the model's folder.", do=do)


def holds_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no whole model beside it."""
    has_model = (folder / "config.json").is_file() and any(folder.glob("model*.safetensors"))
    return (folder / ADAPTER_CONFIG).is_file() and not has_model


def _from_folder(folder: Path, name: str, weights: bool = True) -> ModelSource:
    """A folder as a source, checked by its file names. Raises: ModelError if no safe model is there."""
    if (folder / ADAPTER_CONFIG).is_file():
        if not holds_adapter(folder):
            do = f"If the adapter is merged into the model, take {ADAPTER_CONFIG} out of the folder."
            raise ModelError(str(folder), "holds a whole model and an adapter beside it.", do=do)
        do = "Evaluate it as it is with the method tuned-model, or merge it into its base (merge_and_unload)."
        raise ModelError(str(folder), "holds an adapter, not a whole model.", do=do)
    if not (folder / "config.json").is_file():
        do = "Name the folder that save_pretrained wrote, a hub id, or a name of `tuneproof show models`."
        raise ModelError(str(folder), "holds no config.json, so it is not a model's folder.", do=do)
    _refuse_links(folder)
    names = [file.name for file in folder.iterdir() if file.is_file()]
    if weights and not any(file.endswith(".safetensors") for file in names):
        pickles = sorted(file for file in names if file.endswith(PICKLES))
        if pickles:
            problem = f"holds its weights only as {pickles[0]}, a format that can run code when it is read."
            do = CONVERT.format(path="folder")
            raise ModelError(str(folder), problem, "Weights are read from .safetensors files.", do)
        raise ModelError(str(folder), "holds no weights.", do="It must hold model.safetensors or its shards.")
    return ModelSource(name=safe_name(name), path_or_id=str(folder), revision=None, local=True)


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
            return ModelSource(safe_name(stem), str(folder), None, True)
        raise ModelError(name, "is a file.", do="Name the folder that holds config.json.")
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match and not name.startswith((".", "/", "~")) and ".." not in name:
        hub_id, revision = match.groups()
        return ModelSource(safe_name(hub_id.split("/")[1]), hub_id, revision or "main", False)
    problem = f"{name!r} is not a known name, a hub id (owner/name) or a folder."
    raise ModelError("model", problem, did_you_mean(name, MODELS))


def published_config(source: ModelSource) -> PublishedConfig | None:
    """The published configuration of a model in the catalog; None for another model or revision."""
    for entry in MODELS.values():
        if not source.local and entry.hub_id == source.path_or_id:
            return entry.published if source.revision in ("main", entry.revision) else None
    return None
