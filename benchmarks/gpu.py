"""What one card is to show, in four parts of ten minutes: parity, stopping, training, prompts.

In: the part, a device, a folder. Out: rows, and in the folder part-X.json and table.md; exit code 1 where
one fails. Knows nothing of: how a check is made.

    python -m benchmarks gpu --part A [--device auto|cuda|cpu] [--folder gpu-checks] [--only NAME,NAME]

Nothing is fetched: weights are random, of true shape. Where there is no card the CPU forms run: the same code
on small shapes, which measure nothing.
"""

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench import FAILED, SKIPPED, Bench, ProcessError, rows_as_json

BUDGET_S = 540.0
# part: what it shows, and its checks as module and function
PARTS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "A": (
        "the same on a CPU and on the card, in whole and half precision",
        {
            "gpu_precision": (
                *("environment", "parity", "half", "trainer_in_half", "baseline_peak"),
                *("memory_between_arms", "questions", "overflow"),
            )
        },
    ),
    "B": (
        "stopping, shortage, compiling, several processes",
        {"gpu_stopping": ("resume", "resume_as_shipped", "shortage", "compiled", "processes")},
    ),
    "C": (
        "peak memory predicted and measured, speed of training beside the Trainer and TRL",
        {"gpu_training": ("memory_and_speed", "beside_the_trainer")},
    ),
    "D": (
        "labels and answers beside lm-eval and generate, and their kernels",
        {"gpu_prompts": ("label_scores", "written_answers", "attention_kernels")},
    ),
}
NO_CARD = "No CUDA device is visible: the CPU forms run, on small shapes. They measure nothing."


def checks_of(part: str) -> dict[str, Callable[[Bench], None]]:
    """The part's checks by name."""
    return {
        name: getattr(importlib.import_module(f"benchmarks.{module}"), name)
        for module, names in PARTS[part][1].items()
        for name in names
    }


def card_name(device: str) -> str:
    """The card's name; of a CPU form: no card."""
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else "no card (CPU forms)"


def run_checks(bench: Bench, checks: dict[str, Callable[[Bench], None]]) -> None:
    """One after the other, while there is time; one that cannot end costs a row."""
    for name, check in checks.items():
        bench.function = name
        if bench.left_s <= 0:
            bench.report(name, SKIPPED, f"{bench.budget_s:.0f} s are spent: run it with --only {name}")
            continue
        try:
            check(bench)
        except ProcessError as error:
            bench.report(name, FAILED, str(error))
        except Exception as error:  # of the check itself: the others still run
            bench.report(name, FAILED, f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


def save(bench: Bench, part: str) -> Path:
    """Write the part's rows as JSON, and the table of all parts of this card in the folder.

    Rows of checks that did not run this time stay, if they are of this card.
    """
    import torch
    import transformers

    about = {
        "part": part,
        "card": card_name(bench.device),
        "small": bench.small,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "time_s": round(time.monotonic() - bench.started, 1),
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows_as_json(bench.rows),
    }
    path = bench.folder / f"part-{part}.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before.get("card") == about["card"]:
        ran = {row.function for row in bench.rows}
        about["rows"] = [row for row in before["rows"] if row.get("function") not in ran] + about["rows"]
    path.write_text(json.dumps(about, indent=1, default=str))
    parts = [json.loads(path.read_text()) for path in sorted(bench.folder.glob("part-*.json"))]
    table = bench.folder / "table.md"
    table.write_text(table_of([one for one in parts if one["card"] == about["card"]]))
    return table


def table_of(parts: Sequence[dict[str, Any]]) -> str:
    """Markdown for RESULTS.md, under the card's name. parts: as in part-X.json, of one card."""
    first = parts[0]
    times = ", ".join(f"{part['part']} {part['time_s']:.0f} s" for part in parts)
    versions = f"torch {first['torch']}, transformers {first['transformers']}"
    lines = [
        f"### {first['card']}",
        "",
        f"`make gpu`, {first['date']}, {versions}; {times}.",
        "",
        "| part | check | outcome | seen |",
        "|---|---|---|---|",
    ]
    for part in parts:
        for row in part["rows"]:
            seen = " ".join(row["text"].replace("|", "\\|").split())
            lines.append(f"| {part['part']} | {row['check']} | {row['outcome']} | {seen} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a row fails, 2 where cuda is asked for and there is none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu")
    parser.add_argument("--part", choices=PARTS, help="without it, the parts are listed")
    parser.add_argument("--only", default="", help="these checks of the part alone, with commas")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--small", action="store_true", help="small shapes on a card too")
    parser.add_argument("--folder", type=Path, default=Path("gpu-checks"), help="models, studies, results")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds after which no check starts")
    options = parser.parse_args(arguments)
    if options.part is None:
        for part, (what, modules) in PARTS.items():
            names = ", ".join(name for names in modules.values() for name in names)
            print(f"{part}  {what}: {names}")
        return 0
    checks = checks_of(options.part)
    names = options.only.split(",") if options.only else list(checks)
    if strangers := [name for name in names if name not in checks]:
        print(f"{strangers[0]} is not a check of part {options.part}: {', '.join(checks)}.", file=sys.stderr)
        return 2
    import torch

    has_card = torch.cuda.is_available()
    if options.device == "cuda" and not has_card:
        print("cuda is requested, but torch sees no CUDA device.", file=sys.stderr)
        return 2
    device = "cuda" if has_card and options.device != "cpu" else "cpu"
    print(NO_CARD if device == "cpu" else f"{card_name(device)}, part {options.part}", flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(device, options.small or device == "cpu", options.folder.resolve(), options.budget)
    run_checks(bench, {name: checks[name] for name in names})
    table = save(bench, options.part)
    outcomes = [row.outcome for row in bench.rows]
    counted = ", ".join(f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes))
    print(f"{counted}; {table.with_name(f'part-{options.part}.json')}, {table}", flush=True)
    return int(FAILED in outcomes)
