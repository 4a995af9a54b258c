"""An encoder's fine-tuning, all weights: our loop and the Hugging Face Trainer in turn.

In: real texts' lengths, an encoder of random weights. Out: a table of ratios of process-CPU time.
Knows nothing of: tasks, recipes, accuracy.

    python -m benchmarks encoder [--texts FILE.parquet --column sentence] [--hidden 256,768] [--times 5]

A token is a word's place in a table of 30,000 (by its CRC), so that no tokenizer is timed. Dropout is off:
on the same batches both sides must have the same losses. The Trainer's own grouping by length sorts 50
batches' worth at once from 200 batches on, and less on fewer: here it is given ours, which always does.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.alternating import Timed, row, widest
from benchmarks.stand_ins import read_texts, texts_as_ids
from benchmarks.training import Items, by_trainer, by_us, head_extra, labelled_rows, padded

VOCABULARY = 30_522
RATE = 5e-5
LOSS_BAR = 1e-4
LONG = 64  # tokens on average: reviews rather than phrases


@dataclass(frozen=True)
class Peer:
    """How the Trainer is set up; `alike`: in our order of items and with our kernels.

    grouped: in our order of items grouped by length.
    """

    name: str
    grouped: bool
    padding: str
    alike: bool
    marks: dict[str, float]  # to reach: at a hidden size, or at long texts


PEERS = (
    Peer("same batches, same kernels", False, "longest", True, {"256": 2, "768": 2, "long": 1.3}),
    Peer("dynamic padding", False, "longest", False, {"256": 4.5, "768": 3.5, "long": 2}),
    Peer("grouped by length", True, "longest", False, {"256": 2, "768": 2}),
    Peer("max_length (128)", False, "max_length", False, {"256": 12, "768": 12}),
)


def _data(texts: Sequence[str], batch: int, steps: int) -> Items:
    ids = texts_as_ids(texts, batch * steps, VOCABULARY)
    return Items(ids, [len(item_ids) % 2 for item_ids in ids], batch)


def _model(hidden: int) -> Any:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            num_hidden_layers=6,
            num_attention_heads=hidden // 64,
            intermediate_size=4 * hidden,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def ours(hidden: int, items: Items, grouped: bool = False, precision: str = "fp32") -> Timed:
    """Process-CPU seconds of an epoch, and the losses."""
    from tuneproof.families import FAMILIES
    from tuneproof.train.losses import head_loss

    return by_us(
        _model(hidden),
        items,
        lambda model, part: head_loss(model, FAMILIES["bert"], part),
        head_extra(items),
        RATE,
        grouped=grouped,
        precision=precision,
    )


def _theirs(hidden: int, items: Items, peer: Peer) -> Timed:
    """The same by the Trainer; the losses are kept where it does the same."""
    longest = 128 if peer.padding == "max_length" else 0
    return by_trainer(
        _model(hidden),
        items,
        labelled_rows(items),
        lambda rows: padded(rows, longest),
        RATE,
        our_order=peer.alike or peer.grouped,
        grouped=peer.grouped,
        our_kernels=peer.alike,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where losses on the same batches differ."""
    parser = argparse.ArgumentParser(prog="benchmarks encoder")
    parser.add_argument("--texts", help="a Parquet file of real texts (default: the demo's)")
    parser.add_argument("--column", default="sentence")
    parser.add_argument("--hidden", default="256,768")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args(arguments)
    import torch
    import transformers

    torch.set_num_threads(1)
    texts = read_texts(options.texts, options.column)
    print(
        f"ours against Trainer (transformers {transformers.__version__}, torch {torch.__version__}), "
        f"one thread, process-CPU time, median (spread) of {options.times} alternations"
    )
    agreed = True
    for hidden in map(int, options.hidden.split(",")):
        data = _data(texts, 32 if hidden < 512 else 16, options.steps)
        mean = statistics.mean(map(len, data.ids))
        print(f"hidden {hidden}, 6 layers, batch {data.batch}, {mean:.0f} tokens on average")
        ours(hidden, data)  # the first run of a process pays for imports and kernels
        size = "long" if mean > LONG else str(hidden)
        for peer in PEERS:
            if size not in peer.marks or options.only not in peer.name:
                continue
            agreed &= row(
                f"  {peer.name}{', both grouped' if peer.grouped else ''}",
                options.times,
                lambda d=data, h=hidden, g=peer.grouped: ours(h, d, g),
                lambda d=data, h=hidden, p=peer: _theirs(h, d, p),
                peer.marks[size],
                widest if peer.alike or peer.grouped else None,
                LOSS_BAR,
            )
        dynamic = next(peer for peer in PEERS if peer.name == "dynamic padding")
        for name, precision in () if options.only else (("grouped", "fp32"), ("grouped, bf16", "bf16")):
            row(
                f"  dynamic padding, ours {name}",
                options.times,
                lambda d=data, h=hidden, p=precision: ours(h, d, True, p),
                lambda d=data, h=hidden, p=dynamic: _theirs(h, d, p),
            )
    return 0 if agreed else 1
