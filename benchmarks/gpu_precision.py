"""Part A: the same studies on a CPU and on the card, in whole and in half precision; what arms leave behind.

In: a bench. Out: its rows. Knows nothing of: speed, stopping.
"""

import math
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu_bench import Bench, StudyResult

LOSS_BAR, PROBABILITY_BAR = 2e-3, 5e-3  # relative, of a step's loss; absolute: float32 on two devices
HALF_BAR = 0.1  # nats between the last losses in half and whole precision
ARM_MEMORY_BAR_GIB = 1.0
BASELINE_BYTES = 50 * 2**20  # no process with NumPy is smaller
SHORT: dict[str, Any] = {
    "split": {"train_size": 96, "dev_size": 32, "test_size": 32},
    "train": {"epochs": 1, "batch_size": 8, "micro_batch": 4, "min_steps": 1},
    "predict": {"batch_size": 16, "timing_s": 0},
}
WORDS_ARM = {"lora": {"name": "lora-words", "objective": "words", "rank": 4}}
# without lp-ft: a head that is fitted on random states has huge weights, which magnify rounding
HEAD_ARMS = ["majority", "head", {"lora": {"rank": 4}}, "full"]
EVERY_ARM = [
    *("majority", "zero-shot", {"few-shot": {"shots": 2}}, "head", {"lora": {"rank": 4}}, WORDS_ARM),
    *("full", "lp-ft", {"full": {"name": "last1", "layers": "last 1"}}),
]
OVERFLOW = {
    "fp16": {"up_proj": 1e3, "down_proj": 3e4},
    "fp32": {"up_proj": 1e3, "down_proj": 1e39},
}  # factors


def environment(bench: Bench) -> None:
    """The machine, as `doctor` sees it."""
    import torch
    import transformers

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    facts = f"{versions}, Python {sys.version.split()[0]}"
    if bench.on_gpu:
        card = torch.cuda.get_device_properties(0)
        native = torch.cuda.is_bf16_supported(False)
        facts += (
            f"; {card.name}, sm_{card.major}{card.minor}, {card.total_memory / 2**30:.1f} GiB, bf16 {native}"
        )
    code, end = bench.command(["-m", "tuneproof", "doctor"])
    bench.report("environment", code in (0, 1), facts, doctor=end)


def parity(bench: Bench) -> None:
    """float32 on the CPU and on the card: losses of every step, probabilities of every item."""
    studies: dict[str, dict[str, Any]] = {
        "gemma2": {
            "models": [bench.model("gemma2-little")],
            "arms": ["majority", "zero-shot", {"few-shot": {"shots": 2}}, WORDS_ARM],
        }
    }
    if not bench.small:
        shots = ["majority", "zero-shot", {"few-shot": {"shots": 4}}]
        studies |= {
            "demo": {"task": "demo", "models": ["demo"], "arms": EVERY_ARM},
            "bert": {"models": [bench.model("bert-little")], "arms": HEAD_ARMS},
            "mistral": {"models": [bench.model("mistral-little")], "arms": shots},
        }
    for name, values in studies.items():
        recipe = {**SHORT, "task": bench.reviews(), **values}
        both = [
            bench.study(f"parity-{name}-{side}", {**recipe, "compute": {"device": device}})
            for side, device in (("cpu", "cpu"), ("device", bench.device))
        ]
        apart = _apart(*both)
        loss = max((far["loss"] for far in apart.values()), default=math.nan)
        share = max((far["probability"] for far in apart.values()), default=math.nan)
        problem = "; ".join(study.problem for study in both if study.problem)
        bench.report(
            f"parity {name}",
            not problem and loss <= LOSS_BAR and share <= PROBABILITY_BAR,
            f"{len(apart)} arms: losses apart by {loss:.1e} of their size (bar {LOSS_BAR:.0e}), "
            f"probabilities by {share:.1e} (bar {PROBABILITY_BAR:.0e}); {problem}",
            apart=apart,
        )


def _apart(one: StudyResult, other: StudyResult) -> dict[str, dict[str, float]]:
    """How far the arms with a model lie apart in two studies."""
    apart = {}
    for name in one.arms.keys() & other.arms.keys():
        mine, theirs = one.arms[name], other.arms[name]
        statuses = {mine.about["status"], theirs.about["status"]}
        if statuses == {"done"} and mine.about["kind"] != "baseline":
            pairs = zip(one.probabilities(name), other.probabilities(name), strict=True)
            apart[name] = {
                "loss": loss_distance(mine.steps, theirs.steps),
                "probability": max(abs(p - q) for a, b in pairs for p, q in zip(a, b, strict=True)),
            }
    return apart


def loss_distance(steps: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """The largest difference of two trainings' losses, step by step, as a share of the loss."""
    pairs = [(a["loss"], b["loss"]) for a, b in zip(steps, others, strict=True)]
    return max((abs(a - b) / max(1e-3, abs(a)) for a, b in pairs), default=0.0)


def half(bench: Bench) -> None:
    """bf16 and fp16: every arm is done, its last losses are those of float32, no self-test fails."""
    few = ["majority", "zero-shot", {"lora": {"rank": 4}}]
    recipe = {**SHORT, "task": "demo", "models": ["demo"], "arms": few if bench.small else EVERY_ARM}
    whole = bench.study("half-fp32", recipe)
    for precision in ("bf16", "fp16") if bench.on_gpu else ("bf16",):
        study = bench.study(f"half-{precision}", {**recipe, "compute": {"precision": precision}})
        apart = {
            name: _last_loss(arm) - _last_loss(whole.trained[name])
            for name, arm in study.trained.items()
            if name in whole.trained
        }
        ties = {
            name: sum(shares[0] == shares[1] for shares in study.probabilities(name))
            for name, arm in study.arms.items()
            if arm.about["kind"] == "prompt" and arm.about["status"] == "done"
        }
        skipped = {name: sum(step["skipped"] for step in arm.steps) for name, arm in study.trained.items()}
        worst = max(map(abs, apart.values()), default=math.nan)
        bench.report(
            f"half precision {precision}",
            not (whole.problem or study.problem) and worst <= HALF_BAR,
            f"{len(study.arms)} arms; last losses within {worst:.3f} nats of fp32's (bar {HALF_BAR}); "
            f"equal label scores {ties}; skipped steps {skipped}; {whole.problem} {study.problem}",
            apart=apart,
        )


def _last_loss(arm: Any) -> float:
    """The mean over the last three steps; NaN where one has none."""
    losses = [math.nan if step["loss"] is None else step["loss"] for step in arm.steps[-3:]]
    return sum(losses) / len(losses)


def trainer_in_half(bench: Bench) -> None:
    """The Trainer's engine in fp16, whose first scaled gradients overflow; bf16 in the CPU form."""
    precision = "fp16" if bench.on_gpu else "bf16"
    recipe = {
        **SHORT,
        "task": "demo",
        "models": ["demo"],
        "compute": {"precision": precision},
        "train": {**SHORT["train"], "epochs": 2, "micro_batch": None},
        "arms": ["majority", {"full": {"engine": "trainer"}}],
    }
    study = bench.study("trainer-half", recipe)
    norms = [step["gradient_norm"] for arm in study.trained.values() for step in arm.steps]
    infinite = sum(norm is not None and not math.isfinite(norm) for norm in norms)
    report = (study.folder / "report.html").is_file()
    bench.report(
        f"Trainer in {precision}",
        report and not study.problem and not infinite,
        f"{len(norms)} steps, {norms.count(None)} skipped, {infinite} infinite gradient norms; "
        f"report {'written' if report else 'missing'}; {study.problem}",
    )


def baseline_peak(bench: Bench) -> None:
    """A baseline's peak is its process's: it has no part in the device's allocator."""
    study = bench.study("peak", {**SHORT, "task": "demo", "models": ["demo"], "arms": ["majority", "head"]})
    about = study.arms["majority"].about if "majority" in study.arms else {}
    peak = about.get("peak_memory_bytes") or 0
    text = f"{peak / 2**20:.0f} MiB; {study.problem}"
    bench.report(
        "peak of a baseline", not study.problem and peak > BASELINE_BYTES, text, peaks=about.get("peaks")
    )


def memory_between_arms(bench: Bench) -> None:
    """`compute.memory: auto` sees as much for the third arm as for the first."""
    if not bench.has_memory("memory between arms", 12):
        return
    arms: list[Any] = [{"lora": {"name": f"lora{number}", "rank": 8}} for number in range(3)]
    recipe = {
        "task": bench.reviews(200, 100, 230) if not bench.small else bench.reviews(),
        "models": [bench.model("llama-1b")],
        "split": {"train_size": 64, "dev_size": 16, "test_size": 16},
        "train": {"epochs": 1, "batch_size": 32, "min_steps": 1},
        "predict": {"timing_s": 0},
        "arms": [*arms, "majority"],
        "compute": {"memory": "auto", "precision": bench.half},
    }
    study = bench.study("between-arms", recipe)
    entries = {name: arm.ledger.get("memory") or {} for name, arm in study.trained.items()}
    limits = [entry.get("limit_bytes", 0) for entry in entries.values()]
    apart = (max(limits) - min(limits)) / 2**30 if limits else math.nan
    settings = {name: entry.get("settings") for name, entry in entries.items()}
    close = apart <= ARM_MEMORY_BAR_GIB or not bench.on_gpu  # a CPU's memory is also its neighbours'
    bench.report(
        "memory between arms",
        not study.problem and len(limits) == 3 and close,
        f"limits of three equal arms {apart:.2f} GiB apart (bar {ARM_MEMORY_BAR_GIB:.0f} on a card), "
        f"{study.measured.get('left_bytes', 0) / 2**20:.0f} MiB allocated at the end; {study.problem}",
        limits=limits,
        settings=settings,
    )


def questions(bench: Bench) -> None:
    """Spans of an encoder and written answers of a decoder, in the card's own precision."""
    spans = ["majority", "lexical", "head", {"lora": {"rank": 4}}, "full"]
    written = ["majority", "lexical", "zero-shot", {"few-shot": {"shots": 2}}, WORDS_ARM, {"full": {}}]
    for model, length, arms in (("bert-little", 128, spans), ("llama-little", 512, written)):
        recipe = {
            "task": bench.questions(),
            "models": [bench.model(model)],
            "arms": [
                arm for arm in arms if not bench.small or arm in ("majority", "head", "zero-shot", WORDS_ARM)
            ],
            "split": {"train_size": 48, "dev_size": 16, "test_size": 16},
            "encode": {"max_length": length, "answer_tokens": 6},
            "train": {"epochs": 1, "batch_size": 8, "min_steps": 1},
            "predict": {"timing_s": 0},
            "compute": {"precision": bench.half},
        }
        study = bench.study(f"questions-{model}", recipe)
        done = sum(arm.about["status"] == "done" for arm in study.arms.values())
        bench.report(f"questions {model}", not study.problem, f"{done} arms done; {study.problem}")


def overflow(bench: Bench) -> None:
    """A model whose states are no longer finite: no arm may predict from them without saying so."""
    import shutil

    from safetensors.torch import load_file, save_file

    precision = "fp16" if bench.on_gpu else "fp32"
    source, folder = Path(bench.model("llama-little")), bench.folder / "models" / "overflowing"
    shutil.copytree(source, folder, dirs_exist_ok=True)
    weights = load_file(source / "model.safetensors")
    for part, factor in OVERFLOW[precision].items():
        weights |= {name: tensor * factor for name, tensor in weights.items() if part in name}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    recipe = {
        **SHORT,
        "task": bench.reviews(),
        "models": [str(folder)],
        "arms": ["majority", "zero-shot", "head"],
        "train": {**SHORT["train"], "self_test": False},
        "compute": {"precision": precision},
    }
    study = bench.study("overflow", recipe)
    states = {name: arm.about["status"] for name, arm in study.arms.items()}
    silent = [
        name
        for name, arm in study.arms.items()
        if arm.about["status"] == "done" and arm.about["kind"] != "baseline"
    ]
    text = f"{states}; {'predicted from states that are not finite: ' + ', '.join(silent) if silent else ''}"
    bench.report(f"overflow in {precision}", len(states) == 3 and not silent, text)
