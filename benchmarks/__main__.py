"""Runs a benchmark by name, all that stand beside a peer, or lists them.

In: a name and its options. Out: what the benchmark prints. Knows nothing of: what is measured.

    python -m benchmarks [NAME [OPTIONS]]
    python -m benchmarks all --shared FOLDER
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

# name: its module, and what `all` gives it; None where `all` leaves it out
SST2 = ["--data", "{shared}/data/sst2", "--model", "{shared}/models/minilm-l6"]
BENCHMARKS: dict[str, tuple[str, list[list[str]] | None]] = {
    "accuracy": ("accuracy_parity", [SST2]),
    "chaos": ("chaos", None),
    "encoder": (
        "encoder_finetuning",
        [
            ["--texts", "{shared}/data/sst2/glue_train.parquet"],
            ["--texts", "{shared}/data/imdb/train.parquet", "--column", "text", "--hidden", "256"],
        ],
    ),
    "head": ("frozen_head", [SST2]),
    "labels": (
        "label_scoring",
        [
            [
                "--short",
                "{shared}/data/sst2/glue_train.parquet",
                "--long",
                "{shared}/data/imdb/train.parquet",
            ]
        ],
    ),
    "limits": ("limits", [["--texts", "{shared}/data/sst2/glue_train.parquet"]]),
    "linear": ("linear_cost", [SST2]),
    "lora": (
        "lora_words",
        [
            ["--texts", "{shared}/data/sst2/glue_train.parquet"],
            ["--texts", "{shared}/data/imdb/train.parquet", "--column", "text"],
        ],
    ),
    "memory": ("memory_prediction", None),
    "questions": (
        "question_generation",
        [["--questions", "{shared}/data/squad_v2/dev-v2.0.json.gz"]],
    ),
    "reliability": ("reliability", None),
    "squad": ("squad_scoring", [["--data", "{shared}/data/squad_v2"]]),
    "starting": ("starting", [["--model", "{shared}/models/minilm-l6"]]),
    "streaming": ("streaming", None),
    "statistics": ("simulate_statistics", None),
    "trunk": ("frozen_trunk", [SST2]),
}


def main(words: Sequence[str]) -> int:
    """The exit code of the benchmark that the first word names; without a word, their names."""
    if not words:
        print("\n".join(BENCHMARKS))
        return 0
    if words[0] == "all":
        return _all(words[1:])
    if words[0] not in BENCHMARKS:
        allowed = ", ".join(["all", *BENCHMARKS])
        print(f"{words[0]} is not a benchmark. Allowed: {allowed}.", file=sys.stderr)
        return 2
    return _run(words[0], words[1:])


def _run(name: str, words: Sequence[str]) -> int:
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[name][0]}")
    return int(module.main(list(words)))


def _all(words: Sequence[str]) -> int:
    """Every row of the table, one benchmark after the other; 1 where results differ anywhere."""
    parser = argparse.ArgumentParser(prog="benchmarks all")
    parser.add_argument("--shared", required=True, help="a folder with data/ and models/")
    asked = parser.parse_args(words)
    worst = 0
    for name, (_, runs) in BENCHMARKS.items():
        for options in runs or ():
            given = [word.format(shared=asked.shared) for word in options]
            print(f"\n{name} {' '.join(given)}", flush=True)
            worst = max(worst, _run(name, given))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
