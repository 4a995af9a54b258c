"""Predicted against measured peaks of memory, each measured in a process of its own.

In: models of random weights, methods, batch shapes. Out: a table; exit code 1 where a bar is missed.
Knows nothing of: data, what the models would answer.

    python -m benchmarks memory [--only TEXT] [--device cpu|cuda]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

MEDIAN_BAR, WORST_BAR = 0.10, 0.25
STEPS = 2
SMALL = {"vocab_size": 64, "hidden_size": 96, "num_hidden_layers": 1, "intermediate_size": 64}


@dataclass(frozen=True)
class Case:
    """One combination. `objective`: a head over labels, or words."""

    kind: str
    method: str
    objective: str
    batch: int
    length: int
    vocabulary: int
    checkpointing: bool = False

    @property
    def name(self) -> str:
        """As the table shows it."""
        more = ", checkpointing" if self.checkpointing else ""
        return (
            f"{self.kind} {self.method} ({self.objective}{more}) {self.batch} x {self.length}, "
            f"{self.vocabulary // 1000}k words"
        )


CASES = (
    Case("encoder", "head", "head", 32, 128, 30_522),
    Case("encoder", "head", "head", 16, 256, 128_000),
    Case("encoder", "lora", "head", 8, 128, 30_522),
    Case("encoder", "lora", "head", 4, 256, 30_522),
    Case("encoder", "lora", "head", 8, 256, 128_000),
    Case("encoder", "full", "head", 8, 128, 30_522),
    Case("encoder", "full", "head", 4, 256, 30_522),
    Case("encoder", "full", "head", 4, 128, 128_000),
    Case("decoder", "head", "head", 16, 256, 30_522),
    Case("decoder", "head", "head", 16, 128, 128_256),
    Case("decoder", "lora", "head", 4, 256, 30_522),
    Case("decoder", "lora", "words", 8, 128, 128_256),
    Case("decoder", "lora", "words", 4, 256, 128_256),
    Case("decoder", "lora", "words", 8, 256, 128_256, checkpointing=True),
    Case("decoder", "full", "head", 4, 256, 30_522),
    Case("decoder", "full", "words", 8, 128, 30_522),
    Case("decoder", "full", "words", 4, 128, 128_256),
)


def _config(case: Case, small: bool) -> Any:
    """Real shapes of few layers; or of no size."""
    from transformers import BertConfig, LlamaConfig

    sizes = {"vocab_size": case.vocabulary, "hidden_size": 768, "num_hidden_layers": 6}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_attention_heads": 12}
    if case.kind == "encoder":
        return BertConfig(**ids, **(SMALL if small else {**sizes, "intermediate_size": 3072}))
    return LlamaConfig(
        **ids,
        **(SMALL if small else {**sizes, "intermediate_size": 2048}),
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )


def _checkpoint(case: Case, root: Path, small: bool) -> Path:
    """A folder with random weights and their language-model head, written once."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    from tuneproof.models.load import quiet

    folder = root / f"{case.kind}-{0 if small else case.vocabulary}"
    if not folder.exists():
        auto: Any = AutoModelForMaskedLM if case.kind == "encoder" else AutoModelForCausalLM
        with quiet():
            auto.from_config(_config(case, small)).save_pretrained(folder)
    return folder


def _subject(case: Case, folder: Path) -> Any:
    """The case as the predictor takes it."""
    from tuneproof.families import family_of
    from tuneproof.families.models import resolve_model
    from tuneproof.memory.simulate_step import SimulatedArm
    from tuneproof.methods import METHODS
    from tuneproof.models.checkpoint_files import read_config

    method = METHODS[case.method]
    named = {"objective": case.objective} if "objective" in method.options.model_fields else {}
    source = resolve_model(folder)
    config = read_config(source)
    return SimulatedArm(source, config, family_of(config), method, method.options(**named))


def _workload(case: Case, device: str, precision: str) -> Any:
    from tuneproof.memory.simulate_step import Workload

    return Workload(
        device,
        precision,
        case.batch,
        case.length,  # type: ignore[arg-type]
        accumulates=True,
        checkpointing=case.checkpointing,
        predict_batch=case.batch,
        predict_length=case.length,
        keeps_best_weights=False,
        distinct_lengths=1,
    )


def measure(case: Case, device: str, root: Path) -> int:
    """The peak beside what was there before, in this process, which must be a fresh one."""
    from tuneproof.memory.usage import peak_bytes, reset_peak, resident_bytes, return_freed_blocks
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.loop import make_accelerator

    precision = "bf16" if device == "cuda" else "fp32"
    accelerator = make_accelerator(device, precision)
    if device == "cpu":
        return_freed_blocks()
    choose_matmul(device, case.length)
    workload = _workload(case, device, precision)
    small, real = (_subject(case, _checkpoint(case, root, small)) for small in (True, False))
    # the same on a model of no size: code is loaded, as it is after a study's first arm
    _work(small, replace(workload, micro_batch=2, length=16), accelerator)
    reset_peak()
    before = resident_bytes()
    _work(real, workload, accelerator)
    peaks = peak_bytes()
    return peaks["device"] if device == "cuda" else peaks["process"] - before


def _work(subject: Any, workload: Any, accelerator: Any) -> None:
    """Two steps of two micro-batches and a batch of predictions, by the functions of an arm."""
    from types import SimpleNamespace

    import numpy as np
    import torch

    from tuneproof.data.batches import collate_epoch
    from tuneproof.data.tokens import pad_batch
    from tuneproof.inference.classify import class_probabilities
    from tuneproof.inference.label_likelihood import TokenQuery, query_log_probs
    from tuneproof.memory.simulate_step import DTYPES
    from tuneproof.models.load import load_model
    from tuneproof.models.oom import AdaptiveBatchSize, recompute_activations
    from tuneproof.models.pooled_features import pooled_features
    from tuneproof.train.loop import fit
    from tuneproof.train.losses import answer_loss, head_loss
    from tuneproof.train.optimizer import make_optimizer

    heads: dict[str, Any] = {"features": "base"}
    frozen = subject.method.apply is None or subject.method.freezes_base(subject.options)
    tokenizer = SimpleNamespace(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    loaded = load_model(
        subject.source,
        subject.config,
        tokenizer,
        subject.family,
        head=heads.get(subject.objective, subject.objective),
        labels=("a", "b"),
        seed=0,
        dtype=DTYPES[workload.precision] if frozen else torch.float32,
    )
    model = loaded.model
    model = model.to(accelerator.device)
    rows = workload.micro_batch
    draw = np.random.default_rng(0)
    ids = [draw.integers(3, subject.config.vocab_size, workload.length) for _ in range(rows)]
    ids[-1] = ids[-1][: workload.length // 2]  # padding, as real batches have
    if subject.method.apply is None:
        poolings = ("first", "mean") if subject.family.kind == "encoder" else ("last", "mean")
        pooled_features(
            model,
            subject.family,
            ids,
            0,
            poolings,
            AdaptiveBatchSize(rows),
            accelerator.device,
            accelerator.autocast,
        )
        return
    model = subject.method.apply(model, subject.family, subject.options, loaded.fresh)
    model = model.to(accelerator.device)
    if workload.checkpointing:
        recompute_activations(model)
    words, answer = subject.objective == "words", workload.answer_tokens
    part: dict[str, Any] = pad_batch(ids, 0, "left" if words else "right")
    part["tokens"] = sum(map(len, ids))
    keep = answer + 1
    if words:
        positions = [row * keep + step for row in range(rows) for step in range(answer)]
        part |= {
            "keep": keep,
            "positions": torch.tensor(positions),
            "answers": torch.full((len(positions),), 7),
        }
        loss: Any = answer_loss
        units = len(positions)
    else:
        part["labels"] = torch.zeros(rows, dtype=torch.long)
        units = rows
        loss = lambda model, part: head_loss(model, subject.family, part)  # noqa: E731
    names = [str(index) for index in range(2 * rows)]
    for _ in fit(
        model,
        lambda epoch: collate_epoch(names, lambda chosen: dict(part), 2 * rows, 0, epoch, rows),
        loss,
        lambda part: units,
        make_optimizer(model, 1e-5, 0.01),
        lambda step: 1.0,
        epochs=STEPS,
        steps_per_epoch=1,
        clip_norm=1.0,
        seed=0,
        accelerator=accelerator,
    ):
        pass
    if not words:
        class_probabilities(
            model,
            subject.family,
            ids,
            0,
            AdaptiveBatchSize(rows),
            accelerator.device,
            accelerator.autocast,
            labels=2,
        )
        return
    model.eval()
    batch = {
        name: part[name].to(accelerator.device) for name in ("input_ids", "attention_mask", "position_ids")
    }
    places_S = torch.arange(rows * answer)
    options = TokenQuery(answer, places_S, places_S, torch.full((len(places_S),), 7)).to(accelerator.device)
    with accelerator.autocast():
        query_log_probs(model, batch, options).cpu()


def _logits(root: Path, everywhere: bool) -> int:
    """The peak of one step of LoRA on 128k words: logits at the answers alone, or everywhere."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tuneproof.families import family_of
    from tuneproof.memory.usage import peak_bytes, reset_peak, resident_bytes, return_freed_blocks
    from tuneproof.methods import METHODS
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.losses import INPUTS, answer_loss

    return_freed_blocks()
    choose_matmul("cpu", 256)
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=256,
        num_hidden_layers=4,
        intermediate_size=1024,
        num_attention_heads=8,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    lora = METHODS["lora"]
    assert lora.apply is not None
    reset_peak()
    before = resident_bytes()
    model = LlamaForCausalLM(config)
    model = lora.apply(model, family_of(config), lora.options(objective="words"), ())  # type: ignore[call-arg]
    rows, length, answer = 8, 256, 2
    ids = torch.randint(3, 128_000, (rows, length))
    part: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "tokens": rows * length,
        "position_ids": torch.arange(length).expand(rows, -1),
        "keep": answer + 1,
        "answers": ids[:, -answer:].flatten(),
        "positions": torch.tensor([r * (answer + 1) + s for r in range(rows) for s in range(answer)]),
    }
    if everywhere:
        logits = model(**{name: part[name] for name in INPUTS}, use_cache=False).logits
        labels = torch.full_like(ids, -100)
        labels[:, -answer:] = ids[:, -answer:]
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
        )
    else:
        loss = answer_loss(model, part).sum
    loss.backward()
    peak = peak_bytes()["process"] - before
    print(f"loss {loss.item():.5f}", file=sys.stderr)
    return peak


def _in_a_process(root: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Bytes that a fresh process measured, and what it said beside them."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LRU_CACHE_CAPACITY": "64",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    }
    command = [sys.executable, "-m", "benchmarks.memory_prediction", "--root", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return int(done.stdout.splitlines()[-1]), done.stderr


def _row(case: Case, device: str, root: Path) -> float:
    """Print one row of the table; the relative error."""
    from tuneproof.memory.simulate_step import simulate_step

    precision = "bf16" if device == "cuda" else "fp32"
    subject = _subject(case, _checkpoint(case, root, False))
    _checkpoint(case, root, True)
    started = time.perf_counter()
    estimate = simulate_step(subject, _workload(case, device, precision))
    seconds = time.perf_counter() - started
    tensors = estimate.peak.tensors_bytes
    # the allocator of a GPU counts tensors alone, neither its gaps nor the context
    predicted = tensors if device == "cuda" else estimate.total_bytes
    measured, _ = _in_a_process(root, ["--measure", json.dumps(asdict(case)), "--device", device])
    error = predicted / measured - 1
    print(
        f"{case.name:58}{predicted / 2**20:>11,.0f}{measured / 2**20:>11,.0f}{error:>+9.1%}"
        f"   {tensors / 2**20:,.0f}, {estimate.overhead.total_bytes(tensors) / 2**20:,.0f}; {seconds:.1f}",
        flush=True,
    )
    return error


def _compare_logits(root: Path) -> bool:
    """Print what full logits cost; whether answers alone take a quarter at most."""
    (alone, output), (full, too) = (
        _in_a_process(root, ["--logits", logits]) for logits in ("answers", "all")
    )
    losses = [line for text in (output, too) for line in text.splitlines() if line.startswith("loss")]
    print(
        f"LoRA, 128k words, 256 x 4 layers, 8 x 256 tokens, answers of 2: {alone / 2**20:,.0f} MiB with "
        f"logits at the answers alone, {full / 2**20:,.0f} MiB with all logits: {alone / full:.2f} "
        f"(bar 0.25); {', '.join(losses)}"
    )
    return alone <= full / 4 and losses[0] == losses[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, row by row as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    for hidden in ("--measure", "--logits", "--root"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        case = Case(**json.loads(options.measure))
        print(measure(case, options.device, Path(options.root)))
        return 0
    if options.logits:
        print(_logits(Path(options.root), options.logits == "all"))
        return 0
    cases = [case for case in CASES if options.only in case.name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        head = f"{'MiB':58}{'predicted':>11}{'measured':>11}{'error':>9}   tensors, overhead; simulation, s"
        print(head, flush=True)
        errors = [abs(_row(case, options.device, root)) for case in cases]
        saved = options.device == "cuda" or bool(options.only) or _compare_logits(root)
    median, worst = statistics.median(errors), max(errors)
    print(
        f"{len(errors)} combinations: median error {median:.1%} (bar {MEDIAN_BAR:.0%}), worst "
        f"{worst:.1%} (bar {WORST_BAR:.0%})"
    )
    return int(median > MEDIAN_BAR or worst > WORST_BAR or not saved)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
