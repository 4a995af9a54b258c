"""Predicted against measured peaks of memory, each measured in a process of its own.

In: models of random weights, methods, batch shapes. Out: a table; exit code 1 where a bar is missed.
Knows nothing of: data, what the models would answer.

    python -m benchmarks memory [--only TEXT] [--device cpu|cuda]
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    recompute: bool = False

    @property
    def name(self) -> str:
        """As the table shows it."""
        more = ", recomputing" if self.recompute else ""
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
    Case("decoder", "lora", "words", 8, 256, 128_256, recompute=True),
    Case("decoder", "full", "head", 4, 256, 30_522),
    Case("decoder", "full", "words", 8, 128, 30_522),
    Case("decoder", "full", "words", 4, 128, 128_256),
)


def _subject(case: Case, small: bool = False) -> Any:
    """The case as the predictor takes it: real shapes of few layers; or `small`, of no size."""
    from transformers import BertConfig, LlamaConfig

    from tuneproof.families import family_of
    from tuneproof.families.models import ModelSource
    from tuneproof.ledger.play import Subject
    from tuneproof.methods import METHODS

    if case.kind == "encoder":
        config: Any = BertConfig(
            pad_token_id=0, num_attention_heads=12, **(SMALL if small else {
                "vocab_size": case.vocabulary, "hidden_size": 768, "num_hidden_layers": 6,
                "intermediate_size": 3072}),
        )  # fmt: skip
    else:
        config = LlamaConfig(
            pad_token_id=0, num_attention_heads=16, num_key_value_heads=4, tie_word_embeddings=True,
            **(SMALL if small else {
                "vocab_size": case.vocabulary, "hidden_size": 1024, "num_hidden_layers": 6,
                "intermediate_size": 2816}),
        )  # fmt: skip
    method = METHODS[case.method]
    named = {"objective": case.objective} if "objective" in method.options.model_fields else {}
    source = ModelSource("random", "random", None, True)
    return Subject(source, config, family_of(config), method, method.options(**named))


def _scene(case: Case, device: str, precision: str) -> Any:
    from tuneproof.ledger.play import Scene

    return Scene(
        device, precision, case.batch, case.length,  # type: ignore[arg-type]
        accumulates=True, recompute=case.recompute, predict_batch=case.batch, predict_length=case.length,
        keeps_best=False,
    )  # fmt: skip


def measure(case: Case, device: str) -> dict[str, Any]:
    """The peak beside what was there before, in this process, which must be a fresh one."""
    from tuneproof.ledger.memory import begin_peak, peak_bytes, resident_bytes, return_freed_blocks
    from tuneproof.model.kernels import choose_matmul
    from tuneproof.train.loop import make_accelerator

    precision = "bf16" if device == "cuda" else "fp32"
    accelerator = make_accelerator(device, precision)
    if device == "cpu":
        return_freed_blocks()
    choose_matmul(device, case.length)
    scene = _scene(case, device, precision)
    # the same on a model of no size: code is loaded, as it is after a study's first arm
    _work(_subject(case, small=True), replace(scene, micro_batch=2, length=16), accelerator)
    gc.collect()
    begin_peak()
    before = resident_bytes()
    _work(_subject(case), scene, accelerator)
    peaks = peak_bytes()
    measured = (
        peaks["device"] if "device" in peaks and device == "cuda" else peaks["process"] - before
    )
    return {"measured": measured}


def _work(subject: Any, scene: Any, accelerator: Any) -> None:
    """Two steps of two micro-batches and a batch of predictions, by the functions of an arm."""
    from types import SimpleNamespace

    import numpy as np
    import torch

    from tuneproof.data.batches import collate_epoch
    from tuneproof.data.tokens import pad_batch
    from tuneproof.ledger.play import DTYPES
    from tuneproof.model.features import pooled_features
    from tuneproof.model.load import load_model
    from tuneproof.model.shortage import AtOnce, recompute_activations
    from tuneproof.predict.choose import Asked, asked_logs
    from tuneproof.predict.classify import class_probabilities
    from tuneproof.train.loop import fit
    from tuneproof.train.losses import head_loss, words_loss
    from tuneproof.train.optimizer import make_optimizer

    heads: dict[str, Any] = {"features": "base", "labels": "labels", "words": "words"}
    frozen = subject.method.apply is None or subject.method.freezes(subject.options)
    tokenizer = SimpleNamespace(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = load_model(
        subject.source, subject.config, tokenizer, subject.family,
        head=heads[subject.objective], labels=("a", "b"), random=True, seed=0,
        dtype=DTYPES[scene.precision] if frozen else torch.float32,
    ).model  # fmt: skip
    model = model.to(accelerator.device)
    rows = scene.micro_batch
    draw = np.random.default_rng(0)
    ids = [draw.integers(3, subject.config.vocab_size, scene.length) for _ in range(rows)]
    ids[-1] = ids[-1][: scene.length // 2]  # padding, as real batches have
    if subject.method.apply is None:
        poolings = ("first", "mean") if subject.family.kind == "encoder" else ("last", "mean")
        for _ in pooled_features(
            model, subject.family, ids, 0, poolings, AtOnce(rows), accelerator.device,
            accelerator.autocast, {},
        ):  # fmt: skip
            pass
        return
    fresh = [
        name for name, _ in model.named_parameters() if name.startswith(subject.family.head_modules)
    ]
    model = subject.method.apply(model, subject.family, subject.options, fresh)
    model = model.to(accelerator.device)
    if scene.recompute:
        recompute_activations(model)
    words, answer = subject.objective == "words", scene.answer_tokens
    part: dict[str, Any] = pad_batch(ids, 0, "left" if words else "right")
    part["tokens"] = sum(map(len, ids))
    keep = answer + 1
    if words:
        places = [row * keep + step for row in range(rows) for step in range(answer)]
        part |= {
            "keep": keep,
            "places": torch.tensor(places),
            "answers": torch.full((len(places),), 7),
        }
        loss: Any = words_loss
        units = len(places)
    else:
        part["labels"] = torch.zeros(rows, dtype=torch.long)
        units = rows
        loss = lambda model, part: head_loss(model, subject.family, part)  # noqa: E731
    names = [str(place) for place in range(2 * rows)]
    for _ in fit(
        model,
        lambda epoch: collate_epoch(names, lambda chosen: dict(part), 2 * rows, 0, epoch, rows),
        loss, lambda part: units, make_optimizer(model, 1e-5, 0.01), lambda step: 1.0,
        epochs=STEPS, steps_per_epoch=1, clip_norm=1.0, seed=0, accelerator=accelerator,
    ):  # fmt: skip
        pass
    if not words:
        into = np.zeros((rows, 2))
        for _ in class_probabilities(
            model,
            subject.family,
            ids,
            0,
            AtOnce(rows),
            accelerator.device,
            accelerator.autocast,
            into,
        ):
            pass
        return
    model.eval()
    batch = {
        name: part[name].to(accelerator.device)
        for name in ("input_ids", "attention_mask", "position_ids")
    }
    places_S = torch.arange(rows * answer)
    asked = Asked(answer, places_S, places_S, torch.full((len(places_S),), 7)).to(
        accelerator.device
    )
    with accelerator.autocast():
        asked_logs(model, batch, asked).cpu()


def _measured(case: Case, device: str) -> int:
    words = [
        sys.executable,
        "-m",
        "benchmarks.memory_prediction",
        "--measure",
        json.dumps(asdict(case)),
    ]
    environment = {
        **os.environ,
        "LRU_CACHE_CAPACITY": "64",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    }
    done = subprocess.run(
        [*words, "--device", device], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"{case.name}: {done.stderr[-2000:]}")
    return int(json.loads(done.stdout.splitlines()[-1])["measured"])


def main(words: Sequence[str] | None = None) -> int:
    """Print the table, row by row as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.measure:
        print(json.dumps(measure(Case(**json.loads(asked.measure)), asked.device)))
        return 0
    from tuneproof.ledger.play import play

    errors = []
    precision = "bf16" if asked.device == "cuda" else "fp32"
    print(f"{'':58}{'predicted':>11}{'measured':>11}{'error':>9}   tensors, terms (MiB); play, s")
    for case in CASES:
        if asked.only not in case.name:
            continue
        begun = time.perf_counter()
        forecast = play(_subject(case), _scene(case, asked.device, precision))
        seconds = time.perf_counter() - begun
        tensors = forecast.peak.tensors_bytes
        # the allocator of a GPU counts tensors alone, neither its gaps nor the context
        predicted = tensors if asked.device == "cuda" else forecast.total_bytes
        measured = _measured(case, asked.device)
        error = predicted / measured - 1
        errors.append(abs(error))
        print(
            f"{case.name:58}{predicted / 2**20:>11,.0f}{measured / 2**20:>11,.0f}{error:>+9.1%}"
            f"   {tensors / 2**20:,.0f}, {forecast.terms.on_top(tensors) / 2**20:,.0f}; {seconds:.1f}",
            flush=True,
        )
    if not errors:
        return 0
    median, worst = statistics.median(errors), max(errors)
    print(f"{len(errors)} combinations: median error {median:.1%} (bar {MEDIAN_BAR:.0%}), worst "
          f"{worst:.1%} (bar {WORST_BAR:.0%})")  # fmt: skip
    return int(median > MEDIAN_BAR or worst > WORST_BAR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
