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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alternating import Timed, row, widest
from benchmarks.stand_ins import read_texts, texts_as_ids

VOCABULARY = 30_522
RATE, CLIP = 5e-5, 1.0
LOSS_BAR = 1e-4
LONG = 64  # tokens on average: reviews rather than phrases


@dataclass(frozen=True)
class Peer:
    """How the Trainer is set up; `alike`: in our order of items and with our kernels."""

    name: str
    strategy: str
    padding: str
    alike: bool
    marks: dict[str, float]  # to reach: at a hidden size, or at long texts


PEERS = (
    Peer(
        "same batches, same kernels", "random", "longest", True, {"256": 2, "768": 2, "long": 1.3}
    ),
    Peer("dynamic padding", "random", "longest", False, {"256": 4.5, "768": 3.5, "long": 2}),
    Peer("grouped by length", "group_by_length", "longest", False, {"256": 2, "768": 2}),
    Peer("max_length (128)", "random", "max_length", False, {"256": 12, "768": 12}),
)


@dataclass(frozen=True)
class Data:
    """Token ids and labels of the items that one epoch reads."""

    ids: list[list[int]]
    labels: list[int]
    batch: int


def _data(texts: Sequence[str], batch: int, steps: int) -> Data:
    ids = texts_as_ids(texts, batch * steps, VOCABULARY)
    return Data(ids, [len(one) % 2 for one in ids], batch)


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


def ours(hidden: int, data: Data, grouped: bool = False, precision: str = "fp32") -> Timed:
    """Process-CPU seconds of an epoch, and the losses."""
    import torch
    from accelerate.state import AcceleratorState

    from tuneproof.data.batches import collate_epoch, count_batches
    from tuneproof.data.tokens import pad_batch
    from tuneproof.families import FAMILIES
    from tuneproof.model.kernels import choose_matmul
    from tuneproof.train.loop import fit, make_accelerator
    from tuneproof.train.losses import head_loss
    from tuneproof.train.optimizer import make_optimizer, make_schedule

    AcceleratorState._reset_state(True)  # another precision may stand there
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
                [str(i) for i in range(len(data.ids))], collate, data.batch, 0, epoch,
                lengths=list(map(len, data.ids)), grouped=grouped,
            ),
            lambda model, part: head_loss(model, FAMILIES["bert"], part),
            lambda part: len(part["labels"]),
            make_optimizer(model, RATE, 0.0),
            make_schedule("linear", steps, 0.0),
            epochs=1, steps_per_epoch=steps, clip_norm=CLIP, seed=0,
            accelerator=make_accelerator("cpu", precision),
        )
    ]  # fmt: skip
    return time.process_time() - begun, losses


def _theirs(hidden: int, data: Data, peer: Peer) -> Timed:
    """The same by the Trainer; the losses are kept where it does the same."""
    import torch
    from accelerate.state import AcceleratorState
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from tuneproof.data.batches import plan_batches
    from tuneproof.model.kernels import choose_matmul

    longest = 128 if peer.padding == "max_length" else 0

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        wide = max(longest, *(len(row["input_ids"]) for row in rows))
        ids = torch.zeros((len(rows), wide), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, item in enumerate(rows):
            ids[at, : len(item["input_ids"])] = torch.tensor(item["input_ids"])
            mask[at, : len(item["input_ids"])] = 1
        labels = torch.tensor([item["labels"] for item in rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    losses: list[float] = []

    class Ordered(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if not peer.alike:
                return super()._get_train_sampler(train_dataset)
            return np.concatenate(plan_batches(len(data.ids), data.batch, 0, 0)).tolist()

    class Kept(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    AcceleratorState._reset_state(True)
    rows = [{"input_ids": i, "labels": y} for i, y in zip(data.ids, data.labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Ordered(
            _model(hidden),
            TrainingArguments(
                folder, per_device_train_batch_size=data.batch, num_train_epochs=1, use_cpu=True,
                learning_rate=RATE, max_grad_norm=CLIP, report_to="none", save_strategy="no",
                logging_strategy="steps" if peer.alike else "no", logging_steps=1, disable_tqdm=True,
                train_sampling_strategy=peer.strategy,
            ),
            data_collator=collate, train_dataset=rows, callbacks=[Kept()],
        )  # fmt: skip
        trainer.remove_callback(next(
            type(c) for c in trainer.callback_handler.callbacks if "Printer" in type(c).__name__
        ))  # fmt: skip
        _shipped_kernels()
        if peer.alike:
            choose_matmul("cpu", max(map(len, data.ids)))
        begun = time.process_time()
        trainer.train()
        return time.process_time() - begun, losses


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
    texts = read_texts(asked.texts, asked.column)
    print(
        f"ours against Trainer (transformers {transformers.__version__}, torch {torch.__version__}), "
        f"one thread, process-CPU time, median (spread) of {asked.times} alternations"
    )
    agreed = True
    for hidden in map(int, asked.hidden.split(",")):
        data = _data(texts, 32 if hidden < 512 else 16, asked.steps)
        mean = statistics.mean(map(len, data.ids))
        print(f"hidden {hidden}, 6 layers, batch {data.batch}, {mean:.0f} tokens on average")
        ours(hidden, data)  # the first run of a process pays for imports and kernels
        size = "long" if mean > LONG else str(hidden)
        for peer in PEERS:
            if size not in peer.marks:
                continue
            grouped = peer.strategy == "group_by_length"
            agreed &= row(
                f"  {peer.name}{', both grouped' if grouped else ''}", asked.times,
                lambda d=data, h=hidden, g=grouped: ours(h, d, g),
                lambda d=data, h=hidden, p=peer: _theirs(h, d, p),
                peer.marks[size], widest if peer.alike else None, LOSS_BAR,
            )  # fmt: skip
        dynamic = next(peer for peer in PEERS if peer.name == "dynamic padding")
        for name, precision in (("grouped", "fp32"), ("grouped, bf16", "bf16")):
            row(
                f"  dynamic padding, ours {name}", asked.times,
                lambda d=data, h=hidden, p=precision: ours(h, d, True, p),
                lambda d=data, h=hidden, p=dynamic: _theirs(h, d, p),
            )  # fmt: skip
    return 0 if agreed else 1
