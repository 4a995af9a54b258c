"""Part B: kill and resume, a shortage of memory, compiled layers, several processes under a launcher.

In: a bench. Out: its rows. Knows nothing of: how fast anything is.
"""

import contextlib
import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench import TIMEOUT_S, Bench, StudyResult, end_group, start_python
from benchmarks.gpu_precision import LOSS_BAR, loss_distance

KILL_STEPS = (7, 19)  # once the newest arm has taken so many
COMPILE_BAR = {"fp32": 1e-3, "bf16": 0.05}  # nats between losses
SHORTAGE_BAR = 0.05  # relative: micro-batches of other sizes, in bf16
ONE_EPOCH: dict[str, Any] = {"epochs": 1, "batch_size": 8, "min_steps": 1}
ARMS = {
    "words": [*("majority", {"full": {"objective": "words"}}), {"lora": {"objective": "words", "rank": 4}}],
    "head": ["majority", {"full": {}}, {"lora": {"rank": 4}}],
}


def resume(bench: Bench) -> None:
    """Killed twice and continued under compute.deterministic: losses, weights, predictions to the bit."""
    _resume(bench, f"resume {bench.half}, deterministic", {"precision": bench.half, "deterministic": True})


def resume_as_shipped(bench: Bench) -> None:
    """The same without the setting: to the same study; whether to the same bits is a figure on a card."""
    _resume(bench, "resume as shipped", {"precision": bench.half})


def _resume(bench: Bench, check: str, compute: dict[str, Any]) -> None:
    """Run a study in one go and with two kills; a row on what differs."""
    from benchmarks.small_studies import unlike

    values = {
        "task": bench.reviews(400, 60, 230) if not bench.small else bench.reviews(400, 8, 16),
        "models": [bench.model("llama-little")],
        "arms": ["majority", {"full": {}}, {"lora": {"objective": "words", "dropout": 0.1}}],
        "split": {"train_size": 160, "dev_size": 16, "test_size": 32},
        "train": {"epochs": 1, "batch_size": 8, "micro_batch": 4, "min_steps": 1, "checkpoint_minutes": 0},
        "predict": {"timing_s": 0},
        "compute": compute,
    }
    once, once_code, _ = _run_with_kills(bench, f"{check} once", values, 0)
    again, code, kills = _run_with_kills(bench, f"{check} killed", values, len(KILL_STEPS))
    complete = once_code == code == 0 and kills == len(KILL_STEPS) and not once.problem
    same_names = once.arms.keys() == again.arms.keys()
    differing = unlike(once.folder, again.folder) if complete else ["a study is not complete"]
    steps = (
        {name: _first_other_step(once.arms[name], again.arms[name]) for name in once.arms}
        if same_names
        else {}
    )
    exact = bool(compute.get("deterministic")) or not bench.on_gpu
    bench.report(
        check,
        complete and same_names and not (differing and exact),
        f"{kills} kills; files that differ: {', '.join(differing) or 'none'}; first step that differs: "
        f"{steps}; exit codes {once_code}, {code}; {once.problem}",
        differing=differing,
    )


def _run_with_kills(
    bench: Bench, name: str, values: dict[str, Any], kills: int
) -> tuple[StudyResult, int, int]:
    """The study by the command line, SIGKILL at KILL_STEPS; its last exit code and how many kills met it."""
    recipe = bench.recipe(name.replace(" ", "-").replace(",", ""), values)
    folder = Path(recipe["out"])
    path = folder.with_suffix(".yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe))  # JSON is YAML
    done, code = 0, -1
    for _ in range(kills + 1):
        with open(folder.with_suffix(".log"), "ab") as log:
            process = start_python(["-m", "tuneproof", "run", str(path), "--quiet"], log)
            until = time.monotonic() + TIMEOUT_S
            while process.poll() is None and time.monotonic() < until:
                if done < kills and _steps_of_open_arm(folder) >= KILL_STEPS[done]:
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    done += 1
                time.sleep(0.01)
            end_group(process)
            code = process.returncode
        if code == 0:
            break
    error = "" if code == 0 else f"exit code {code}, see {folder.with_suffix('.log')}"
    return StudyResult(folder, error), code, done


def _steps_of_open_arm(folder: Path) -> int:
    """Steps in the journal of the arm that is not complete yet."""
    counts = [0]
    for path in folder.glob("arms/*/steps.jsonl"):
        with contextlib.suppress(OSError):
            if not (path.parent / "arm.json").is_file():
                counts.append(path.read_bytes().count(b"\n"))
    return max(counts)


def _first_other_step(arm: Any, other: Any) -> int | None:
    """The first step whose loss or gradient norm is another one; None: all are the same."""
    for mine, theirs in zip(arm.steps, other.steps, strict=False):
        if (mine["loss"], mine["gradient_norm"]) != (theirs["loss"], theirs["gradient_norm"]):
            return int(mine["step"])
    return None


def shortage(bench: Bench) -> None:
    """Memory runs out while training and while predicting: batches are halved, losses stay the same."""
    if not bench.has_memory("shortage", 12):
        return
    sizes: dict[str, dict[str, Any]] = {
        "training": {
            "arms": [{"lora": {"rank": 8}}, "majority"],
            "train": {**ONE_EPOCH, "batch_size": bench.size(64, 16)},
            "predict": {"batch_size": 8, "timing_s": 0},
        },
        "predicting": {
            "arms": ["zero-shot", "majority"],
            "predict": {"batch_size": bench.size(256, 16), "timing_s": 0},
        },
    }
    room = {"training": 7.0, "predicting": 4.0}
    for name, sections in sizes.items():
        recipe = {
            "task": bench.reviews(300, 150, 240) if not bench.small else bench.reviews(),
            "models": [bench.model("llama-1b")],
            "split": {"train_size": bench.size(128, 48), "dev_size": 16, "test_size": bench.size(64, 32)},
            "compute": {"precision": bench.half},
            **sections,
        }
        limit = {"leave_gib": room[name]} if bench.on_gpu else {"fail_above_tokens": 400}
        free = bench.study(f"room-{name}", recipe)
        tight = bench.study(f"shortage-{name}", recipe, **limit)
        notes = tight.notes_with("out of memory")
        pairs = [(free.trained[arm], tight.trained[arm]) for arm in free.trained if arm in tight.trained]
        far = max((loss_distance(one.steps, other.steps) for one, other in pairs), default=0.0)
        note, left = (notes or ["none: leave less"])[0], tight.measured.get("left_bytes", 0) / 2**20
        bench.report(
            f"shortage while {name}",
            not (free.problem or tight.problem) and bool(notes) and far <= SHORTAGE_BAR,
            f"{len(notes)} notes ({note[:120]}); losses apart by {far:.1e} of their size "
            f"(bar {SHORTAGE_BAR}); {left:.0f} MiB allocated at the end; {free.problem} {tight.problem}",
        )


def compiled(bench: Bench) -> None:
    """`compute.compile`: the same losses, and the tokens a second without and with it."""
    models = ("llama-little",) if bench.small else ("llama-little", "bert-little")
    recipe = {
        "task": bench.reviews(300, 100, 230) if not bench.small else bench.reviews(),
        "models": [bench.model(name) for name in models],
        "arms": ["majority", {"full": {}}],
        "split": {"train_size": bench.size(200, 32), "dev_size": 16, "test_size": 16},
        "train": ONE_EPOCH,
        "predict": {"timing_s": 0},
    }
    both = [
        bench.study(f"compile-{on}", {**recipe, "compute": {"precision": bench.half, "compile": on}})
        for on in (False, True)
    ]
    plain, fast = (study.trained for study in both)
    far = max(
        (
            abs(a["loss"] - b["loss"])
            for name in plain.keys() & fast.keys()
            for a, b in zip(plain[name].steps, fast[name].steps, strict=True)
        ),
        default=math.nan,
    )
    speeds = {name: [round(tokens_per_s(arms.get(name))) for arms in (plain, fast)] for name in plain}
    problem = "; ".join(study.problem for study in both if study.problem)
    bench.report(
        "torch.compile",
        not problem and far <= COMPILE_BAR[bench.half],
        f"losses apart by {far:.1e} nats (bar {COMPILE_BAR[bench.half]:.0e}); tokens/s without and with "
        f"{speeds}; {'; '.join(both[1].notes_with('torch.compile'))}; {problem}",
        tokens_per_s=speeds,
    )


def tokens_per_s(arm: Any) -> float:
    """Of the arm's median step; 0 where it did not train."""
    return float(((arm.ledger.get("training_speed") if arm else None) or {}).get("tokens_per_s") or 0)


def processes(bench: Bench) -> None:
    """torchrun with as many processes as there are cards, or two on a CPU: ddp and fsdp as one process."""
    import torch

    count = torch.cuda.device_count() if bench.on_gpu else 2
    for kind, arms in ARMS.items():
        recipe = {
            "task": bench.reviews(),
            "models": [bench.model("llama-little")],
            "arms": arms,
            "split": {"train_size": 64, "dev_size": 16, "test_size": 16},
            "train": ONE_EPOCH,
            "predict": {"timing_s": 0},
        }
        alone = bench.study(f"alone-{kind}", recipe)
        for parallel in ("ddp", "fsdp"):
            values = bench.recipe(f"{parallel}-{kind}", {**recipe, "compute": {"parallel": parallel}})
            path = bench.folder / f"{parallel}-{kind}.yaml"
            path.write_text(json.dumps(values))
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            code, end = bench.command([*launcher, "-m", "tuneproof", "run", str(path), "--quiet"])
            error = (
                "" if code == 0 else f"exit code {code} ({bench.log}): {end.splitlines()[-1] if end else ''}"
            )
            study = StudyResult(Path(values["out"]), error)
            names = alone.trained.keys() & study.trained.keys()
            far = max(
                (loss_distance(alone.trained[name].steps, study.trained[name].steps) for name in names),
                default=math.nan,
            )
            problem = f"{alone.problem} {study.problem}".strip()
            bench.report(
                f"{parallel}, {count} process{'es' if count > 1 else ''}, {kind}",
                not problem and len(names) == 2 and far <= LOSS_BAR,
                f"losses apart by {far:.1e} of one process's (bar {LOSS_BAR:.0e}); {problem}",
            )
