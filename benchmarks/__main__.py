"""Runs a benchmark by name, all that stand beside a peer, or lists them.

In: a name and its options. Out: what the benchmark prints. Knows nothing of: what is measured.

    python -m benchmarks [NAME [OPTIONS]]
    python -m benchmarks all --shared FOLDER [--decoder FOLDER] [--only NAME,...]
"""

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Sequence

# name: its module, and what `all` gives it; None where `all` leaves it out
SST2 = ["--data", "{shared}/data/sst2", "--model", "{shared}/models/minilm-l6"]
SHORT, LONG = "{shared}/data/sst2/glue_train.parquet", "{shared}/data/imdb/train.parquet"
REVIEWS = ["--texts", LONG, "--column", "text"]
BENCHMARKS: dict[str, tuple[str, list[list[str]] | None]] = {
    "starting": ("starting", [["--model", "{shared}/models/minilm-l6"]]),
    "squad": ("squad_scoring", [["--data", "{shared}/data/squad_v2"]]),
    "words-memory": ("words_memory", [REVIEWS]),
    "limits": ("limits", [["--texts", SHORT]]),
    "encoder": (
        "encoder_finetuning",
        [
            ["--texts", SHORT, "--hidden", "256", "--steps", "10"],
            [*REVIEWS, "--hidden", "256", "--steps", "4"],
            ["--texts", SHORT, "--hidden", "768", "--steps", "6"],
        ],
    ),
    "head": ("frozen_head", [[*SST2, "--train", "640", "--test", "436"]]),
    "lora": (
        "lora_words",
        [
            ["--texts", SHORT],
            [*REVIEWS, "--steps", "2"],
            ["--texts", SHORT, "--shape", "1b", "--steps", "1", "--times", "3"],
        ],
    ),
    "questions": ("question_generation", [["--questions", "{shared}/data/squad_v2/dev-v2.0.json.gz"]]),
    "labels": ("label_scoring", [["--short", SHORT, "--long", LONG]]),
    "linear": ("linear_cost", [SST2]),
    "lexical": ("lexical", [["--data", "{shared}/data"]]),
    "label-errors": ("label_errors", [["--data", "{shared}/data", "--model", "{shared}/models/minilm-l6"]]),
    "leaks": ("leaks", [["--data", "{shared}/data"]]),
    "similarity": ("similarity", [["--data", "{shared}/data"]]),
    "trunk": ("frozen_trunk", [[*SST2, "--methods", "lora", "--train", "2000"]]),
    "accuracy": ("accuracy_parity", [SST2]),
    "serving": ("serving", [SST2]),
    "chaos": ("chaos", None),
    "commands": ("killed_commands", None),
    "defaults": ("defaults", None),
    "endpoint": ("endpoint", None),
    "forecast": ("forecast", None),
    "gpu": ("gpu", None),
    "diagnosis": ("diagnosis", None),
    "memory": ("memory_prediction", None),
    "page": ("page", None),
    "reliability": ("reliability", None),
    "streaming": ("streaming", None),
    "statistics": ("simulate_statistics", None),
    "study": ("whole_study", None),
}
# what `all` runs besides where it has a real decoder
LABELS = ["--short", SHORT, "--long", LONG, "--model", "{decoder}", "--times", "3"]
REAL: dict[str, list[list[str]]] = {
    "lora": [["--texts", SHORT, "--shape", "{decoder}", "--steps", "3", "--times", "3"]],
    "labels": [
        [*LABELS, "--items", "24", "--batch", "8", "--only", "SST-2"],
        [*LABELS, "--items", "12", "--batch", "4", "--only", "IMDB"],
    ],
    "study": [[*SST2[:2], "--model", "{decoder}", "--train", "40", "--dev", "24", "--test", "50"]],
}


def main(arguments: Sequence[str]) -> int:
    """The exit code of the benchmark that the first word names; without a word, their names."""
    if not arguments:
        print("\n".join(BENCHMARKS))
        return 0
    if arguments[0] == "all":
        return _all(arguments[1:])
    if arguments[0] not in BENCHMARKS:
        allowed = ", ".join(["all", *BENCHMARKS])
        print(f"{arguments[0]} is not a benchmark. Allowed: {allowed}.", file=sys.stderr)
        return 2
    return _run(arguments[0], arguments[1:])


def _run(name: str, arguments: Sequence[str]) -> int:
    module = importlib.import_module(f"benchmarks.{BENCHMARKS[name][0]}")
    return int(module.main(list(arguments)))


def _all(arguments: Sequence[str]) -> int:
    """Every row of the table, each benchmark in a process of its own; 1 where one of them says no."""
    parser = argparse.ArgumentParser(prog="benchmarks all")
    parser.add_argument("--shared", required=True, help="a folder with data/ and models/")
    parser.add_argument("--decoder", help="a real decoder's folder, for the rows on a real model")
    parser.add_argument("--only", default="", help="names of benchmarks, separated by commas")
    args = parser.parse_args(arguments)
    with_rows = [name for name, (_, runs) in BENCHMARKS.items() if runs or (args.decoder and name in REAL)]
    names = args.only.split(",") if args.only else with_rows
    if unknown := [name for name in names if name not in with_rows]:
        parser.error(f"--only: {unknown[0]!r} has no rows here. Allowed: {', '.join(with_rows)}.")
    started, missed = time.monotonic(), []
    for name, (_, runs) in BENCHMARKS.items():
        real = REAL.get(name, []) if args.decoder else []
        for options in [*(runs or ()), *real] if name in names else ():
            values = [word.format(shared=args.shared, decoder=args.decoder) for word in options]
            print(f"\n{name} {' '.join(values)}", flush=True)
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks", name, *values]
            if subprocess.run(command).returncode:
                missed.append(name)
    print(f"\nall in {(time.monotonic() - started) / 60:.0f} minutes; said no: {missed or 'none'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
