"""The last layers above frozen layers beside all layers: time, accuracy, disk, on SST-2.

In: SST-2 and an encoder. Out: a table of process-CPU time of training, accuracy on GLUE dev, bytes.
Knows nothing of: peers, other tasks.

    python -m benchmarks trunk --data FOLDER --model FOLDER [--last 2] [--seeds 3]

Time is from the first step to the predictions: training with its evaluations on dev, then dev and test. The
frozen layers are read once, by the first arm that needs them; "with frozen" adds that to one seed of an arm.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
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
class FrozenLayers:
    """What the frozen layers cost: process-CPU seconds, once for all arms and seeds; bytes on disk."""

    seconds: float = 0.0
    disk: int = 0


def _recipe(options: argparse.Namespace, out: str) -> Any:
    from tuneproof.recipe.recipe import recipe_from

    layers = ("all", f"last {options.last}")
    return recipe_from(
        {
            "task": {"sst2": {"path": options.data}},
            "models": [options.model],
            "arms": [
                {method: {"name": f"{method}, {one}", "layers": one, **METHODS[method]}}
                for method in options.methods.split(",")
                for one in layers
            ],
            "seeds": list(range(options.seeds)),
            "split": {"kind": "official", "train_size": options.train, "dev_size": 1000},
            "encode": {"max_length": 128},
            "train": {"epochs": options.epochs, "batch_size": 32},
            "predict": {"batch_size": 64},
            "compute": {"device": "cpu", "threads": 1},
            "out": out,
        }
    )


@dataclass
class Stopwatch:
    """Process-CPU time at which an arm's frozen layers, its first step and its end came; 0: they did not."""

    frozen: float = 0.0
    train: float = 0.0
    end: float = 0.0

    def record(self, event: Any) -> None:
        """Record the time of an event."""
        from tuneproof.context.monitor import ArmFinished, StageStarted

        now = time.process_time()
        if isinstance(event, StageStarted):
            self.frozen = self.frozen or (now if event.name.startswith("frozen layers of") else 0.0)
            self.train = self.train or (now if event.name == "train" else 0.0)
        elif isinstance(event, ArmFinished):
            assert event.status == "done", event.line
            self.end = now

    @property
    def frozen_s(self) -> float:
        """Seconds for the frozen layers before the first step."""
        return self.train - self.frozen if self.frozen else 0.0

    @property
    def train_s(self) -> float:
        """Seconds from the first step to the predictions."""
        return self.end - self.train


def _measure(options: argparse.Namespace, out: str) -> tuple[dict[str, Measured], FrozenLayers]:
    """Every arm's first seed, then every arm's second: neighbours on the machine bother all alike."""
    from tuneproof.atomic import read_json
    from tuneproof.context.monitor import Monitor
    from tuneproof.record.study_folder import LEDGER, read_arm
    from tuneproof.study.arm_session import ArmSession, run_arm
    from tuneproof.study.lock import StudyLock
    from tuneproof.study.plan import plan_study
    from tuneproof.study.run import RESUME, open_folder

    recipe = _recipe(options, out)
    plan = plan_study(recipe)
    results = {arm.name: Measured() for arm in recipe.arms}
    frozen = FrozenLayers()
    with StudyLock(plan.folder) as lock:
        open_folder(plan, RESUME, lock, Monitor())
        session = ArmSession(plan, Monitor())
        for run in sorted(plan.arms, key=lambda run: (run.seed or 0, run.index)):
            stopwatch = Stopwatch()
            session.monitor = Monitor(stopwatch.record)
            run_arm(session, run)
            frozen.seconds += stopwatch.frozen_s
            ledger = read_json(run.folder / LEDGER)
            frozen.disk = max(frozen.disk, ledger.get("frozen_layers", {}).get("disk_bytes", 0))
            measured = results[run.arm.name]
            measured.seconds.append(stopwatch.train_s)
            measured.trainable = ledger["trainable"]
            measured.accuracy.append(read_arm(run.folder).scores["accuracy"]["value"])
            print(
                f"  {run.arm.name}, seed {run.seed}: {stopwatch.train_s:.1f} s, "
                f"frozen layers {stopwatch.frozen_s:.1f} s, accuracy {100 * measured.accuracy[-1]:.2f} %",
                flush=True,
            )
    return results, frozen


def _table(results: dict[str, Measured], frozen: FrozenLayers) -> None:
    print(f"frozen layers: {frozen.seconds:.1f} s once, {frozen.disk / 1e6:.1f} MB on disk")
    print(
        f"{'arm':<16}{'trained':>12}{'a seed':>10}{'as fast':>9}{'with frozen':>12}{'accuracy':>11}"
        f"{'spread':>8}"
    )
    for name, measured in results.items():
        all_layers_s = statistics.mean(results[f"{name.partition(',')[0]}, all"].seconds)
        seconds = statistics.mean(measured.seconds)
        with_frozen_s = seconds if name.endswith("all") else seconds + frozen.seconds
        accuracy = [100 * value for value in measured.accuracy]
        print(
            f"{name:<16}{measured.trainable:>12,}{seconds:>8.1f} s{all_layers_s / seconds:>8.2f}x"
            f"{all_layers_s / with_frozen_s:>11.2f}x"
            f"{statistics.mean(accuracy):>9.2f} %{max(accuracy) - min(accuracy):>8.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks trunk")
    parser.add_argument("--data", required=True, help="a folder with glue_train and glue_dev")
    parser.add_argument("--model", default="minilm", help="a shelf name or a folder")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--last", type=int, default=2)
    parser.add_argument("--train", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    import torch
    import transformers

    torch.set_num_threads(1)
    print(
        f"SST-2, {options.train:,} train items, {options.epochs} epochs, {options.seeds} seeds; transformers "
        f"{transformers.__version__}, torch {torch.__version__}, one thread, process-CPU time"
    )
    with tempfile.TemporaryDirectory() as folder:
        _table(*_measure(options, folder))
    return 0
