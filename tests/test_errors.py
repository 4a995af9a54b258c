"""A table of bad inputs: what is typed, the exit code, and the exact paragraph that answers it."""

import errno
import gzip
import importlib.metadata
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tiny_models import tiny_config, tiny_model, tiny_tokenizer
from tuneproof.cli.main import main

ROWS = [
    f"{word} {thing} number {number},{label}"
    for number in range(10)
    for word, label in (("lovely", "positive"), ("dreadful", "negative"))
    for thing in ("film", "plot")
]
GOOD = "review,sentiment\n" + "\n".join(ROWS) + "\n"
TASK = "task: {labels: {path: reviews.csv, text: review, label: sentiment}}\n"
OWN = ["--text", "review", "--label", "sentiment"]
RECIPE = ["check", "recipe.yaml"]
Before = Callable[[pytest.MonkeyPatch], None] | None


@dataclass(frozen=True)
class Case:
    """Words for the command line, the files that lie in the folder, and what must come back."""

    words: list[str]
    sentence: str
    code: int = 2
    files: dict[str, str | bytes] = field(default_factory=dict)
    before: Before = None
    first: list[list[str]] = field(default_factory=list)


def recipe(text: str | bytes, sentence: str, *more: str, code: int = 2) -> Case:
    """`check` of a recipe with this text."""
    return Case([*RECIPE, *more], sentence, code, {"recipe.yaml": text})


def arms(text: str, sentence: str, *more: str) -> Case:
    """`check` of a good recipe but for its arms and what follows them; arms stand on line 2."""
    return recipe(f"{TASK}arms: {text}\n", sentence, *more)


def rows(text: str | bytes, sentence: str, *more: str, name: str = "own.csv") -> Case:
    """`check` of an own file with this text."""
    return Case(["check", name, *OWN, "--arms", "majority", *more], sentence, files={name: text})


def model(name: str, sentence: str, *more: str, method: str = "head", before: Before = None) -> Case:
    """`check` of good rows with this model."""
    words = ["check", "reviews.csv", *OWN, "--model", name, "--arms", method, *more]
    return Case(words, sentence, before=before)


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Nothing can be put into place."""

    def replace(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "replace", replace)


def late_full_disk(patch: pytest.MonkeyPatch) -> None:
    """The disk is full when the predictions come."""
    real = os.replace

    def replace(source: str, target: str) -> None:
        if str(target).endswith("predictions.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    patch.setattr(os, "replace", replace)


def no_compiler(patch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none_found() -> str:
        raise InvalidCxxCompiler

    patch.setattr(cpp_builder, "get_cpp_compiler", none_found)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """No folder can be made."""

    def mkdir(self: Path, *more: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(Path, "mkdir", mkdir)


def offline(patch: pytest.MonkeyPatch) -> None:
    """No network."""
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def no_bitsandbytes(patch: pytest.MonkeyPatch) -> None:
    """bitsandbytes is not installed."""

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    patch.setattr("importlib.metadata.version", version)


def old_bitsandbytes(patch: pytest.MonkeyPatch) -> None:
    """bitsandbytes is installed, from before it packed on a CPU."""
    patch.setattr("importlib.metadata.version", lambda name: "0.45.5")


def break_recipe(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the recipe of a finished study."""
    Path("one/recipe.yaml").write_text("task: [")


def break_predictions(patch: pytest.MonkeyPatch) -> None:
    """Somebody edits the predictions of a finished study."""
    Path("one/arms/majority/predictions.parquet").write_text("task: [")


RECIPES = {
    "missing recipe": Case(
        ["check", "nowhere.yaml"],
        "nowhere.yaml: is not there. Name a recipe (.yaml), a task, or your own file.",
    ),
    "folder as recipe": Case(
        ["check", "folder.yaml"],
        "folder.yaml: is a folder, not a recipe. Name a .yaml file.",
        files={"folder.yaml/x": ""},
    ),
    "binary recipe": recipe(b"task: \x00\x01\x02", "recipe.yaml: holds a zero byte: this is no text file."),
    "recipe in another encoding": recipe(
        "task: caf\u00e9".encode("latin-1"), "recipe.yaml: is not UTF-8 text (byte 9)."
    ),
    "recipe in utf-16": recipe("task: sst2".encode("utf-16"), "recipe.yaml: is not UTF-8 text (byte 0)."),
    "not YAML": recipe(
        "task: sst2\narms: [majority\nseeds: [0]\n",
        "recipe.yaml, line 3: is not YAML: expected ',' or ']', but got ':'. Mend the line.",
    ),
    "tab": recipe(
        "task: sst2\narms:\n\t- majority\n",
        "recipe.yaml, line 3: is not YAML: found character '\\t' that cannot start any token. Mend the line.",
    ),
    "key twice": recipe(
        "task: sst2\narms: [majority]\ntask: imdb\n",
        'recipe.yaml, line 3: is not YAML: found duplicate key "task" with value '
        '"imdb" (original value: "sst2"). Mend the line.',
    ),
    "anchor": recipe(
        "task: &t sst2\narms: [majority]\n", "recipe.yaml, line 1: holds an anchor or alias. Write it out."
    ),
    "alias": recipe("task: sst2\narms: *t\n", "recipe.yaml, line 2: holds an anchor or alias. Write it out."),
    "tag": recipe(
        "task: !!python/object:os.system x\n",
        "recipe.yaml, line 1: holds the tag tag:yaml.org,2002:python/object:os.system. Leave it out.",
    ),
    "deep": recipe("task: " + "[" * 100 + "]" * 100, "recipe.yaml, line 1: is nested deeper than 20 levels."),
    "large": recipe("#" * 1_000_001, "recipe.yaml: is larger than 1,000,000 bytes: no recipe."),
    "empty recipe": recipe("", "recipe.yaml: holds no settings. Begin with task: and arms:."),
    "a list": recipe("- task\n- arms\n", "recipe.yaml: holds no settings. Begin with task: and arms:."),
    "two documents": recipe(
        "task: sst2\n---\narms: [majority]\n",
        "recipe.yaml, line 2: is not YAML: expected a single document in the "
        "stream, but found another document. Mend the line.",
    ),
    "number key": recipe(
        "1: 2\n",
        "recipe.yaml: 1 is not a part of a recipe. Allowed: task, models, arms, "
        "seeds, train_sizes, claim, split, encode, audit, train, predict, score, compute, out.",
    ),
    "unknown key": recipe(
        TASK + "arms: [majority]\nseed: [0]\n",
        "recipe.yaml, line 3: seed is not a part of a recipe. Did you mean seeds?",
    ),
    "no task": recipe("arms: [majority]\n", "recipe.yaml: task is missing. Add task: ... to the recipe."),
    "no arms": recipe(TASK, "recipe.yaml: arms is missing. Add arms: ... to the recipe."),
    "unknown task": recipe(
        "task: sts2\narms: [majority]\n",
        "recipe.yaml, line 1: task: 'sts2' is not a task. Did you mean sst2? "
        "Your own file: labels: {path: FILE, text: COLUMN, label: COLUMN}.",
    ),
    "task list": recipe(
        "task: [sst2]\narms: [majority]\n",
        "recipe.yaml, line 1: task is ['sst2'], not a task. Write its name, or {name: {setting: value}}.",
    ),
    "labels without path": recipe(
        "task: labels\narms: [majority]\n",
        "recipe.yaml, line 1: task.labels: name a file with path, or a data set with hub (one of the two).",
    ),
    "unknown task setting": recipe(
        "task: {sst2: {paht: x}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.sst2.paht is not a setting of sst2. Did you mean path?",
    ),
    "template without text": recipe(
        "task: {labels: {path: reviews.csv, template: hello}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.labels.template is 'hello'; it must hold "
        "{text} once. The prompt around an item; holds {text} once.",
    ),
    "dev without test": recipe(
        "task: {labels: {path: reviews.csv, dev: a.csv}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.labels: dev needs test beside it.",
    ),
    "hub without revision": recipe(
        "task: {labels: {hub: a/b}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.labels: hub needs a revision (the commit), so "
        "that the rows stay the same.",
    ),
    "demo with settings": recipe(
        "task: {demo: {path: x}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.demo.path is not a setting of demo. It has none.",
    ),
    "unknown method": arms(
        "[majority, lexicl]", "recipe.yaml, line 2: arms[1]: 'lexicl' is not a method. Did you mean lexical?"
    ),
    "unknown setting of a method": recipe(
        TASK + "models: [models/llama]\narms:\n  - majority\n  - lexical\n  - zero-shot\n"
        "  - few-shot: {shot: 4}\n",
        "recipe.yaml, line 7: arms[3].few-shot.shot is not a setting of few-shot. Did you mean shots?",
    ),
    "wrong type": arms(
        "[majority, {lexical: {ngrams: two}}]",
        "recipe.yaml, line 2: arms[1].lexical.ngrams is 'two'; it should be a "
        "whole number. Longest word sequence that is a feature.",
    ),
    "out of bounds": arms(
        "[majority, {lexical: {ngrams: 9}}]",
        "recipe.yaml, line 2: arms[1].lexical.ngrams is 9; it should be less "
        "than or equal to 4. Longest word sequence that is a feature.",
    ),
    "layers misspelt": arms(
        "[majority, {lora: {layers: top 2}}]",
        "recipe.yaml, line 2: arms[1].lora.layers is 'top 2'; it should be all, or last N with N from 1, "
        "such as last 4. Which layers train. last N: the upper N and "
        "what follows them; the embeddings and the lower layers stay as they are and are read once an item: "
        "every epoch, evaluation and seed starts from their kept states.",
    ),
    "layers none": arms(
        "[majority, {full: {layers: last 0}}]",
        "recipe.yaml, line 2: arms[1].full.layers is 'last 0'; it should be all, or last N with N from 1, "
        "such as last 4. Which layers train. last N: the upper N and "
        "what follows them; the embeddings and the lower layers stay as they are and are read once an item: "
        "every epoch, evaluation and seed starts from their kept states.",
    ),
    "layers a number": arms(
        "[majority, {full: {layers: 4}}]",
        "recipe.yaml, line 2: arms[1].full.layers is 4; it should be all, or last N with N from 1, "
        "such as last 4. Which layers train. last N: the upper N and "
        "what follows them; the embeddings and the lower layers stay as they are and are read once an item: "
        "every epoch, evaluation and seed starts from their kept states.",
    ),
    "disk no amount": arms(
        "[majority]\ncompute: {disk: auto}",
        "recipe.yaml, line 3: compute.disk is 'auto'; it should be an amount, such as 20GB. Disk that a "
        "study's kept states of frozen layers (layers: last N) may take; where they would take more, these "
        "layers run in every step instead. The result is the same.",
    ),
    "bool for number": arms(
        "[majority, {lexical: {ngrams: true}}]",
        "recipe.yaml, line 2: arms[1].lexical.ngrams is True; it cannot be true "
        "or false. Longest word sequence that is a feature.",
    ),
    "options not a map": arms(
        "[{lexical: 3}]",
        "recipe.yaml, line 2: arms[0].lexical is 3, not settings with names. "
        "Allowed: name, ngrams, strengths.",
    ),
    "arms not a list": arms(
        "majority", "recipe.yaml, line 2: arms is 'majority', not a list. Write arms: [...]."
    ),
    "arms a map": arms(
        "{majority: {}}", "recipe.yaml, line 2: arms is {'majority': {}}, not a list. Write arms: [...]."
    ),
    "arms empty": arms(
        "[]",
        "recipe.yaml, line 2: arms is empty. Allowed: majority, lexical, "
        "zero-shot, few-shot, head, lp-ft, lora, qlora, full.",
    ),
    "arm a number": arms(
        "[3]", "recipe.yaml, line 2: arms[0] is 3, not a method. Write its name, or {name: {setting: value}}."
    ),
    "arm two keys": arms(
        "[{majority: {}, lexical: {}}]",
        "recipe.yaml, line 2: arms[0] is {'majority': {}, 'lexical': {}}, not a "
        "method. Write its name, or {name: {setting: value}}.",
    ),
    "two arms one name": arms(
        "[lexical, {lexical: {ngrams: 1}}]",
        "recipe.yaml, line 2: arms[1]: two arms are called 'lexical'. Give one a "
        "name: {lexical: {name: ...}}.",
    ),
    "claim of no arm": arms(
        "[majority, lexical]\nclaim: {arm: lexicl, over: majority}",
        "recipe.yaml, line 3: claim.arm: 'lexicl' is not an arm of this recipe. Did you mean lexical?",
    ),
    "claim with itself": arms(
        "[majority, lexical]\nclaim: {arm: lexical, over: lexical}",
        "recipe.yaml, line 3: claim compares lexical with itself. Name two arms.",
    ),
    "claim metric": arms(
        "[majority, lexical]\nclaim: {arm: lexical, over: majority, metric: acuracy}",
        "recipe.yaml, line 3: claim.metric: 'acuracy' is not a metric. Did you mean accuracy?",
    ),
    "claim half": arms(
        "[majority, lexical]\nclaim: {arm: lexical}", "recipe.yaml, line 3: claim.over is missing. Add it."
    ),
    "claim word": arms(
        "[majority, lexical]\nclaim: lexical",
        "recipe.yaml, line 3: claim is 'lexical', not settings with names. Allowed: arm, over, metric.",
    ),
    "seeds number": arms(
        "[majority]\nseeds: 3", "recipe.yaml, line 3: seeds is 3, not a list. Write seeds: [...]."
    ),
    "seeds empty": arms(
        "[majority]\nseeds: []",
        "recipe.yaml, line 3: seeds is []: empty, or one twice. Write seeds: [0, 1, 2].",
    ),
    "seeds twice": arms(
        "[majority]\nseeds: [1, 1]",
        "recipe.yaml, line 3: seeds is [1, 1]: empty, or one twice. Write seeds: [0, 1, 2].",
    ),
    "train sizes number": arms(
        "[majority]\ntrain_sizes: 50",
        "recipe.yaml, line 3: train_sizes is 50, not a list. Write train_sizes: [...].",
    ),
    "train sizes of one": arms(
        "[majority]\ntrain_sizes: [1, 20]",
        "recipe.yaml, line 3: train_sizes holds 1. A size is a whole number of items, 2 or more.",
    ),
    "train sizes twice": arms(
        "[majority]\ntrain_sizes: [20, 20]",
        "recipe.yaml, line 3: train_sizes is [20, 20]: one stands there twice. "
        "Write train_sizes: [50, 200, 800].",
    ),
    "train sizes beyond train": Case(
        ["check", "recipe.yaml"],
        "train_sizes: 500 is not a sample of the 28 train items. "
        "Allowed: 2 (an item of each label) to 27. The whole of train is always run.",
        files={"recipe.yaml": f"{TASK}arms: [majority]\ntrain_sizes: [20, 500]\n"},
    ),
    "slices without a column": Case(
        ["check", "reviews.csv", *OWN, "--slices", "sourse", "--arms", "majority"],
        "reviews.csv: there is no column sourse. Name one of its columns with slices: review, sentiment.",
    ),
    "slices twice": Case(
        ["check", "reviews.csv", *OWN, "--slices", "review", "--slices", "review", "--arms", "majority"],
        "command line: task.labels.slices: one stands twice or is empty. "
        "Further columns (source, language, year) by which the report slices the scores.",
    ),
    "seeds negative": arms(
        "[majority]\nseeds: [-1]",
        "recipe.yaml, line 3: seeds holds -1. A seed is a whole number from 0 to 2147483647.",
    ),
    "seeds fraction": arms(
        "[majority]\nseeds: [0.5]",
        "recipe.yaml, line 3: seeds holds 0.5. A seed is a whole number from 0 to 2147483647.",
    ),
    "seeds null": arms(
        "[majority]\nseeds:", "recipe.yaml, line 3: seeds is None, not a list. Write seeds: [...]."
    ),
    "out number": arms("[majority]\nout: 3", "recipe.yaml, line 3: out is 3, not a folder's name."),
    "section wrong": arms(
        "[majority]\ntrain: {lr: 3}",
        "recipe.yaml, line 3: train.lr is not a setting of train. Allowed: "
        "epochs, min_steps, batch_size, micro_batch, group_by_length, schedule, warmup_share, "
        "weight_decay, clip_norm, evals_per_epoch, patience, gradient_checkpointing, "
        "nonfinite, self_test, checkpoint_minutes, trackers.",
    ),
    "section a word": arms(
        "[majority]\ntrain: fast",
        "recipe.yaml, line 3: train is 'fast', not settings with names. Allowed: "
        "epochs, min_steps, batch_size, micro_batch, group_by_length, schedule, warmup_share, "
        "weight_decay, clip_norm, evals_per_epoch, patience, gradient_checkpointing, "
        "nonfinite, self_test, checkpoint_minutes, trackers.",
    ),
    "nan": arms(
        "[majority]\ntrain: {clip_norm: .nan}",
        "recipe.yaml, line 3: train.clip_norm is nan; it should be a finite "
        "number. The gradient's global norm is cut to this (L2).",
    ),
    "inf": arms(
        "[{full: {learning_rate: .inf}}]",
        "recipe.yaml, line 2: arms[0].full.learning_rate is inf; it should be a "
        "finite number. Peak rate of AdamW (Devlin et al. 2019: 2e-5 to 5e-5).",
    ),
    "literal": arms(
        "[majority]\ntrain: {schedule: liner}",
        "recipe.yaml, line 3: train.schedule is 'liner'; it should be 'linear', "
        "'cosine' or 'constant'. The learning rate after the warm-up: to zero, "
        "or constant.",
    ),
    "shares neg": arms(
        "[majority]\nsplit: {shares: [80, -20]}",
        "split.shares: 80:-20 has a share that is not above zero. Write [70, 10, 20].",
    ),
    "shares four": arms(
        "[majority]\nsplit: {shares: [1, 1, 1, 1]}",
        "recipe.yaml, line 3: split.shares is [1, 1, 1, 1]; it should have at "
        "most 3 entries. train:test, or train:dev:test; any positive numbers, "
        "taken as proportions. With two, dev is cut from train by `dev_share`.",
    ),
    "shares inf": arms(
        "[majority]\nsplit: {shares: [.inf, 1]}",
        "recipe.yaml, line 3: split.shares[0] is inf; it should be a finite "
        "number. train:test, or train:dev:test; any positive numbers, taken as "
        "proportions. With two, dev is cut from train by `dev_share`.",
    ),
    "shares word": arms(
        "[majority]\nsplit: {shares: '80:20'}",
        "recipe.yaml, line 3: split.shares is '80:20'; it should be a list. "
        "train:test, or train:dev:test; any positive numbers, taken as "
        "proportions. With two, dev is cut from train by `dev_share`.",
    ),
    "official without test": arms(
        "[majority]\nsplit: {kind: official}",
        "split.kind: official, but the source has no test part. Set split.kind: shares, or name a test file.",
    ),
    "train size 1": arms(
        "[majority]\nsplit: {train_size: 1}",
        "recipe.yaml, line 3: split.train_size is 1; it should be greater than "
        "or equal to 2. Train on at most this many items, drawn stratified by "
        "label.",
    ),
    "train size word": arms(
        "[majority]\nsplit: {train_size: all}",
        "recipe.yaml, line 3: split.train_size is 'all'; it should be a whole "
        "number. Train on at most this many items, drawn stratified by label.",
    ),
    "set form": arms(
        "[majority]",
        "--set train.epochs: is not of the form a.b=c. Write --set split.seed=1.",
        "--set",
        "train.epochs",
    ),
    "set empty": arms(
        "[majority]", "--set =3: is not of the form a.b=c. Write --set split.seed=1.", "--set", "=3"
    ),
    "set nowhere": arms(
        "[majority]",
        "--set arms.lora.rank=3: there is no entry lora. Allowed: majority.",
        "--set",
        "arms.lora.rank=3",
    ),
    "set below a scalar": arms(
        "[majority]", "recipe.yaml: out is {'a': {'b': 3}}, not a folder's name.", "--set", "out.a.b=3"
    ),
    "set unknown": arms(
        "[majority]",
        "--set train.epoch=3: train.epoch is not a setting of train. Did you mean epochs?",
        "--set",
        "train.epoch=3",
    ),
    "set bad yaml": arms(
        "[majority]",
        "--set arms=[a, line 1: is not YAML: expected ',' or ']', but got '<stream end>'. Mend the line.",
        "--set",
        "arms=[a",
    ),
    "set value": arms(
        "[majority]",
        "--set train.epochs=0: train.epochs is 0; it should be greater than or "
        "equal to 1. Passes over train.",
        "--set",
        "train.epochs=0",
    ),
    "set dots": arms(
        "[majority]",
        "recipe.yaml: train. is not a setting of train. Allowed: epochs, "
        "min_steps, batch_size, micro_batch, group_by_length, schedule, warmup_share, weight_decay, "
        "clip_norm, evals_per_epoch, patience, gradient_checkpointing, "
        "nonfinite, self_test, checkpoint_minutes, trackers.",
        "--set",
        "train..epochs=0",
    ),
    "no model": arms(
        "[majority, head]",
        "recipe.yaml, line 2: the arm head needs a model and models is empty. "
        "Write models: [distilbert], a hub id or a local folder.",
    ),
    "models word": arms(
        "[head]\nmodels: distilbert",
        "recipe.yaml, line 3: models is 'distilbert', not a list. Write models: [...].",
    ),
    "models setting": arms(
        "[head]\nmodels: [{models/bert: {revison: x}}]",
        "recipe.yaml, line 3: models[0].revison is not a setting of models. Did you mean revision?",
    ),
    "models null": arms(
        "[head]\nmodels: [null]",
        "recipe.yaml, line 3: models[0] is None, not a model. Write its name, or {name: {setting: value}}.",
    ),
    "recipe and arms": Case(
        ["run", "recipe.yaml", "--arms", "majority"],
        "recipe.yaml: is a recipe, and --arms is given beside it. Change the "
        "recipe, or one of its settings with --set.",
        files={"recipe.yaml": "task: sst2\n"},
    ),
    "recipe and text": Case(
        ["run", "recipe.yaml", "--text", "a"],
        "recipe.yaml: is a recipe, and --text is given beside it. Change the "
        "recipe, or one of its settings with --set.",
        files={"recipe.yaml": "task: sst2\n"},
    ),
}
WORDS = {
    "unknown command": Case(
        ["train"], "argument COMMAND: invalid choice: 'train' <library>. See tuneproof --help."
    ),
    "unknown option": Case(
        ["run", "--fast"],
        "run: the following arguments are required: RECIPE|TASK|FILE. See tuneproof run --help.",
    ),
    "no recipe": Case(
        ["run"], "run: the following arguments are required: RECIPE|TASK|FILE. See tuneproof run --help."
    ),
    "not a thing": Case(
        ["check", "ssst2", "--arms", "majority"],
        "ssst2: is not a recipe (.yaml), a task, or a file that is there. Did you mean sst2?",
    ),
    "labels as task": Case(
        ["check", "labels", "--arms", "majority"],
        "labels: is not a recipe (.yaml), a task, or a file that is there. "
        "Allowed: sst2, imdb, squad_v2, demo.",
    ),
    "task with own": Case(
        ["check", "demo", "--text", "a", "--arms", "majority"],
        "--text: belongs to your own file, not to a task.",
    ),
    "own without text": Case(
        ["check", "reviews.csv", "--arms", "majority"],
        "reviews.csv: which column holds the text is not said. Add --text COLUMN.",
    ),
    "own without label": Case(
        ["check", "reviews.csv", "--text", "review", "--arms", "majority"],
        "reviews.csv: which column holds the label is not said. Add --label COLUMN.",
    ),
    "own without arms": Case(
        ["check", "reviews.csv", *OWN],
        "--arms: is missing. Write --arms majority,lexical,head (see `tuneproof show methods`).",
    ),
    "own arms empty": Case(
        ["check", "reviews.csv", *OWN, "--arms", ","],
        "command line: arms is empty. Allowed: majority, lexical, zero-shot, "
        "few-shot, head, lp-ft, lora, qlora, full.",
    ),
    "own seeds": Case(
        ["check", "reviews.csv", *OWN, "--arms", "majority", "--seeds", "a"],
        "command line: seeds holds 'a'. A seed is a whole number from 0 to 2147483647.",
    ),
    "own seeds yaml": Case(
        ["check", "reviews.csv", *OWN, "--arms", "majority", "--seeds", "[,"],
        "--seeds, line 1: is not YAML: expected the node content, but found '<stream end>'. Mend the line.",
    ),
    "folder": Case(
        ["check", "folder", *OWN, "--arms", "majority"],
        "folder: is a folder. Name one file.",
        files={"folder/x": ""},
    ),
    "show unknown": Case(["show", "loar"], "show: 'loar' is on no shelf. Did you mean lora?"),
    "report none": Case(
        ["report", "nowhere"],
        "nowhere: holds no study (recipe.yaml is missing). Name the folder that `tuneproof run` printed.",
        code=1,
    ),
    "report no study": Case(
        ["report", "folder"],
        "folder: holds no study (recipe.yaml is missing). Name the folder that `tuneproof run` printed.",
        files={"folder/x": ""},
        code=1,
    ),
    "report broken recipe": Case(
        ["report", "folder"],
        "folder: holds no study (splits.json is missing). Name the folder that `tuneproof run` printed.",
        files={"folder/recipe.yaml": "task: [\n"},
        code=1,
    ),
    "report half": Case(
        ["report", "folder"],
        "folder: holds no study (splits.json is missing). Name the folder that `tuneproof run` printed.",
        files={"folder/recipe.yaml": "task: demo\narms: [majority]\n"},
        code=1,
    ),
    "predict none": Case(
        ["predict", "nowhere", "--input", "reviews.csv", "--text", "review"],
        "nowhere: holds no arm (arm.json is missing). Name its folder: STUDY/arms/ARM.",
        code=1,
    ),
    "predict no arm": Case(
        ["predict", "folder", "--input", "reviews.csv", "--text", "review"],
        "folder: holds no arm (arm.json is missing). Name its folder: STUDY/arms/ARM.",
        files={"folder/x": ""},
        code=1,
    ),
    "compare none": Case(
        ["compare", "nowhere", "folder"],
        "nowhere: holds no study (recipe.yaml is missing). Name the folder that `tuneproof run` printed.",
        files={"folder/x": ""},
        code=1,
    ),
    "out is a file": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "taken", "--quiet"],
        "taken: could not be written: File exists. A file stands where a folder "
        "is needed: name another folder with --out. What was written before is "
        "whole.",
        files={"taken": "x"},
        code=1,
    ),
    "out under a file": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "taken/study", "--quiet"],
        "taken/study: could not be written: <library>. A file stands where a "
        "folder is needed: name another folder with --out. What was written "
        "before is whole.",
        files={"taken": "x"},
        code=1,
    ),
    "out nul": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "a\0b", "--quiet"],
        "command line: out is 'a\\x00b', not a folder's name.",
    ),
    "out long": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "a" * 300, "--quiet"],
        "a" * 300 + ": cannot be a study's folder: File name too long. Name another folder with --out.",
        code=1,
    ),
    "what nul": Case(
        ["check", "a\0b", *OWN, "--arms", "majority"],
        "a\\x00b: is not a recipe (.yaml), a task, or a file that is there. "
        "Allowed: sst2, imdb, squad_v2, demo.",
    ),
    "recipe nul": Case(["check", "a\0.yaml"], "a\\x00.yaml: cannot be read: embedded null byte."),
    "read-only": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        "study: could not be written: Read-only file system. Name another folder "
        "with --out. What was written before is whole.",
        before=read_only,
        code=1,
    ),
    "full disk": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        "study/recipe.yaml: could not be written: No space left on device. Free "
        "some room, or name another folder with --out. What was written before "
        "is whole.",
        before=full_disk,
        code=1,
    ),
    "full disk late": Case(
        ["run", "reviews.csv", *OWN, "--arms", "majority", "--out", "study", "--quiet"],
        "study: 1 of 1 arms failed: majority. The first said: "
        "study/arms/majority/predictions.parquet: could not be written: No space "
        "left on device. Free some room, or name another folder with --out. What "
        "was written before is whole. The report gives each reason; the same "
        "command tries them again.",
        before=late_full_disk,
        code=1,
    ),
}
RUN = ["run", "reviews.csv", *OWN, "--arms", "majority", "--quiet", "--out", "one"]
TWO = [*RUN[:-1], "two", "--set", "split.seed=1"]
WORDS |= {
    "compare different items": Case(
        ["compare", "one/arms/majority", "two/arms/majority"],
        "majority of one and majority of two: the items differ: 8 and 8 items, "
        "of which 2 ids are shared. Only scores on the same items compare. Run "
        "both arms in one study, so that they share its frozen items.",
        first=[RUN, TWO],
        code=1,
    ),
    "compare studies on different items": Case(
        ["compare", "one", "two"],
        "majority of one and majority of two: the items differ: 8 and 8 items, "
        "of which 2 ids are shared. Only scores on the same items compare. Run "
        "both arms in one study, so that they share its frozen items.",
        first=[RUN, TWO],
        code=1,
    ),
    "compare by an unknown metric": Case(
        ["compare", "one", "one", "--metric", "acuracy"],
        "metrics: acuracy is not a metric. Did you mean accuracy?",
        first=[RUN],
        code=1,
    ),
    "compare an arm with a folder": Case(
        ["compare", "one/arms/majority", "folder"],
        "one/arms/majority: holds no study (recipe.yaml is missing). Name the "
        "folder that `tuneproof run` printed.",
        files={"folder/x": ""},
        first=[RUN],
        code=1,
    ),
    "folder of another study": Case(
        [*TWO[:-3], "one", "--set", "split.seed=1"],
        "one: holds a study on other items: those of train, dev, test, or their labels, differ. "
        "A study's folder takes more arms, models and seeds, but the same items. "
        "Name another folder with --out, or run every arm again with --restart all.",
        first=[RUN],
    ),
    "arm from other settings": Case(
        [*RUN, "--set", "task.template='Says {text}'"],
        "one/arms/majority: is a finished arm from other settings: task.labels.template was "
        "'Text: {text} Label:', is 'Says {text}'. Run it again with --restart majority (the old one is moved "
        "aside), keep it as it is with --accept-change (recorded), give the arm another name, or name "
        "another folder with --out.",
        first=[RUN],
    ),
    "study whose recipe is broken": Case(
        ["compare", "one", "one"],
        "one/recipe.yaml, line 1: is not YAML: expected the node content, but "
        "found '<stream end>'. Mend the line.",
        first=[RUN],
        files={"broken": "x"},
        before=break_recipe,
    ),
    "study whose predictions are broken": Case(
        ["compare", "one", "one"],
        "one/arms/majority/predictions.parquet: is not a file of predictions (<library>). Run the arm again.",
        first=[RUN],
        before=break_predictions,
        code=1,
    ),
    "publish: no arm": Case(
        ["publish", "nowhere", "me/it", "--to", "there"],
        "nowhere: holds no arm (arm.json is missing). Name its folder: STUDY/arms/ARM.",
        code=1,
    ),
    "publish: no name": Case(
        ["publish", "one/arms/majority", "it"],
        "it: is not a name of a repository. Letters, digits, dots and dashes on both sides of one "
        "slash. Write OWNER/NAME.",
    ),
    "publish: nothing learnt": Case(
        ["publish", "one/arms/majority", "me/it", "--to", "there"],
        "one/arms/majority: majority has no weights of its own: there is nothing to publish. An arm "
        "that learnt (head, lp-ft, lora, qlora, full) can be published.",
        first=[RUN],
    ),
    "publish: into a folder that is full": Case(
        ["publish", "one/arms/majority", "me/it", "--to", "one"],
        "one: is there already. Name another folder, or add --update.",
        first=[RUN],
    ),
    "predict: wrong column": Case(
        ["predict", "one/arms/majority", "--input", "reviews.csv", "--text", "body"],
        "reviews.csv: has no column 'body'. Its columns: review, sentiment. Name one with --text.",
        first=[RUN],
    ),
    "predict: missing file": Case(
        ["predict", "one/arms/majority", "--input", "nowhere.csv"],
        "nowhere.csv: is not there. Check the path; it starts from where you are.",
        first=[RUN],
    ),
}
OWN_FILES = {
    "missing own": Case(
        ["check", "recipe.yaml"],
        "reviws.csv: is not there. Did you mean reviews.csv?",
        files={"recipe.yaml": TASK.replace("reviews", "reviws") + "arms: [majority]\n"},
    ),
    "wrong column": rows(
        GOOD,
        "own.csv: there is no column reveiw. The columns are review, sentiment. Did you mean review?",
        "--text",
        "reveiw",
    ),
    "wrong label column": rows(
        GOOD,
        "own.csv: there is no column stars. Name one of its columns with label: review, sentiment.",
        "--label",
        "stars",
    ),
    "semicolons": rows(
        GOOD.replace(",", ";"),
        "own.csv: there is no column review. Its only column is "
        "'review;sentiment'. Are its cells separated by ;? Then set delimiter: "
        '";".',
    ),
    "unknown label": rows(
        GOOD.replace("lovely plot number 3,positive", "lovely plot number 3,positve"),
        'own.csv, row 15: the label "positve" is not one of negative, positive. '
        "Mend the row, or name the labels with labels: [...].",
        "--set",
        "task.labels.labels=[negative, positive]",
    ),
    "one class": rows(
        "review,sentiment\n" + "\n".join(f"film {i},positive" for i in range(20)),
        "own.csv: every row has the label 'positive'. Two or more labels are "
        "needed. Does label: name the right column?",
    ),
    "rare": rows(
        GOOD + "so so,neutral\n",
        "own.csv: the label 'neutral' has one item. Every label needs two or "
        "more, to be in train and in another part. Add items, or take the label "
        "out.",
    ),
    "case": rows(
        GOOD + "so so,Positive\n",
        "own.csv: the labels 'Positive' (1 rows) and 'positive' (20 rows) differ "
        "in case or spaces alone. Write them alike, or name every label with "
        "labels: [...].",
    ),
    "empty text": rows(
        GOOD + ",positive\n  ,negative\n",
        "own.csv: 2 texts are empty (rows 42, 43). Fill them in, or set "
        "drop_empty: true to leave these rows out.",
    ),
    "no label": rows(
        GOOD + "hm,\n", "own.csv: 1 row has no label (row 42). Fill them in, or take these rows out."
    ),
    "nan label": rows(
        '{"review": "a", "sentiment": NaN}\n{"review": "b", "sentiment": "x"}\n',
        "own.jsonl: 1 row has no label (line 1). Fill them in, or take these rows out.",
        name="own.jsonl",
    ),
    "list label": rows(
        '{"review": "a", "sentiment": ["x"]}\n{"review": "b", "sentiment": "x"}\n',
        "own.jsonl, line 1: the column sentiment holds lists, not names. One label an item is read.",
        name="own.jsonl",
    ),
    "number text": rows(
        "review,sentiment\n1,a\n2,b\n",
        "own.csv: the column review holds numbers, not text (the first is 1). "
        "Name the column of the texts with text:.",
    ),
    "one group": rows(
        "review,sentiment,who\n" + "\n".join(f"{r},ann" for r in ROWS),
        "split: all 40 items belong to the group 'ann', so that no part can be "
        "held out. Name another group column, or leave group out.",
        "--group",
        "who",
    ),
    "no group": rows(
        "review,sentiment,who\n" + "\n".join(f"{r},{i if i else ''}" for i, r in enumerate(ROWS)),
        "own.csv, row 2: the group is missing. Fill it in, or leave out group.",
        "--group",
        "who",
    ),
    "one text": rows(
        "review,sentiment\n" + "\n".join(f"same,{'ab'[i % 2]}" for i in range(20)),
        "split: all 20 items have the same text, so that no part can be held "
        "out. Does text: name the right column?",
    ),
    "few": rows(
        "review,sentiment\na b,x\nc d,y\ne f,x\ng h,y\n",
        "split: dev would be empty (train 2, dev 0, test 2 items). Change "
        "split.shares or split.dev_share, or bring more items or smaller groups.",
    ),
    "binary": rows(
        bytes(range(256)) * 20,
        "own.csv: is not text but a binary file. Name a CSV, TSV, JSONL or Parquet file.",
    ),
    "pickle inside": rows(
        pickle.dumps({"review": []}),
        "own.csv: is not text: it is a pickle, which can run code when it is read. Save the rows as CSV.",
    ),
    "pickle": rows(
        pickle.dumps([]),
        "own.pkl: .pkl files are not read: a pickle can run code when it is "
        "read. Save the rows as CSV, JSONL or Parquet.",
        name="own.pkl",
    ),
    "excel": rows(
        b"PK\x03\x04aaaa",
        "own.csv: is not text: it is a zip archive or an Excel workbook. Save the sheet as CSV.",
    ),
    "gz": rows(
        b"\x1f\x8baaaa",
        "own.csv.gz: .gz files are not read: it is compressed. Save the rows as CSV, JSONL or Parquet.",
        name="own.csv.gz",
    ),
    "xlsx": rows(
        b"PK\x03\x04aaaa",
        "own.xlsx: .xlsx files are not read: it is a workbook, not a table. Save "
        "the rows as CSV, JSONL or Parquet.",
        name="own.xlsx",
    ),
    "extension": rows(
        GOOD,
        "own.txt: .txt is not a kind of file that is read. Read are .csv, .tsv, .jsonl, .json, .parquet.",
        name="own.txt",
    ),
    "noext": rows(
        GOOD,
        "own: a file without an ending is not a kind of file that is read. Read "
        "are .csv, .tsv, .jsonl, .json, .parquet.",
        name="own",
    ),
    "latin": rows(
        GOOD.encode() + "caf\u00e9 noir,positive\n".encode("latin-1"),
        "own.csv, line 42: byte 1260 (0xe9) is not utf-8. Save it as UTF-8, "
        "or set encoding: cp1252 if “café noir,positive” reads well.",
    ),
    "utf16": rows(
        GOOD.encode("utf-16"), "own.csv, line 1: byte 0 (0xff) is not utf-8. Set encoding: utf-16."
    ),
    "encoding unknown": rows(
        GOOD,
        "task.labels.encoding: 'klingon' is not an encoding. Known are "
        "utf-8-sig, cp1252, latin-1, utf-16 and more.",
        "--set",
        "task.encoding=klingon",
    ),
    "delimiter": rows(
        GOOD,
        'task.labels.delimiter: \'ab\' is not one character. Use "," or ";" or "\\t".',
        "--set",
        "task.delimiter=ab",
    ),
    "ids": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{min(i, 30)}" for i, r in enumerate(ROWS)),
        "own.csv, row 33: the id '30' also stands in row 32; 9 ids stand twice "
        "(rows 33, 34, 35, 36, 37 and 4 more). Make the ids unique, or leave out "
        "id.",
        "--id",
        "no",
    ),
    "id missing": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{i or ''}" for i, r in enumerate(ROWS)),
        "own.csv, row 2: the id is missing. Fill it in, or leave out id.",
        "--id",
        "no",
    ),
    "ragged": rows(
        GOOD + "good, really good,positive\n",
        "own.csv, row 42: has 3 cells where the header has 2. Put quotation "
        "marks around a text that holds a comma.",
    ),
    "short row": rows(
        GOOD + "good\n", "own.csv, row 42: has 1 cell where the header has 2. Fill in the missing cells."
    ),
    "quote": rows(
        GOOD + '"never closed,positive\n',
        "own.csv, row 42: a quotation mark is opened and never closed. Write a "
        'quotation mark inside quotes as "", or set quotes: false where they are '
        "ordinary characters.",
    ),
    "twin columns": rows(
        "review,review,sentiment\na,b,c\n",
        "own.csv, row 1: the header names review twice. Rename one of the columns.",
    ),
    "empty": rows("", "own.csv: is empty. It needs a header and rows."),
    "header": rows("review,sentiment\n", "own.csv: has a header but no rows. It needs rows."),
    "json object": rows(
        '{"a": 1}', "own.json: is not a list of objects. Write [{…}, {…}], or JSONL.", name="own.json"
    ),
    "jsonl broken": rows(
        '{"review": "a", "sentiment": "x"}\n{"review": \n',
        "own.jsonl, line 2: is not JSON: <library>. Each line is one object such "
        'as {"text": "…", "label": "…"}.',
        name="own.jsonl",
    ),
    "parquet": rows(
        "nothing",
        "own.parquet: cannot be read as Parquet: <library>. Is its ending right? Or write it anew.",
        name="own.parquet",
    ),
    "test file": rows(
        GOOD,
        "nowhere.csv: is not there. Check the path; it starts from where you are.",
        "--test",
        "nowhere.csv",
    ),
    "test ids": rows(
        "review,sentiment,no\n" + "\n".join(f"{r},{i}" for i, r in enumerate(ROWS)),
        "test file: the id '0' also stands in the train file. Make the ids "
        "unique over all files, or leave out id.",
        "--id",
        "no",
        "--test",
        "own.csv",
    ),
    "train_size labels": rows(
        GOOD.replace("lovely plot", "odd plot").replace("3,positive", "3,other"),
        "split: dev would hold no item of the label 'other' (3 of 40 items are "
        "in dev). Bring more items of that label, give the part a larger share, "
        "or take the label out.",
        "--set",
        "split.train_size=2",
    ),
    "binary metric": rows(
        "review,sentiment\n" + "\n".join(f"word{i} a,{'abc'[i % 3]}" for i in range(60)),
        "claim.metric: f1 is for two labels, and there are 3. Use f1_macro or accuracy.",
        "--arms",
        "majority,lexical",
        "--set",
        "claim={arm: lexical, over: majority, metric: f1}",
    ),
    "words count": rows(
        GOOD,
        "command line: task.labels: words needs labels of the same length, in the same order.",
        "--set",
        "task.words=[a, b]",
    ),
    "too many labels": rows(
        "review,sentiment\n" + "\n".join(f"a b {i},l{i}" for i in range(1001)),
        "own.csv: the label column holds 1,001 different values. At most 1,000 "
        "labels are allowed. Does label: name the right column?",
    ),
}
MODELS = {
    "unknown model": model(
        "distilbrt",
        'model: "distilbrt" is not a known name, a hub id (owner/name) or a folder. Did you mean distilbert?',
    ),
    "hub": model(
        "models/nowhere",
        "models/nowhere: is not on this machine and could not be fetched "
        "(LocalEntryNotFoundError). Connect to the network, or name a folder "
        "that holds the model.",
        before=offline,
    ),
    "missing folder": model(
        "./models/nowhere",
        'model: "./models/nowhere" is not a known name, a hub id (owner/name) or '
        "a folder. Allowed: distilbert, bert, minilm, llama-3.2-1b, gemma-2b, "
        "gemma-2-2b, gemma-2-2b-it, mistral-7b, mistral-7b-instruct, demo.",
    ),
    "empty name": model(
        "", "command line: models[0] is '', not a model. Write its name, or {name: {setting: value}}."
    ),
    "file": model("reviews.csv", "reviews.csv: is a file. Name the folder that holds config.json."),
    "no config": model(
        "models/none",
        "models/none: holds no config.json, so it is not a model's folder. Name "
        "the folder that save_pretrained wrote, a hub id, or one of: distilbert, "
        "bert, minilm, llama-3.2-1b, gemma-2b, gemma-2-2b, gemma-2-2b-it, "
        "mistral-7b, mistral-7b-instruct, demo.",
    ),
    "pickle weights": model(
        "models/pickled",
        "models/pickled: holds its weights only as pytorch_model.bin, a format "
        "that can run code when it is read. Weights are read from .safetensors "
        "files. If you trust the file, convert it once: "
        "AutoModel.from_pretrained(folder).save_pretrained(new_folder), with the "
        "class the model was trained as.",
    ),
    "no weights": model(
        "models/weightless",
        "models/weightless: holds no weights. It must hold model.safetensors or its shards.",
    ),
    "adapter": model(
        "models/adapter",
        "models/adapter: holds an adapter, not a whole model. Merge it into its "
        "base model (peft: merge_and_unload, save_pretrained) and name that "
        "folder.",
    ),
    "broken config": model("models/broken", "models/broken/config.json: is not JSON: <library>."),
    "list config": model("models/list", "models/list/config.json: is not a JSON object."),
    "unknown type": model(
        "models/strange",
        'models/strange/config.json: model_type "lama" is not an architecture '
        "that transformers has. Code that a checkpoint brings along is never "
        "run. Name another model.",
    ),
    "no type": model(
        "models/typeless",
        "models/typeless/config.json: model_type null is not an architecture "
        "that transformers has. Code that a checkpoint brings along is never "
        "run. Name another model.",
    ),
    "misfit": model(
        "models/misfit", "models/misfit/config.json: does not fit the class of llama: <library>."
    ),
    "weights of another size": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/badshape",
            "--arms",
            "head",
            "--quiet",
            "--out",
            "study",
        ],
        "study: 1 of 1 arms failed: badshape head. The first said: "
        "models/badshape: 20 of the model's weights are missing or of another "
        "size, embed_tokens.weight first. The checkpoint is incomplete or does "
        "not belong to its config.json; fetch it again. The report gives each "
        "reason; the same command tries them again.",
        code=1,
    ),
    "seq2seq": model(
        "models/t5",
        "model: the architecture t5 is neither a causal nor a masked language "
        "model. Models that continue a text or fill in a mask can be used. Name "
        "another one.",
    ),
    "no tokenizer": model(
        "models/mute",
        "models/mute: has no tokenizer. One of tokenizer.json, vocab.txt, "
        "vocab.json, tokenizer.model, spiece.model must be there. Save the "
        "tokenizer that the model was trained with beside it.",
    ),
    "other tokenizer": model(
        "models/swapped",
        "swapped: the tokenizer is another model's: it knows <library>. "
        "Put the files of the tokenizer that the model was trained "
        "with into its folder.",
    ),
    "broken tokenizer": model("models/badtok", "models/badtok: its tokenizer cannot be read: <library>."),
    "broken weights": model(
        "models/badweights", "models/badweights/model.safetensors: cannot be read: <library>."
    ),
    "headless zero": model(
        "models/minilm",
        "arms: zero-shot: minilm has no language-model head in its checkpoint: "
        "it would be random, and what a random head says is not zero-shot. Use "
        "head, lora or full.",
        method="zero-shot",
    ),
    "encoder words": model(
        "models/distilbert",
        "arms: lora: distilbert is an encoder: it continues no words. Use objective: head.",
        "--set",
        "arms=[{lora: {objective: words}}]",
    ),
    "encoder few": model(
        "models/distilbert",
        "arms: few-shot: distilbert is an encoder: it takes no examples in a prompt. Use zero-shot.",
        method="few-shot",
    ),
    "encoder generate": model(
        "models/distilbert",
        "arms: zero-shot: distilbert is an encoder: it generates no text. Use scoring: likelihood.",
        "--set",
        "arms=[{zero-shot: {scoring: generate}}]",
    ),
    "encoder last": model(
        "models/distilbert",
        "arms: head: distilbert is an encoder: pool first or mean.",
        "--set",
        "arms=[{head: {pooling: last}}]",
    ),
    "decoder first": model(
        "models/llama",
        "arms: head: llama is a decoder: its first token has read nothing. Pool last or mean.",
        "--set",
        "arms=[{head: {pooling: first}}]",
    ),
    "prompt too long": model(
        "models/llama",
        "encode.max_length: 16 tokens, but the prompt without its text already "
        "has <library>, shorten the prompt, or use fewer shots.",
        "--set",
        "encode.max_length=16",
        method="few-shot",
    ),
    "head too short": model(
        "models/llama",
        "--set encode.max_length=2: encode.max_length is 2; it should be greater "
        "than or equal to 8. Tokens an item may have, prompt included.",
        "--set",
        "encode.max_length=2",
    ),
    "cloze words": model(
        "models/distilbert",
        'arms: zero-shot: cloze words: "abominable" (<library> tokens) cannot stand at the mask. A word '
        "there must be one token of the model's vocabulary. Choose shorter or "
        "more common words.",
        "--set",
        "task.labels.labels=[negative, positive]",
        "--set",
        "task.words=[abominable, positive]",
        method="zero-shot",
    ),
    "same words": model(
        "models/llama",
        'label words: "good" begins "goodness", so the longer could never score '
        "higher. Give the labels words that differ.",
        "--set",
        "task.labels.labels=[negative, positive]",
        "--set",
        "task.words=['good', 'goodness']",
        method="zero-shot",
    ),
    "two models one name": model(
        "models/llama",
        "models: two models are called llama. Give one a name: {FOLDER: {name: ...}}.",
        "--model",
        "models/llama",
    ),
    "cuda": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "head",
            "--quiet",
            "--out",
            "study",
            "--set",
            "compute.device=cuda",
        ],
        "compute.device: cuda is asked for and torch sees no CUDA device. Write compute: {device: auto}.",
    ),
    "mps": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "head",
            "--quiet",
            "--out",
            "study",
            "--set",
            "compute.device=mps",
        ],
        "compute.device: mps is asked for and torch sees none. Write compute: {device: auto}.",
    ),
    "no bitsandbytes": model(
        "models/llama",
        "arms: qlora: it holds the base in 4 bits through bitsandbytes, which is not installed. "
        "Install it with `pip install 'tuneproof[qlora]'`, or use lora.",
        method="qlora",
        before=no_bitsandbytes,
    ),
    "old bitsandbytes": model(
        "models/llama",
        "arms: qlora: bitsandbytes is 0.45.5, older than 0.46.1. Install it anew with `pip install "
        "-U 'tuneproof[qlora]'`, or use lora.",
        method="qlora",
        before=old_bitsandbytes,
    ),
    "packed pissa": model(
        "models/llama",
        "command line: arms[0].qlora.variant is 'pissa'; it should be "
        "'none', 'rslora' or 'dora'. rsLoRA (arXiv:2312.03732), DoRA (arXiv:2402.09353). PiSSA takes "
        "the weights apart and cannot where they are packed.",
        "--set",
        "arms=[{qlora: {variant: pissa}}]",
    ),
    "fp16": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "head",
            "--quiet",
            "--out",
            "study",
            "--set",
            "compute.precision=fp16",
        ],
        "compute.precision: fp16 is asked for on a CPU, which does not train in "
        "it. Write bf16, fp32 or auto.",
    ),
    "fp16 shared out": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "head",
            "--out",
            "study",
            "--set",
            "compute.parallel=fsdp",
            "--set",
            "compute.precision=fp16",
        ],
        "compute.precision: fp16 is asked for with compute.parallel: fsdp, whose shards have no "
        "common scale. Write bf16 or fp32, or compute: {parallel: ddp}.",
    ),
    "no compiler": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "full",
            "--out",
            "study",
            "--set",
            "compute.compile=true",
        ],
        "compute.compile: true is asked for, and torch says: <library>. It needs a C++ compiler and "
        "Python's headers on a CPU, and Triton besides on a CUDA device. Install g++ or name a compiler "
        "by the variable CXX, or write compute: {compile: false}: the same training, without it.",
        before=no_compiler,
        code=1,
    ),
    "packed weights shared out": Case(
        [
            "run",
            "reviews.csv",
            *OWN,
            "--model",
            "models/llama",
            "--arms",
            "qlora",
            "--out",
            "study",
            "--set",
            "compute.parallel=fsdp",
        ],
        "arms: qlora: packs its weights, and compute.parallel: fsdp shares them out. Write compute: "
        "{parallel: ddp}, or use lora.",
    ),
}


def counted(words: str, sentence: str, before: Before = None, **files: str) -> Case:
    """`count` with these words; files are configurations, by their stems."""
    named = {f"{stem}.json": text for stem, text in files.items()}
    return Case(["count", *words.split()], sentence, files=named, before=before)


NO_SUCH_TYPE = (
    "is not an architecture that transformers has. Code that a checkpoint brings along is never run. "
    "Name another model."
)
COUNTS = {
    "unknown model": counted(
        "llama-3.2-1",
        'model: "llama-3.2-1" is not a known name, a hub id (owner/name) or a folder. Did you mean '
        "llama-3.2-1b?",
    ),
    "hub": counted(
        "models/nowhere",
        "models/nowhere: is not on this machine and could not be fetched (LocalEntryNotFoundError). "
        "Connect to the network, or name a folder that holds the model.",
        before=offline,
    ),
    "another revision": counted(
        "llama-3.2-1b@other",
        "meta-llama/Llama-3.2-1B: is not on this machine and could not be fetched "
        "(LocalEntryNotFoundError). Connect to the network, or name a folder that holds the model.",
        before=offline,
    ),
    "no config": counted(
        "models/none",
        "models/none: holds no config.json, so it is not a model's folder. Name the folder that "
        "save_pretrained wrote, a hub id, or one of: distilbert, bert, minilm, llama-3.2-1b, gemma-2b, "
        "gemma-2-2b, gemma-2-2b-it, mistral-7b, mistral-7b-instruct, demo.",
    ),
    "adapter": counted(
        "models/adapter",
        "models/adapter: holds an adapter, not a whole model. Merge it into its base model (peft: "
        "merge_and_unload, save_pretrained) and name that folder.",
    ),
    "broken JSON": counted("own.json", "own.json: is not JSON: <library>.", own="{"),
    "list": counted("own.json", "own.json: is not a JSON object.", own="[]"),
    "no type": counted("own.json", f"own.json: model_type null {NO_SUCH_TYPE}", own="{}"),
    "type as list": counted(
        "own.json", f'own.json: model_type ["llama"] {NO_SUCH_TYPE}', own='{"model_type": ["llama"]}'
    ),
    "remote code": counted(
        "own.json",
        f'own.json: model_type "own" {NO_SUCH_TYPE}',
        own='{"model_type": "own", "auto_map": {"AutoConfig": "code.Own"}}',
    ),
    "misfit": counted(
        "own.json",
        "own.json: does not fit the class of llama: <library>.",
        own='{"model_type": "llama", "hidden_size": "wide"}',
    ),
    "no heads": counted(
        "own.json",
        "own.json: does not fit the class of llama: <library>.",
        own='{"model_type": "llama", "num_attention_heads": 0}',
    ),
    "negative layers": counted(
        "own.json",
        "own.json: num_hidden_layers is -3; it must be 1 or more.",
        own='{"model_type": "distilbert", "n_layers": -3}',
    ),
    "no model": counted(
        "own.json",
        "model: the configuration of llama makes no model: <library>.",
        own='{"model_type": "llama", "intermediate_size": -3}',
    ),
    "huge": counted(
        "own.json",
        "own.json: num_hidden_layers is 1000000; no model has more than 10000.",
        own='{"model_type": "llama", "num_hidden_layers": 1000000}',
    ),
    "quantised": counted(
        "own.json",
        "own.json: the weights are quantised. Name the model with its full weights.",
        own='{"model_type": "llama", "quantization_config": {"bits": 4}}',
    ),
    "seq2seq": counted(
        "own.json",
        "model: the architecture t5 is neither a causal nor a masked language model. Models that "
        "continue a text or fill in a mask can be used. Name another one.",
        own='{"model_type": "t5"}',
    ),
    "unknown method": counted("demo --method lorra", "--method: 'lorra' is not a method. Did you mean lora?"),
    "prompt method": counted(
        "demo --method zero-shot",
        "--method: zero-shot trains no weights of a model: there is nothing to count. Allowed: head, "
        "lp-ft, lora, qlora, full.",
    ),
    "set unknown": counted(
        "demo --method lora --set lora.rnk=8",
        "--set lora.rnk=8: lora.rnk is not a setting of lora. Did you mean rank?",
    ),
    "set bound": counted(
        "demo --method lora --set lora.rank=0",
        "--set lora.rank=0: lora.rank is 0; it should be greater than or equal to 1. Rank r of every update.",
    ),
    "set another method": counted(
        "demo --method lora --set qlora.rank=8",
        "--set qlora.rank=8: qlora is not lora, the method that is asked for. Write --set "
        "lora.SETTING=VALUE.",
    ),
    "set without a name": counted(
        "demo --method lora --set rank=8",
        "--set rank=8: rank is not lora, the method that is asked for. Write --set lora.SETTING=VALUE.",
    ),
    "set without a value": counted(
        "demo --method lora --set lora.rank",
        "--set lora.rank: is not of the form a.b=c. Write --set split.seed=1.",
    ),
    "set without a method": counted(
        "demo --set lora.rank=8", "--set lora.rank=8: changes a method, and none is named. Add --method NAME."
    ),
    "unknown task": counted("demo --task sts2", "--task: 'sts2' is not a task. Did you mean sst2?"),
    "own file's task": counted(
        "demo --task labels",
        "--task: how many labels labels has, its own file says. Write --head labels:N instead.",
    ),
    "unknown head": counted(
        "demo --head labels:1",
        "--head: 'labels:1' is no head. Allowed: labels:N (N from 2 to 100,000), span, words.",
    ),
    "task and head": counted(
        "demo --head span --task sst2", "--head: is given beside --task, which says it too. Leave one out."
    ),
    "no head": counted(
        "distilbert --method lora",
        "--task: lora needs a head here, and its size is not said. Write --task sst2, --head labels:2 "
        "or --head span.",
    ),
    "encoder words": counted(
        "distilbert --method lora --head words",
        "--method lora: distilbert is an encoder: it continues no words. Use objective: head.",
    ),
    "encoder words alone": counted(
        "distilbert --head words",
        "--head words: distilbert is an encoder: it continues no words. Write --head labels:2 or "
        "--head span.",
    ),
    "a head in words": counted(
        "demo --method head --head words",
        "--head: head trains a head, not words. Write --head labels:N or --head span, or use lora or full.",
    ),
    "words and labels": counted(
        "demo --method lora --set lora.objective=words --head labels:2",
        "--head: labels does not go with objective: words. Leave one out.",
    ),
    "a head of no size": counted(
        "demo --method lora --set lora.objective=head",
        "--task: lora needs a head here, and its size is not said. Write --task sst2, --head labels:2 "
        "or --head span.",
    ),
    "words and a span": counted(
        "demo --method lora --set lora.objective=words --head span",
        "--head: span does not go with objective: words. Leave one out.",
    ),
    "no span class": counted(
        "gemma-2-2b --method lora --head span",
        "gemma-2-2b: it can have no span head: transformers <library> has no AutoModelForQuestionAnswering "
        "for gemma2. Let it answer in words, or use another model.",
    ),
    "attention unknown": counted(
        "own.json --method lora --set lora.targets=attention --task sst2",
        "--method lora: the names of own's attention layers are not known. Use targets: all.",
        own='{"model_type": "gpt2"}',
    ),
    "layers all of them": Case(
        ["count", "distilbert", "--method", "full", "--set", "full.layers=last 6", "--task", "sst2"],
        "--method full: distilbert has 6 layers: nothing is below its last 6. Use layers: last 1 to last "
        "5, or all.",
    ),
    "layers that share weights": Case(
        ["count", "own.json", "--method", "full", "--set", "full.layers=last 2", "--task", "sst2"],
        "AlbertForSequenceClassification: has no list of its 12 layers, each with weights of its own. Write "
        "layers: all.",
        files={"own.json": '{"model_type": "albert"}'},
    ),
    "no adapters": counted(
        "own.json --method lora",
        "MambaForCausalLM: peft puts no adapters there: <library>. Use head or full.",
        own='{"model_type": "mamba"}',
    ),
}


def squad(questions: list[dict], **paragraph: object) -> str:
    """A file of SQuAD's shape with one paragraph."""
    whole = {"context": "It was in 1066.", "qas": questions, **paragraph}
    return json.dumps({"data": [{"title": "t", "paragraphs": [whole]}]})


def asked(text: str | bytes, sentence: str, name: str = "own.json") -> Case:
    """`check` of an own questions file with this text."""
    words = ["check", name, "--questions", "--arms", "majority"]
    return Case(words, sentence, files={name: text})


def asked_rows(sentence: str, *more: dict, **changes: object) -> Case:
    """`check` of a JSONL file whose first row has these changes."""
    rows = [{**ROW, **changes}, *more]
    return asked("\n".join(json.dumps(row) for row in rows), sentence, "own.jsonl")


ROW = {"context": "It was in 1066 .", "question": "When?", "answers": ["1066"]}
ASKED = {"id": "a", "question": "When?", "answers": [{"text": "1066", "answer_start": 10}]}
MANY = [
    {
        "context": f"paragraph {number} holds gold",
        "question": f"what {number}?",
        "answers": ["gold"] if number % 2 else [],
    }
    for number in range(60)
]
SHAPE = 'SQuAD has {"data": [{"title": …, "paragraphs": [{"context": …, "qas": […]}]}]}.'
SHAPES = 'Answers are {"text": […], "answer_start": […]}, a list of texts, one text, or empty.'
PLACE = "own.json, article 1, paragraph 1"
FILLED = "Fill it in, or take the question out."
OWN_QUESTIONS = ["check", "own.jsonl", "--questions"]
MANY_ROWS = {"own.jsonl": "\n".join(map(json.dumps, MANY))}

QUESTIONS = {
    "a list in JSON": asked(
        json.dumps([ASKED]),
        f"own.json: is JSON of another shape. {SHAPE} Rows with columns? Name them .jsonl.",
    ),
    "not JSON": asked(
        '{"data": [', f"own.json: is not JSON: Expecting value: line 1 column 11 (char 10). {SHAPE}"
    ),
    "no question": asked('{"data": []}', f"own.json: holds no question. {SHAPE}"),
    "damaged gzip": asked(
        gzip.compress(squad([ASKED]).encode())[:40],
        "own.json.gz: is damaged: gzip cannot unpack it. Fetch it again.",
        "own.json.gz",
    ),
    "no context": asked(squad([ASKED], context=None), f"{PLACE}: context is missing. {FILLED}"),
    "no qas": asked(squad([ASKED], qas=None), f"{PLACE}: qas is missing or no list. {SHAPE}"),
    "impossible with answers": asked(
        squad([{**ASKED, "is_impossible": True}]),
        f"{PLACE}, question 1: is_impossible is true and there are answers. Take the answers out, or "
        "set is_impossible to false.",
    ),
    "possible without answers": asked(
        squad([{**ASKED, "answers": [], "is_impossible": False}]),
        f"{PLACE}, question 1: is_impossible is false and there is no answer. Add the answer, or set "
        "is_impossible to true.",
    ),
    "start as text": asked(
        squad([{**ASKED, "answers": [{"text": "1066", "answer_start": "10"}]}]),
        f"{PLACE}, question 1: answer_start is '10'. It counts characters from 0.",
    ),
    "no id": asked(
        squad([{**ASKED, "id": None}]), f"{PLACE}, question 1: has no id. Give every question an id."
    ),
    "an id twice": asked(
        squad([ASKED, ASKED]),
        f"{PLACE}, question 2: the id 'a' also stands in {PLACE}, question 1. Make the ids unique.",
    ),
    "blank question": asked(
        squad([{**ASKED, "question": "  "}]), f"{PLACE}, question 1: question is empty. {FILLED}"
    ),
    "nothing to answer": asked(
        squad([{**ASKED, "answers": []}]),
        "own.json: no question has an answer. Is answers: the right column?",
    ),
    "no column": asked(
        json.dumps({"context": "x", "answers": ["x"]}),
        "own.jsonl: there is no column question. Name one of its columns with question: context, answers.",
        "own.jsonl",
    ),
    "empty context": asked_rows(
        "own.jsonl, line 2: the context is empty. Fill it in, or take the row out.", {**ROW, "context": " "}
    ),
    "a number as answer": asked_rows(f"own.jsonl, line 1: the answers are int. {SHAPES}", answers=1066),
    "a number among answers": asked_rows(
        f"own.jsonl, line 1: an answer is 7, no text. {SHAPES} No answer is an empty list.",
        answers=["1066", 7],
    ),
    "an empty answer": asked_rows(
        f"own.jsonl, line 1: an answer is empty. {SHAPES} No answer is an empty list.", answers=[""]
    ),
    "starts of another number": asked_rows(
        "own.jsonl, line 1: there are 1 answers and 2 answer_start. Each answer has one. Mend the "
        "row, or leave answer_start out.",
        answers={"text": ["1066"], "answer_start": [1, 2]},
    ),
    "broken JSON in a cell": asked(
        'context,question,answers\nIt was in 1066 .,When?,"[""1066"\n',
        "own.csv, row 2: the answers are not JSON: Unterminated string starting at: line 1 column 2 "
        f"(char 1). {SHAPES}",
        "own.csv",
    ),
    "an answer that is nowhere": asked(
        "\n".join(map(json.dumps, [*MANY[:3], {**MANY[3], "answers": ["silver"]}, *MANY[4:]])),
        "audit, answer_not_in_context: 1 question has an answer that does not stand in the context: "
        "no span can be right, and none is learnt from it. Mend it, or go on at your own risk with "
        "audit.allow: [answer_not_in_context].",
        "own.jsonl",
    ),
    "text beside questions": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--text", "x"],
        "--text: is for labels, and --questions is given. Name columns with --set "
        "task.questions.question=COLUMN.",
        files=MANY_ROWS,
    ),
    "questions beside a task": Case(
        ["check", "squad_v2", "--questions", "--arms", "majority"],
        "--questions: belongs to your own file, not to a task.",
    ),
    "a template without its holes": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--set", "task.questions.template=x"],
        "--set task.questions.template=x: task.questions.template is 'x'; it must hold {context} and "
        "{question} once each. The prompt around an item; holds {context} and {question} once each.",
        files=MANY_ROWS,
    ),
    "an instruction without a way out": Case(
        [*OWN_QUESTIONS, "--arms", "majority", "--set", "task.questions.instruction=Answer."],
        "command line: task.questions: instruction must hold no_answer, 'unanswerable'.",
        files=MANY_ROWS,
    ),
    "train without test": recipe(
        "task: {squad_v2: {train: a.json}}\narms: [majority]\n",
        "recipe.yaml, line 1: task.squad_v2: train and test go together.",
    ),
    "a folder that is not there": recipe(
        "task: {squad_v2: {path: nowhere}}\narms: [majority]\n",
        "nowhere: is not there. Name the folder of both files, or them with train and test.",
    ),
    "an encoder that should write": Case(
        [*OWN_QUESTIONS, "--model", "models/distilbert", "--arms", "majority,zero-shot"],
        "arms: zero-shot: distilbert is an encoder: it writes no answers. Use head, lora or full.",
        files=MANY_ROWS,
    ),
    "no room for the context": Case(
        [
            *OWN_QUESTIONS,
            "--model",
            "models/distilbert",
            "--arms",
            "majority,full",
            "--set",
            "encode.max_length=20",
        ],
        "question row-<library>Raise encode.max_length, or lower encode.stride.",
        files=MANY_ROWS,
    ),
    "no room to say that there is none": Case(
        [
            *OWN_QUESTIONS,
            "--model",
            "models/llama",
            "--arms",
            "majority,zero-shot",
            "--set",
            "encode.answer_tokens=3",
            "--set",
            "task.questions.instruction=unanswerable",
        ],
        "encode.answer_tokens: 3 leaves no room to say 'unanswerable' and to end. Raise it, or choose "
        "a shorter no_answer.",
        files=MANY_ROWS,
    ),
}


CASES = {
    f"{group}, {name}": case
    for group, cases in (
        ("recipe", RECIPES),
        ("words", WORDS),
        ("file", OWN_FILES),
        ("model", MODELS),
        ("count", COUNTS),
        ("questions", QUESTIONS),
    )
    for name, case in cases.items()
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Tiny models, whole and spoilt in one way each."""
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("models")
    for kind in ("distilbert", "llama"):
        tiny_model(folder / kind, kind)
    tokenizer = tiny_tokenizer("bert")  # as MiniLM's checkpoint: no masked-language-model head
    BertModel(tiny_config("bert", tokenizer)).save_pretrained(folder / "minilm")
    tokenizer.save_pretrained(folder / "minilm")
    config = json.loads((folder / "llama" / "config.json").read_text())

    def spoil(name: str, file: str, text: str | None) -> Path:
        shutil.copytree(folder / "llama", folder / name)
        if text is None:
            (folder / name / file).unlink()
        else:
            (folder / name / file).write_text(text)
        return folder / name

    (folder / "none").mkdir()
    spoil("weightless", "model.safetensors", None)
    (spoil("pickled", "model.safetensors", None) / "pytorch_model.bin").write_text("x")
    spoil("adapter", "adapter_config.json", "{}")
    spoil("broken", "config.json", "{")
    spoil("list", "config.json", "[]")
    spoil("strange", "config.json", json.dumps({**config, "model_type": "lama"}))
    spoil("typeless", "config.json", json.dumps({"vocab_size": 9}))
    spoil("misfit", "config.json", json.dumps({**config, "hidden_size": "wide"}))
    spoil("t5", "config.json", json.dumps({"model_type": "t5", "vocab_size": 100}))
    spoil("badshape", "config.json", json.dumps({**config, "hidden_size": 64}))
    spoil("mute", "tokenizer.json", None)
    spoil("badtok", "tokenizer.json", "{")
    spoil("badweights", "model.safetensors", "nonsense")
    tiny_tokenizer("distilbert").save_pretrained(spoil("swapped", "tokenizer.json", None))
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_gets_its_exact_sentence(name, tmp_path, monkeypatch, capsys, request):
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text(GOOD)
    if any("models/" in word for word in [*case.words, *map(str, case.files.values())]):
        (tmp_path / "models").symlink_to(request.getfixturevalue("models"))
    for file, content in case.files.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for words in case.first:
        assert main(words) == 0
    capsys.readouterr()
    if case.before:
        case.before(monkeypatch)
    code = main(case.words)
    said = capsys.readouterr().err
    monkeypatch.undo()
    start, library, end = f"tuneproof: {case.sentence}\n".partition("<library>")
    if library:  # the words between are another package's and may change with its version
        assert said.startswith(start)
        assert said.endswith(end)
        assert len(said.splitlines()) == 1
    else:
        assert said == start
    assert code == case.code


def test_the_table_is_long_and_no_sentence_stands_in_it_for_nothing():
    assert len(CASES) >= 45
    assert all(case.sentence and case.code in (1, 2) for case in CASES.values())


def test_a_check_that_fails_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.csv").write_text(GOOD + ",positive\n")
    assert main(["run", "own.csv", *OWN, "--arms", "majority", "--out", "study"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["own.csv"]
    assert "1 text is empty" in capsys.readouterr().err
