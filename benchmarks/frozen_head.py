"""A head on a frozen encoder, with accuracy: ours, the Trainer's three ways, sentence-transformers'.

In: SST-2 and an encoder. Out: a table of ratios of process-CPU time, and everyone's accuracy.
Knows nothing of: recipes, reports.

    python -m benchmarks head --data FOLDER --model FOLDER [--train 1280] [--test 872] [--times 5]

Ours: features of train, dev and test once, the convex fit on train for every pooling and strength, dev
choosing (a tenth of the train items). The Trainer: the base frozen, three epochs, an evaluation before
and after. Loading is on neither side; tokens are made on both before the clock starts, but for
sentence-transformers, which makes its own.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.alternating import Timed, row, timed
from benchmarks.training import Items, fresh_state, kernels, labelled_rows, padded, silence

LONGEST, BATCH, EPOCHS, RATE = 128, 32, 3, 1e-3
TRAINERS = {
    # name: strategy of the Trainer, padding, to reach
    "Trainer, dynamic padding": ("random", "longest", 6.0),
    "Trainer, grouped by length": ("group_by_length", "longest", 2.8),
    "Trainer, max_length (128)": ("random", "max_length", 15.0),
}


@dataclass(frozen=True)
class Part:
    """Texts, their tokens and labels."""

    texts: list[str]
    ids: list[list[int]]
    labels: np.ndarray

    @property
    def items(self) -> Items:
        """Tokens and labels, as training takes them."""
        return Items(self.ids, self.labels.tolist(), BATCH)

    def cut(self, begin: int, end: int | None = None) -> "Part":
        """Some of them."""
        return Part(self.texts[begin:end], self.ids[begin:end], self.labels[begin:end])


def read_part(file: Path, tokenizer: Any, items: int | None) -> Part:
    """GLUE's columns; `items` of them drawn, all where it is None."""
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    texts, labels = table["sentence"].to_pylist(), np.array(table["label"], dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(texts))[:items]
    chosen = [texts[index] for index in order]
    ids = tokenizer(chosen, truncation=True, max_length=LONGEST)["input_ids"]
    return Part(chosen, ids, labels[order])


def _ours(folder: str, train: Part, test: Part) -> Timed:
    import torch

    from tuneproof.arms.probe import candidate_poolings, load_base
    from tuneproof.context.compute import make_compute
    from tuneproof.context.model_spec import make_model_spec
    from tuneproof.methods.head import HeadOptions, fit_logistic_head
    from tuneproof.methods.linear_head import HeadData
    from tuneproof.models.oom import AdaptiveBatchSize
    from tuneproof.models.pooled_features import pooled_features
    from tuneproof.recipe.recipe import ModelChoice
    from tuneproof.settings import ComputeSettings, EncodeSettings

    spec = make_model_spec(ModelChoice(id=folder), EncodeSettings(max_length=LONGEST))
    compute = make_compute(ComputeSettings(device="cpu", threads=1), LONGEST)
    model = load_base(spec, compute)
    poolings = candidate_poolings(spec, "auto")
    dev_items = len(train.labels) // 10

    def work() -> float:
        features = [
            pooled_features(
                model,
                spec.family,
                part.ids,
                spec.pad.id,
                poolings,
                AdaptiveBatchSize(BATCH),
                torch.device("cpu"),
                compute.autocast,
            )
            for part in (train.cut(dev_items), train.cut(0, dev_items), test)
        ]
        data = HeadData(features[0], train.labels[dev_items:], features[1], train.labels[:dev_items], True, 2)
        probe = fit_logistic_head(HeadOptions(), data)
        predicted = probe.probabilities(features[2][probe.pooling]).argmax(1)
        return float((predicted == test.labels).mean())

    return timed(work)


def _trainer(folder: str, train: Part, test: Part, strategy: str, padding: str) -> Timed:
    import torch
    from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

    fresh_state()
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model.base_model.requires_grad_(False)
    wide = LONGEST if padding == "max_length" else 0

    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            model,
            TrainingArguments(
                out,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=BATCH,
                num_train_epochs=EPOCHS,
                use_cpu=True,
                learning_rate=RATE,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                train_sampling_strategy=strategy,
            ),
            data_collator=lambda rows: padded(rows, wide),
            train_dataset=labelled_rows(train.items),
            eval_dataset=labelled_rows(test.items),
            compute_metrics=lambda predictions: {
                "accuracy": (predictions[0].argmax(-1) == predictions[1]).mean()
            },
        )
        silence(trainer)
        kernels(train.items, ours=False)
        started = time.process_time()
        trainer.evaluate()
        trainer.train()
        result = trainer.evaluate()["eval_accuracy"]
        return time.process_time() - started, float(result)


def _sentences(folder: str, train: Part, test: Part) -> Timed:
    """Encode and a logistic regression, as sentence-transformers' and SetFit's pages show it."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    kernels(train.items, ours=False)
    model = SentenceTransformer(folder, device="cpu")

    def work() -> float:
        features = [
            model.encode(part.texts, batch_size=BATCH, show_progress_bar=False) for part in (train, test)
        ]
        fit = LogisticRegression(max_iter=1000).fit(features[0], train.labels)
        return float(fit.score(features[1], test.labels))

    return timed(work)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where our accuracy is below a Trainer's."""
    parser = argparse.ArgumentParser(prog="benchmarks head")
    parser.add_argument("--data", required=True, help="a folder with glue_train and glue_dev.parquet")
    parser.add_argument("--model", required=True, help="an encoder's folder")
    parser.add_argument("--train", type=int, default=1280)
    parser.add_argument("--test", type=int, help="items to predict (default: all of GLUE's dev)")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args(arguments)
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    train = read_part(Path(options.data) / "glue_train.parquet", tokenizer, options.train)
    test = read_part(Path(options.data) / "glue_dev.parquet", tokenizer, options.test)
    print(
        f"a head on {len(train.texts):,} items, {len(test.texts)} to predict, one thread, process-CPU "
        f"time, median (spread) of {options.times} alternations"
    )
    accuracy: dict[str, float] = {}

    def record_accuracy(name: str, work: Callable[[], Timed]) -> Callable[[], Timed]:
        def run() -> Timed:
            result = work()
            accuracy[name] = result[1]
            return result

        return run

    ours = record_accuracy("ours", lambda: _ours(options.model, train, test))
    ours()
    for name, (strategy, padding, mark) in TRAINERS.items():
        theirs = record_accuracy(
            name, lambda s=strategy, p=padding: _trainer(options.model, train, test, s, p)
        )
        row(f"  {name}", options.times, ours, theirs, mark)
    try:
        import sentence_transformers
    except ImportError:
        print("  sentence-transformers is not installed; make bench sets it up")
    else:
        name = f"sentence-transformers {sentence_transformers.__version__}, logistic regression"
        theirs = record_accuracy(name, lambda: _sentences(options.model, train, test))
        row(f"  {name}", options.times, ours, theirs, 1.5)
    print("  accuracy: " + ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items()))
    return 0 if accuracy["ours"] >= max(accuracy[name] for name in TRAINERS) else 1
