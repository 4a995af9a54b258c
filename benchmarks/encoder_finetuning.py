"""An encoder's fine-tuning, all weights: our loop and the Hugging Face Trainer in turn.

In: real texts' lengths, an encoder of random weights. Out: a table of ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks encoder [--texts FILE.parquet --column sentence] [--hidden 256,768] [--times 5]

A token is a word's place in a table of 30,000 (by its CRC), so that no tokenizer is timed. Dropout is off:
on the same batches both sides must have the same losses.
"""

import argparse
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

VOCABULARY, LONGEST = 30_522, 256
RATE, CLIP = 5e-5, 1.0
LOSS_BAR = 1e-4
PEERS = {
    # name: strategy of the Trainer, padding, our batches and our kernels?
    "same batches, same kernels": ("random", "longest", True),
    "dynamic padding, as shipped": ("random", "longest", False),
    "grouped by length, as shipped": ("group_by_length", "longest", False),
    "max_length (128), as shipped": ("random", "max_length", False),
}


@dataclass(frozen=True)
class Data:
    """Token ids and labels of the items that one epoch reads."""

    ids: list[list[int]]
    labels: list[int]
    batch: int


def _texts(words: argparse.Namespace) -> list[str]:
    if words.texts:
        import pyarrow.parquet as pq

        return [str(text) for text in pq.read_table(words.texts)[words.column].to_pylist()]
    from tuneproof.tasks.demo_task import DemoOptions, read

    return [example.text for example in read(DemoOptions()).parts["train"]]


def _data(texts: Sequence[str], batch: int, steps: int) -> Data:
    chosen = np.random.default_rng(0).permutation(len(texts))[: batch * steps]
    ids = [
        [1, *(4 + zlib.crc32(w.encode()) % 30_000 for w in texts[i].split()[: LONGEST - 2]), 2]
        for i in chosen
    ]
    return Data(ids, [len(row) % 2 for row in ids], batch)


def _model(hidden: int) -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=6,
            num_attention_heads=hidden // 64, intermediate_size=4 * hidden, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def _shipped_kernels() -> None:
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.enable_flash_sdp(True)


def _ours(hidden: int, data: Data) -> tuple[float, list[float]]:
    """Process-CPU seconds of an epoch, and the losses."""
    import torch

    from tuneproof.data.batches import collate_epoch, count_batches
    from tuneproof.data.tokens import pad_batch
    from tuneproof.families import FAMILIES
    from tuneproof.model.kernels import choose_matmul
    from tuneproof.train.loop import fit, make_accelerator
    from tuneproof.train.losses import head_loss
    from tuneproof.train.optimizer import make_optimizer, make_schedule

    model = _model(hidden)
    labels = torch.tensor(data.labels)

    def collate(chosen: Any) -> dict[str, Any]:
        part = pad_batch([data.ids[i] for i in chosen], 0, "right")
        return {
            **part, "labels": labels[torch.as_tensor(chosen)],
            "tokens": int(part["attention_mask"].sum()),
        }  # fmt: skip

    steps = count_batches(len(data.ids), data.batch)
    choose_matmul("cpu", max(map(len, data.ids)))
    begun = time.process_time()
    losses = [
        step.loss
        for step in fit(
            model,
            lambda epoch: collate_epoch(
                [str(i) for i in range(len(data.ids))], collate, data.batch, 0, epoch
            ),
            lambda model, part: head_loss(model, FAMILIES["bert"], part),
            lambda part: len(part["labels"]),
            make_optimizer(model, RATE, 0.0),
            make_schedule("linear", steps, 0.0),
            epochs=1, steps_per_epoch=steps, clip_norm=CLIP, seed=0,
            accelerator=make_accelerator("cpu", "fp32"),
        )
    ]  # fmt: skip
    return time.process_time() - begun, losses


def _theirs(hidden: int, data: Data, strategy: str, padding: str, alike: bool) -> Any:
    """The same by the Trainer; `alike`: in our order and with our kernels, the losses kept."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from tuneproof.data.batches import plan_batches
    from tuneproof.model.kernels import choose_matmul

    longest = 128 if padding == "max_length" else 0

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        wide = max(longest, *(len(row["input_ids"]) for row in rows))
        ids = torch.zeros((len(rows), wide), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[at, : len(row["input_ids"])] = 1
        labels = torch.tensor([row["labels"] for row in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    losses: list[float] = []

    class Ordered(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if not alike:
                return super()._get_train_sampler(train_dataset)
            return np.concatenate(plan_batches(len(data.ids), data.batch, 0, 0)).tolist()

    class Kept(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    rows = [{"input_ids": i, "labels": y} for i, y in zip(data.ids, data.labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Ordered(
            _model(hidden),
            TrainingArguments(
                folder, per_device_train_batch_size=data.batch, num_train_epochs=1, use_cpu=True,
                learning_rate=RATE, max_grad_norm=CLIP, report_to="none", save_strategy="no",
                logging_strategy="steps" if alike else "no", logging_steps=1, disable_tqdm=True,
                train_sampling_strategy=strategy,
            ),
            data_collator=collate, train_dataset=rows, callbacks=[Kept()],
        )  # fmt: skip
        trainer.remove_callback(next(
            type(c) for c in trainer.callback_handler.callbacks if "Printer" in type(c).__name__
        ))  # fmt: skip
        _shipped_kernels()
        if alike:
            choose_matmul("cpu", max(map(len, data.ids)))
        begun = time.process_time()
        trainer.train()
        return time.process_time() - begun, losses


def _row(
    name: str, times: int, alike: bool, ours: Callable[[], Any], theirs: Callable[[], Any]
) -> bool:
    """Alternate, print the ratio with its spread; false where the losses of runs alike differ."""
    ratios = []
    apart = 0.0
    for turn in range(times):
        first, second = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        found = {first: first(), second: second()}
        ratios.append(found[theirs][0] / found[ours][0])
        if alike:
            pairs = zip(found[ours][1], found[theirs][1], strict=True)
            apart = max(apart, max(abs(a - b) for a, b in pairs))
    said = f"; losses within {apart:.1e}" if alike else ""
    print(
        f"{name:<52}{statistics.median(ratios):6.2f}x  ({min(ratios):.2f} to {max(ratios):.2f}){said}",
        flush=True,
    )
    return apart <= LOSS_BAR


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; 1 where losses on the same batches differ."""
    parser = argparse.ArgumentParser(prog="benchmarks encoder")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="sentence")
    parser.add_argument("--hidden", default="256,768")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args(words)
    import torch
    import transformers

    torch.set_num_threads(1)
    texts = _texts(asked)
    print(
        f"ours against Trainer (transformers {transformers.__version__}, torch {torch.__version__}), "
        f"one thread, process-CPU time, median (spread) of {asked.times} alternations"
    )
    agreed = True
    for hidden in map(int, asked.hidden.split(",")):
        data = _data(texts, 32 if hidden < 512 else 16, asked.steps)
        mean = statistics.mean(map(len, data.ids))
        print(f"hidden {hidden}, 6 layers, batch {data.batch}, {mean:.0f} tokens on average")
        _ours(hidden, data)  # the first run of a process pays for imports and kernels
        for name, (strategy, padding, alike) in PEERS.items():
            agreed &= _row(
                f"  {name}", asked.times, alike, lambda d=data, h=hidden: _ours(h, d),
                lambda d=data, h=hidden, s=strategy, p=padding, a=alike: _theirs(h, d, s, p, a),
            )  # fmt: skip
    return 0 if agreed else 1
