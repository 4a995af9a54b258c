"""A whole study by one `tuneproof run`, and the same by a script for each part, as they are usually written.

In: SST-2 and a decoder. Out: CPU seconds of every process, their ratio, accuracies side by side.
Knows nothing of: how either side works.

    python -m benchmarks study --data FOLDER --model FOLDER [--train 160 --test 200 --times 1 --shipped]

Both sides read the same three files. Peers: scikit-learn (majority, TF-IDF), lm-eval (no and eight shots),
sentence-transformers and logistic regression (head), TRL and lm-eval with the adapter (LoRA). Each script is
a process of its own on one thread, and its user and system time counts from its start to its end. The peers
compute in float32 and recompute nothing, as ours; --shipped: what TRL and lm-eval choose themselves.
A study of ours draws other shots for each seed, and the peer has the first draw alone: both sums are shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TO_REACH = 3.0
SEEDS, SHOTS, RANK, BATCH, RATE, LONGEST = (0, 1, 2), 8, 8, 8, 2.7e-4, 512
INSTRUCTION = "Decide whether the review is negative or positive."
WORDS = ("negative", "positive")
SHORTEST = 5  # words of a train item: shorter phrases stand in any other
# `tuneproof run` with the process's CPU time at every event
OURS = """
import json, sys, time
from tuneproof.cli.main import main
from tuneproof.context.monitor import ArmFinished, ArmStarted, Monitor, StageStarted
recipe, result = sys.argv[1:]
events, notify = [], Monitor.notify
def timed(monitor, event):
    if isinstance(event, ArmStarted | ArmFinished | StageStarted):
        name = getattr(event, "name", None) or getattr(event, "label", "")
        events.append([type(event).__name__, name, time.process_time()])
    notify(monitor, event)
Monitor.notify = timed
code = main(["run", recipe, "--quiet"])
json.dump(events, open(result, "w"))
sys.exit(code)
"""
READ = """
import json, sys
setup, result = json.load(open(sys.argv[1])), sys.argv[2]
def rows(part):
    return [json.loads(line) for line in open(f"{setup['folder']}/{part}.jsonl", encoding="utf-8")]
"""
BASELINES = """
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
train, test = rows("train"), rows("test")
accuracy = {}
for name, model in {
    "majority": DummyClassifier(),
    "lexical": make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)),
}.items():
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    accuracy[name] = model.score([row["text"] for row in test], [row["label"] for row in test])
json.dump(accuracy, open(result, "w"))
"""
HEAD = """
import torch
torch.set_num_threads(1)
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from sklearn.linear_model import LogisticRegression
base = Transformer(setup["model"], max_seq_length=setup["longest"], model_args={"dtype": "float32"})
encoder = SentenceTransformer(modules=[base, Pooling(base.get_word_embedding_dimension())], device="cpu")
train, test = rows("train"), rows("test")
features = [encoder.encode([row["text"] for row in part], batch_size=32) for part in (train, test)]
head = LogisticRegression(max_iter=1000).fit(features[0], [row["label"] for row in train])
json.dump({"head": head.score(features[1], [row["label"] for row in test])}, open(result, "w"))
"""
PROMPTED = """
import torch
torch.set_num_threads(1)
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
folder, about = setup["folder"], setup[sys.argv[3]]
task = {
    "task": "reviews", "dataset_path": "json", "output_type": "multiple_choice",
    "dataset_kwargs": {"data_files": {part: f"{folder}/{part}.jsonl" for part in ("test", "shots")}},
    "test_split": "test", "fewshot_split": "shots", "fewshot_config": {"sampler": "first_n"},
    "description": setup["instruction"] + "\\n\\n", "doc_to_text": "Review: {{text}}\\nSentiment:",
    "doc_to_choice": setup["words"], "doc_to_target": "label", "metric_list": [{"metric": "acc"}],
}
model = {"pretrained": setup["model"], **({} if setup["shipped"] else {"dtype": "float32"})}
if about["adapter"]:
    model["peft"] = about["adapter"]
results = simple_evaluate(
    model="hf", model_args=model, tasks=[task], num_fewshot=about["shots"], batch_size=about["batch"],
    device="cpu", task_manager=TaskManager(include_defaults=False),
)
json.dump({about["arm"]: results["results"]["reviews"]["acc,none"]}, open(result, "w"))
"""
TRAINED = """
import torch
torch.set_num_threads(1)
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
seed = int(sys.argv[3])
data = Dataset.from_list([
    {"prompt": f"{setup['instruction']}\\n\\nReview: {row['text']}\\nSentiment:",
     "completion": " " + row["label"]}
    for row in rows("train")
])
like_ours = {"bf16": False, "gradient_checkpointing": False, "model_init_kwargs": {"dtype": "float32"}}
trainer = SFTTrainer(
    setup["model"],
    args=SFTConfig(
        f"{result}.trained", num_train_epochs=setup["epochs"], per_device_train_batch_size=setup["size"],
        learning_rate=setup["rate"], warmup_steps=0.06, weight_decay=0.01, max_length=setup["longest"],
        seed=seed, use_cpu=True, report_to="none", save_strategy="no",
        **({} if setup["shipped"] else like_ours),
    ),
    train_dataset=data,
    peft_config=LoraConfig(
        task_type="CAUSAL_LM", r=setup["rank"], lora_alpha=2 * setup["rank"], lora_dropout=0.0,
        target_modules="all-linear",
    ),
)
trainer.train()
trainer.save_model(setup[f"lora seed {seed}"]["adapter"])
json.dump({}, open(result, "w"))
"""


Items = Mapping[str, Sequence[Mapping[str, str]]]  # by part


@dataclass(frozen=True)
class Script:
    """A process of the peers': its name in the table, its program, its last argument."""

    name: str
    text: str
    argument: str = ""


SCRIPTS = (
    Script("scikit-learn: majority, TF-IDF", READ + BASELINES),
    Script("lm-eval: zero-shot", READ + PROMPTED, "zero-shot"),
    Script("lm-eval: 8 shots", READ + PROMPTED, "few-shot"),
    Script("sentence-transformers: head", READ + HEAD),
    *(Script(f"TRL: LoRA, seed {seed}", READ + TRAINED, str(seed)) for seed in SEEDS),
    *(Script(f"lm-eval: LoRA, seed {seed}", READ + PROMPTED, f"lora seed {seed}") for seed in SEEDS),
)


def _process(name: str, text: str, arguments: Sequence[str], folder: Path) -> tuple[float, Any]:
    """User and system seconds of a process of one thread, and what it wrote as JSON.

    Raises: SystemExit where it fails.
    """
    result, log = folder / f"{name}.json", folder / f"{name}.log"
    result.unlink(missing_ok=True)
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    first, *rest = arguments
    with open(log, "wb") as output:
        done = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", text, first, str(result), *rest],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **quiet, "TOKENIZERS_PARALLELISM": "false"},
        )
        _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode or not result.is_file():
        raise SystemExit(f"{name} failed:\n{log.read_text('utf-8', 'replace')[-3000:]}")
    return usage.ru_utime + usage.ru_stime, json.loads(result.read_text("utf-8"))


def _items(data: Path, train: int, dev: int, test: int) -> Items:
    """Drawn items of each part: GLUE's train for train and dev, its dev for test; no text twice."""
    import pyarrow.parquet as pq

    def drawn(name: str, count: int, used: set[str]) -> Iterator[dict[str, str]]:
        table = pq.read_table(data / f"{name}.parquet").to_pydict()
        for index in np.random.default_rng(0).permutation(len(table["label"])):
            text = table["sentence"][index].strip()
            if count and text not in used and len(text.split()) >= SHORTEST:
                used.add(text)
                count -= 1
                yield {"id": f"{name}-{index}", "text": text, "label": WORDS[table["label"][index]]}

    used: set[str] = set()
    tested = list(drawn("glue_dev", test, used))
    trained = list(drawn("glue_train", train + dev, used))
    return {"train": trained[:train], "dev": trained[train:], "test": tested}


def _write(folder: Path, items: Items) -> None:
    for part, rows in items.items():
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _recipe(folder: Path, model: str, epochs: int) -> dict[str, Any]:
    files = {"path": "train", "dev": "dev", "test": "test"}
    labels = {name: str(folder / f"{part}.jsonl") for name, part in files.items()}
    prompt = {"instruction": INSTRUCTION, "template": "Review: {text}\nSentiment:", "labels": list(WORDS)}
    lora = {"objective": "words", "rank": RANK, "alpha": 2 * RANK, "learning_rate": RATE}
    return {
        "task": {"labels": {**labels, **prompt, "id": "id"}},
        "models": [{model: {"name": "model"}}],
        "arms": ["majority", "lexical", "zero-shot", {"few-shot": {"shots": SHOTS}}, "head", {"lora": lora}],
        "seeds": list(SEEDS),
        "encode": {"max_length": LONGEST},
        "train": {"epochs": epochs, "batch_size": BATCH},
        "compute": {"device": "cpu", "precision": "fp32", "threads": 1},
        "out": str(folder / "study"),
    }


@dataclass(frozen=True)
class Study:
    """A study of ours: CPU seconds in all and by part, accuracies by arm, the first draw of shots."""

    seconds: float
    parts: dict[str, float]
    accuracy: dict[str, float]
    shots: list[str]

    @property
    def further_draws_s(self) -> float:
        """Seconds of the shots of all seeds but the first."""
        return sum(self.parts[f"few-shot seed {seed}"] for seed in SEEDS[1:])


def _ours(folder: Path, options: argparse.Namespace, items: Items) -> Study:
    """Run it. Raises: SystemExit where it fails or has other items than the files."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps(_recipe(folder, options.model, options.epochs)), "utf-8")
    seconds, events = _process("ours", OURS, [str(recipe)], folder)
    study = folder / "study"
    ids = json.loads((study / "splits.json").read_text("utf-8"))["ids"]
    for part, rows in items.items():
        if sorted(ids[part]) != sorted(row["id"] for row in rows):
            raise SystemExit(f"{part} of the study has other items than the file.")
    accuracy, shots = dict[str, float](), list[str]()
    for path in sorted(study.glob("arms/*/arm.json")):
        about = json.loads(path.read_text("utf-8"))
        name = _name(about["arm"], about["seed"])
        accuracy |= _accuracies(path.parent, name)
        if name == f"few-shot seed {SEEDS[0]}":
            shots = about["chosen"]["shots"]
    return Study(seconds, _by_part(events, seconds), accuracy, shots)


def _name(arm: str, seed: int | None) -> str:
    return arm if seed is None else f"{arm} seed {seed}"


def _accuracies(arm: Path, name: str) -> dict[str, float]:
    """As the study scores it, and before calibration where there is such."""
    import pyarrow.parquet as pq

    rows = pq.read_table(arm / "predictions.parquet").to_pydict()
    accuracy = {name: json.loads((arm / "scores.json").read_text("utf-8"))["accuracy"]["value"]}
    if rows["uncalibrated"][0] is not None:
        right = [
            max(range(2), key=p.__getitem__) == WORDS.index(gold)
            for p, gold in zip(rows["uncalibrated"], rows["gold"], strict=True)
        ]
        accuracy[f"{name}, uncalibrated"] = statistics.mean(right)
    return accuracy


def _by_part(events: Sequence[tuple[str, str, float]], seconds: float) -> dict[str, float]:
    """Seconds of each arm, and of what is before, between and after the arms."""
    parts, started = dict[str, float](), 0.0
    for kind, name, at in events:
        if kind == "ArmStarted":
            started = at
        elif kind == "ArmFinished":
            parts[name.removeprefix("model ")] = at - started
    return {**parts, "before, between and after the arms": seconds - sum(parts.values())}


def _setup(folder: Path, options: argparse.Namespace, items: Items, shots: Sequence[str]) -> Path:
    """The file that the peers' scripts read, beside one with the shots in their order."""
    by_id = {row["id"]: row for row in items["train"]}
    _write(folder, {"shots": [by_id[shot] for shot in shots]})
    prompted: dict[str, Any] = {"adapter": None, "shots": 0, "batch": options.batch}
    values: dict[str, Any] = {
        "folder": str(folder),
        "model": options.model,
        "shipped": options.shipped,
        "instruction": INSTRUCTION,
        "words": WORDS,
        "longest": LONGEST,
        "epochs": options.epochs,
        "size": BATCH,
        "rate": RATE,
        "rank": RANK,
        "zero-shot": {**prompted, "arm": "zero-shot"},
        "few-shot": {
            **prompted,
            "arm": f"few-shot seed {SEEDS[0]}",
            "shots": SHOTS,
            "batch": options.few_shot_batch,
        },
    }
    for seed in SEEDS:
        name = f"lora seed {seed}"
        values[name] = {**prompted, "arm": name, "adapter": str(folder / f"adapter{seed}")}
    path = folder / "setup.json"
    path.write_text(json.dumps(values), "utf-8")
    return path


def _peers(folder: Path, setup: Path) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds by script, accuracies by arm."""
    seconds, accuracy = dict[str, float](), dict[str, float]()
    for script in SCRIPTS:
        arguments = [str(setup), *([script.argument] if script.argument else [])]
        seconds[script.name], results = _process(script.name, script.text, arguments, folder)
        accuracy |= results
        print(f"  {script.name:<44}{seconds[script.name]:8.1f}", flush=True)
    return seconds, accuracy


def _turn(folder: Path, options: argparse.Namespace, items: Items) -> tuple[float, float]:
    """Both sides once. Returns the ratio as both ran, and without our further draws of shots."""
    _write(folder, items)
    ours = _ours(folder, options, items)
    print("CPU seconds\nours: one `tuneproof run`")
    for name, seconds in ours.parts.items():
        print(f"  {name:<44}{seconds:8.1f}")
    print(f"  {'in all':<44}{ours.seconds:8.1f}\nthe peers' scripts", flush=True)
    seconds_by_script, theirs = _peers(folder, _setup(folder, options, items, ours.shots))
    in_all = sum(seconds_by_script.values())
    print(f"  {'in all':<44}{in_all:8.1f}\naccuracy                                           ours   theirs")
    for name, accuracy in ours.accuracy.items():
        peer = theirs.get(name.partition(",")[0])
        print(f"  {name:<44}{accuracy:8.3f} {'' if peer is None else f'{peer:8.3f}'}")
    means = [statistics.mean(side[f"lora seed {seed}"] for seed in SEEDS) for side in (ours.accuracy, theirs)]
    print(f"  {'lora, mean of the seeds':<44}{means[0]:8.3f} {means[1]:8.3f}", flush=True)
    return in_all / ours.seconds, in_all / (ours.seconds - ours.further_draws_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where the ratio is short of the mark."""
    parser = argparse.ArgumentParser(prog="benchmarks study")
    parser.add_argument(
        "--data", type=Path, required=True, help="a folder with glue_train and glue_dev.parquet"
    )
    parser.add_argument("--model", required=True, help="a decoder's folder")
    parser.add_argument("--train", type=int, default=160)
    parser.add_argument("--dev", type=int, default=60)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="lm-eval's, without shots")
    parser.add_argument("--few-shot-batch", type=int, default=8, help="lm-eval's, with shots")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--shipped", action="store_true", help="the precision that TRL and lm-eval choose")
    parser.add_argument("--out", type=Path, help="an empty folder that keeps every file")
    options = parser.parse_args(arguments)
    items = _items(options.data, options.train, options.dev, options.test)
    sizes = ", ".join(f"{len(rows)} {part}" for part, rows in items.items())
    print(f"SST-2, {sizes} items, {options.epochs} epochs of batch {BATCH}, rank {RANK}, rate {RATE}")
    ratios = []
    for turn in range(options.times):
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.out or Path(temporary)) / str(turn)
            folder.mkdir(parents=True)
            ratios.append(_turn(folder, options, items))
    as_run, one_draw = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(
        f"peers over ours {as_run:.2f}x, ours with {len(SEEDS)} draws of shots, the peer with one; "
        f"without our further draws {one_draw:.2f}x, to reach {TO_REACH:g}"
    )
    return int(one_draw < TO_REACH)
