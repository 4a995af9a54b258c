"""Bad models and devices, and the error that each gets."""

import importlib.metadata

import pytest

from tests.errors.case import OWN, Before, Case, Parts, meaning, offline
from tuneproof.families.models import MODELS as KNOWN_MODELS

MODEL_NAMES = ", ".join(KNOWN_MODELS)


def no_compiler(patch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    patch.setattr(cpp_builder, "get_cpp_compiler", none_found)


def old_torch(patch: pytest.MonkeyPatch) -> None:
    """torch is older than the first that shards weights as it must."""
    installed = importlib.metadata.version
    patch.setattr("importlib.metadata.version", lambda name: "2.7.1" if name == "torch" else installed(name))


def no_bitsandbytes(patch: pytest.MonkeyPatch) -> None:
    """bitsandbytes is not installed."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    patch.setattr("importlib.metadata.version", version)


def old_bitsandbytes(patch: pytest.MonkeyPatch) -> None:
    """bitsandbytes is installed, from before it packed on a CPU."""
    patch.setattr("importlib.metadata.version", lambda name: "0.45.5")


def run(name: str, method: str, parts: Parts, *more: str, code: int = 2, before: Before = None) -> Case:
    """`run` of good rows with this model."""
    argv = [
        "run",
        "reviews.csv",
        *OWN,
        "--models",
        name,
        "--arms",
        method,
        "--quiet",
        "--out",
        "study",
        *more,
    ]
    return Case(argv, parts, code, before=before)


def model(name: str, parts: Parts, *more: str, method: str = "head", before: Before = None) -> Case:
    """`check` of good rows with this model."""
    argv = ["check", "reviews.csv", *OWN, "--models", name, "--arms", method, *more]
    return Case(argv, parts, before=before)


MODELS = {
    "unknown model": model(
        "distilbrt",
        Parts(
            "model",
            "'distilbrt' is not a known name, a hub id (owner/name) or a folder.",
            allowed="Did you mean distilbert?",
        ),
    ),
    "hub": model(
        "models/nowhere",
        Parts(
            "models/nowhere",
            "is not on this machine and could not be downloaded (LocalEntryNotFoundError).",
            do="Connect to the network, or name a folder that holds the model.",
        ),
        before=offline,
    ),
    "missing folder": model(
        "./models/nowhere",
        Parts(
            "model",
            "'./models/nowhere' is not a known name, a hub id (owner/name) or a folder.",
            allowed=f"Allowed: {MODEL_NAMES}.",
        ),
    ),
    "empty name": model(
        "",
        Parts(
            "command line",
            "the arm head needs a model, but models is empty.",
            do="Add models: [distilbert] to the recipe, or --models distilbert.",
        ),
    ),
    "file": model(
        "reviews.csv", Parts("reviews.csv", "is a file.", do="Name the folder that holds config.json.")
    ),
    "no config": model(
        "models/none",
        Parts(
            "models/none",
            "holds no config.json, so it is not a model's folder.",
            do="Name the folder that save_pretrained wrote, a hub id, or a name of `tuneproof show models`.",
        ),
    ),
    "pickle weights": model(
        "models/pickled",
        Parts(
            "models/pickled",
            "holds its weights only as pytorch_model.bin, a format that can run code when it is read.",
            allowed="Weights are read from .safetensors files.",
            do="If you trust the file, convert it once: "
            "AutoModel.from_pretrained(folder).save_pretrained(new_folder), with the class the "
            "model was trained as, and the tokenizer likewise.",
        ),
    ),
    "no weights": model(
        "models/weightless",
        Parts("models/weightless", "holds no weights.", do="It must hold model.safetensors or its shards."),
    ),
    "adapter": model(
        "models/adapter",
        Parts(
            "models/adapter",
            "holds a whole model and an adapter beside it.",
            do="If the adapter is merged into the model, take adapter_config.json out of the folder.",
        ),
    ),
    "broken config": model("models/broken", Parts("models/broken/config.json", "is not JSON: <library>.")),
    "list config": model("models/list", Parts("models/list/config.json", "is not a JSON object.")),
    "unknown type": model(
        "models/strange",
        Parts(
            "models/strange/config.json",
            'model_type "lama" is not an architecture that transformers has.',
            allowed="The checkpoint's own code is never run.",
            do="Name another model.",
        ),
    ),
    "no type": model(
        "models/typeless",
        Parts(
            "models/typeless/config.json",
            "model_type null is not an architecture that transformers has.",
            allowed="The checkpoint's own code is never run.",
            do="Name another model.",
        ),
    ),
    "misfit": model(
        "models/misfit",
        Parts("models/misfit/config.json", "hidden_size is 'wide'; it must be a whole number."),
    ),
    "weights of another size": run(
        "models/badshape",
        "head",
        Parts(
            "study",
            "1 of 1 arms failed: badshape head. The first error: models/badshape: 20 of the "
            "model's weights are missing or have another size, embed_tokens.weight first. The "
            "checkpoint is incomplete or does not match its config.json; download it again.",
            do="The report gives each reason; the same command tries these arms again.",
        ),
        code=1,
    ),
    "seq2seq": model(
        "models/t5",
        Parts(
            "model",
            "the architecture t5 is neither a causal nor a masked language model.",
            allowed="Models that continue a text or fill in a mask can be used.",
            do="Name another one.",
        ),
    ),
    "no tokenizer": model(
        "models/mute",
        Parts(
            "models/mute",
            "has no tokenizer.",
            allowed="One of tokenizer.json, vocab.txt, vocab.json, tokenizer.model, spiece.model, spm.model, "
            "sentencepiece.bpe.model, sentencepiece.model, tekken.json must exist.",
            do="Save the tokenizer that the model was trained with into the model's folder.",
        ),
    ),
    "other tokenizer": model(
        "models/swapped",
        Parts(
            "swapped",
            "the tokenizer is another model's: it has <library>.",
            do="Put the files of the tokenizer that the model was trained with into its folder.",
        ),
    ),
    "broken tokenizer": model(
        "models/badtok", Parts("models/badtok", "its tokenizer cannot be read: <library>.")
    ),
    "broken weights": model(
        "models/badweights", Parts("models/badweights/model.safetensors", "cannot be read: <library>.")
    ),
    "headless zero": model(
        "models/minilm",
        Parts(
            "arms: zero-shot",
            "minilm has no language-model head in its checkpoint: it would be random, and the "
            "output of a random head is not zero-shot. Use head, lora or full.",
        ),
        method="zero-shot",
    ),
    "encoder words": model(
        "models/distilbert",
        Parts("arms: lora", "distilbert is an encoder: it continues no words. Use objective: head."),
        "--set",
        "arms=[{lora: {objective: words}}]",
    ),
    "encoder few": model(
        "models/distilbert",
        Parts("arms: few-shot", "distilbert is an encoder: it takes no examples in a prompt. Use zero-shot."),
        method="few-shot",
    ),
    "encoder generate": model(
        "models/distilbert",
        Parts("arms: zero-shot", "distilbert is an encoder: it generates no text. Use scoring: likelihood."),
        "--set",
        "arms=[{zero-shot: {scoring: generate}}]",
    ),
    "encoder last": model(
        "models/distilbert",
        Parts("arms: head", "distilbert is an encoder: pool first or mean."),
        "--set",
        "arms=[{head: {pooling: last}}]",
    ),
    "decoder first": model(
        "models/llama",
        Parts("arms: head", "llama is a decoder: its first token has read nothing. Pool last or mean."),
        "--set",
        "arms=[{head: {pooling: first}}]",
    ),
    "prompt too long": model(
        "models/llama",
        Parts(
            "encode.max_length",
            "16 tokens are too few: the prompt without its text has <library>",
            do="<library>, shorten the prompt, or use fewer shots.",
        ),
        "--set",
        "encode.max_length=16",
        method="few-shot",
    ),
    "head too short": model(
        "models/llama",
        Parts(
            "--set encode.max_length=2",
            "encode.max_length is 2; it should be greater than or equal to 8.",
            do=meaning("encode.max_length"),
        ),
        "--set",
        "encode.max_length=2",
    ),
    "cloze words": model(
        "models/distilbert",
        Parts(
            "arms: zero-shot",
            'cloze words: "abominable" (<library> tokens) cannot replace the mask. A word there '
            "must be one token of the model's vocabulary. Choose shorter or more common words.",
        ),
        "--set",
        "task.labels.labels=[negative, positive]",
        "--set",
        "task.words=[abominable, positive]",
        method="zero-shot",
    ),
    "same words": model(
        "models/llama",
        Parts(
            "label words",
            '"goodness" begins with "good", so it could never score higher.',
            do="Give the labels different words.",
        ),
        "--set",
        "task.labels.labels=[negative, positive]",
        "--set",
        "task.words=['good', 'goodness']",
        method="zero-shot",
    ),
    "two models one name": model(
        "models/llama,models/llama",
        Parts("models", "two models are called llama.", do="Give one a name: {FOLDER: {name: ...}}."),
    ),
    "cuda": run(
        "models/llama",
        "head",
        Parts(
            "compute.device",
            "cuda is requested, but torch sees no CUDA device.",
            do="Write compute: {device: auto}.",
        ),
        "--set",
        "compute.device=cuda",
    ),
    "mps": run(
        "models/llama",
        "head",
        Parts(
            "compute.device",
            "mps is requested, but torch sees no such device.",
            do="Write compute: {device: auto}.",
        ),
        "--set",
        "compute.device=mps",
    ),
    "no bitsandbytes": model(
        "models/llama",
        Parts(
            "arms: qlora",
            "it holds the base in 4 bits through bitsandbytes, which is not installed.",
            do="Install it with `pip install 'tuneproof[qlora]'`, or use lora.",
        ),
        method="qlora",
        before=no_bitsandbytes,
    ),
    "old bitsandbytes": model(
        "models/llama",
        Parts(
            "arms: qlora",
            "bitsandbytes is 0.45.5, older than 0.46.1.",
            do="Upgrade it with `pip install -U 'tuneproof[qlora]'`, or use lora.",
        ),
        method="qlora",
        before=old_bitsandbytes,
    ),
    "packed pissa": model(
        "models/llama",
        Parts(
            "command line",
            "arms[0].qlora.variant is 'pissa'; it should be 'none', 'rslora' or 'dora'.",
            do=meaning("arms.qlora.variant"),
        ),
        "--set",
        "arms=[{qlora: {variant: pissa}}]",
    ),
    "fp16": run(
        "models/llama",
        "head",
        Parts(
            "compute.precision",
            "fp16 is requested on a CPU, which cannot train in it.",
            do="Write bf16, fp32 or auto.",
        ),
        "--set",
        "compute.precision=fp16",
    ),
    "fp16 shared out": run(
        "models/llama",
        "head",
        Parts(
            "compute.precision",
            "fp16 cannot be combined with compute.parallel: fsdp: the shards have no common loss scale.",
            do="Write bf16 or fp32, or compute: {parallel: ddp}.",
        ),
        "--set",
        "compute.parallel=fsdp",
        "--set",
        "compute.precision=fp16",
    ),
    "no compiler": run(
        "models/llama",
        "full",
        Parts(
            "compute.compile",
            "is true, but torch reports: <library>.",
            allowed="It needs a C++ compiler and Python's headers on a CPU, and also Triton on a CUDA "
            "device.",
            do="Install g++ or set CXX to a compiler, or write compute: {compile: false} to train "
            "without it.",
        ),
        "--set",
        "compute.compile=true",
        before=no_compiler,
        code=1,
    ),
    "an old torch shared out": run(
        "models/llama",
        "full",
        Parts(
            "compute.parallel",
            "fsdp needs torch 2.8 or newer, and this is 2.7.1.",
            do="Upgrade it with `pip install -U torch`, or write compute: {parallel: ddp}.",
        ),
        "--set",
        "compute.parallel=fsdp",
        before=old_torch,
    ),
    "packed weights shared out": run(
        "models/llama",
        "qlora",
        Parts(
            "arms: qlora",
            "quantises its weights, which compute.parallel: fsdp cannot shard.",
            do="Write compute: {parallel: ddp}, or use lora.",
        ),
        "--set",
        "compute.parallel=fsdp",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_model_gets_its_error(name, provoke):
    provoke(MODELS[name])
