"""The last layers above a frozen trunk beside all layers: time, accuracy, disk, on SST-2.

In: SST-2 and an encoder. Out: a table of process-CPU time of training, accuracy on GLUE dev, bytes.
Knows nothing of: peers, other tasks.

    python -m benchmarks trunk --data FOLDER --model FOLDER [--last 2] [--seeds 3]

Time is from the first step to the predictions: training with its evaluations on dev, then dev and test. The
trunk is read once, by the first arm that needs it; "with trunk" adds that to a single seed of an arm.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

METHODS = {"lora": {"learning_rate": 5e-4}, "full": {"learning_rate": 5e-5}}


@dataclass
class Measured:
    """An arm over its seeds: process-CPU seconds of training and predicting, accuracy on GLUE dev."""

    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    trainable: int = 0


@dataclass
class Trunk:
    """What the frozen layers cost: process-CPU seconds, once for all arms and seeds; bytes on disk."""

    seconds: float = 0.0
    disk: int = 0


def _recipe(asked: argparse.Namespace, out: str) -> Any:
    from tuneproof.recipe.recipe import recipe_from

    layers = ("all", f"last {asked.last}")
    return recipe_from(
        {
            "task": {"sst2": {"path": asked.data}},
            "models": [asked.model],
            "arms": [
                {method: {"name": f"{method}, {one}", "layers": one, **METHODS[method]}}
                for method in asked.methods.split(",")
                for one in layers
            ],
            "seeds": list(range(asked.seeds)),
            "split": {"kind": "official", "train_size": asked.train, "dev_size": 1000},
            "encode": {"max_length": 128},
            "train": {"epochs": asked.epochs, "batch_size": 32},
            "predict": {"batch_size": 64},
            "compute": {"device": "cpu", "threads": 1},
            "out": out,
        }
    )


def _last(running: Iterator[Any]) -> Any:
    """What a stage returns, its events left aside."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def _timed(events: Iterator[Any]) -> tuple[float, float]:
    """Process-CPU seconds from an arm's first step to its predictions, and of its trunk before."""
    from tuneproof.context.monitor import ArmEnded, StageBegun

    trunk = train = 0.0
    for event in events:
        now = time.process_time()
        if isinstance(event, StageBegun):
            trunk = trunk or (now if event.name.startswith("trunk of") else 0.0)
            train = train or (now if event.name == "train" else 0.0)
        elif isinstance(event, ArmEnded):
            assert event.status == "done", event.line
            return now - train, train - trunk if trunk else 0.0
    raise AssertionError("an arm ends")


def _measure(asked: argparse.Namespace, out: str) -> tuple[dict[str, Measured], Trunk]:
    """Every arm's first seed, then every arm's second: neighbours on the machine bother all alike."""
    from tuneproof.atomic import read_json
    from tuneproof.record.study_folder import LEDGER, read_arm
    from tuneproof.study.run import carry_out, prepare

    recipe = _recipe(asked, out)
    plan = _last(prepare(recipe))
    found = {arm.name: Measured() for arm in recipe.arms}
    trunk = Trunk()
    for work in sorted(plan.works, key=lambda work: (work.seed, work.place)):
        seconds, below = _timed(carry_out(plan, work))
        trunk.seconds += below
        ledger = read_json(work.folder / LEDGER)
        trunk.disk = max(trunk.disk, ledger.get("trunk", {}).get("disk_bytes", 0))
        measured = found[work.arm.name]
        measured.seconds.append(seconds)
        measured.trainable = ledger["trainable"]
        measured.accuracy.append(read_arm(work.folder).scores["accuracy"]["value"])
        print(
            f"  {work.arm.name}, seed {work.seed}: {seconds:.1f} s, trunk {below:.1f} s, "
            f"accuracy {100 * measured.accuracy[-1]:.2f} %",
            flush=True,
        )
    return found, trunk


def _table(found: dict[str, Measured], trunk: Trunk) -> None:
    print(f"trunk: {trunk.seconds:.1f} s once, {trunk.disk / 1e6:.1f} MB on disk")
    print(
        f"{'arm':<16}{'trained':>12}{'a seed':>10}{'as fast':>9}{'with trunk':>12}{'accuracy':>11}"
        f"{'spread':>8}"
    )
    for name, one in found.items():
        whole = statistics.mean(found[f"{name.partition(',')[0]}, all"].seconds)
        mine = statistics.mean(one.seconds)
        paid = mine if name.endswith("all") else mine + trunk.seconds
        accuracy = [100 * value for value in one.accuracy]
        print(
            f"{name:<16}{one.trainable:>12,}{mine:>8.1f} s{whole / mine:>8.2f}x{whole / paid:>11.2f}x"
            f"{statistics.mean(accuracy):>9.2f} %{max(accuracy) - min(accuracy):>8.2f}"
        )


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks trunk")
    parser.add_argument("--data", required=True, help="a folder with glue_train and glue_dev")
    parser.add_argument("--model", default="minilm", help="a shelf name or a folder")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--last", type=int, default=2)
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args(words)
    import torch
    import transformers

    torch.set_num_threads(1)
    print(
        f"SST-2, {asked.train:,} train items, {asked.epochs} epochs, {asked.seeds} seeds; transformers "
        f"{transformers.__version__}, torch {torch.__version__}, one thread, process-CPU time"
    )
    with tempfile.TemporaryDirectory() as folder:
        _table(*_measure(asked, folder))
    return 0
