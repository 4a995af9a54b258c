"""Part C: peak memory predicted and measured, and the speed of training beside the Trainer and TRL.

In: a bench. Out: its rows. Knows nothing of: prompts, stopping.
"""

import math
import statistics
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks.gpu_bench import FIGURE, SKIPPED, Bench, ProcessError
from benchmarks.gpu_models import config_of

MEMORY_BAR = 0.15  # of the measured peak
SPEED_BAR = 0.95  # times as fast as the peer, at least
ROW_S = 40.0  # a row that may not end within the budget is not begun
LORA, QLORA = {"lora": {"rank": 16}}, {"qlora": {"rank": 16}}
WORDS = {"lora": {"rank": 16, "objective": "words"}}


@dataclass(frozen=True)
class Combination:
    """An arm of a model in batches of so many items. gib: memory of the card that it needs."""

    model: str
    arm: Any
    batch: int
    gib: float
    recompute: bool = False

    @property
    def name(self) -> str:
        """As the table shows it."""
        method = self.arm if isinstance(self.arm, str) else next(iter(self.arm))
        options = {} if isinstance(self.arm, str) else self.arm[method]
        details = [str(options[key]) for key in ("objective", "layers") if key in options]
        details += ["recomputing"] if self.recompute else []
        return f"{self.model} {' '.join([method, *details])} x {self.batch}"


COMBINATIONS = (
    Combination("distilbert", "head", 32, 4),
    Combination("distilbert", LORA, 32, 8),
    Combination("distilbert", QLORA, 32, 8),
    Combination("distilbert", "full", 32, 12),
    Combination("distilbert", "full", 64, 12, recompute=True),
    Combination("llama-1b", "zero-shot", 16, 8),
    Combination("llama-1b", "head", 16, 8),
    Combination("llama-1b", LORA, 16, 20),
    Combination("llama-1b", LORA, 64, 14, recompute=True),
    Combination("llama-1b", WORDS, 16, 20),
    Combination("llama-1b", QLORA, 16, 20),
    Combination("llama-1b", {"full": {"layers": "last 4"}}, 16, 20),
    Combination("llama-1b", "full", 8, 36),
    Combination("llama-1b", "full", 16, 36, recompute=True),
)
OF_CPU_FORM = ("distilbert full x 32", "llama-1b lora words x 16", "llama-1b qlora x 16")


def memory_and_speed(bench: Bench) -> None:
    """Each combination's peak, predicted and measured, its tokens a second and share of the matrix peak."""
    combinations = [one for one in COMBINATIONS if not bench.small or one.name in OF_CPU_FORM]
    errors = []
    for number, combination in enumerate(combinations):
        if bench.left_s < ROW_S:
            bench.report(combination.name, SKIPPED, "no time: --only memory_and_speed with a larger --budget")
        elif combination.arm is QLORA and find_spec("bitsandbytes") is None:
            bench.report(combination.name, SKIPPED, "bitsandbytes is not installed (extra qlora)")
        elif bench.has_memory(combination.name, combination.gib):
            error = _measure(bench, number, combination)
            errors += [] if error is None else [abs(error)]
    if errors:
        text = f"{len(errors)} combinations: median {statistics.median(errors):.1%}, worst {max(errors):.1%}"
        bench.report("errors of predicted peaks", FIGURE, text)


def _measure(bench: Bench, number: int, combination: Combination) -> float | None:
    """One row; the relative error of the predicted peak, None where there is none."""
    batch = bench.size(combination.batch, 4)
    recipe = {
        "task": bench.reviews(400, 200, 250) if not bench.small else bench.reviews(),
        "models": [bench.model(combination.model)],
        "arms": [combination.arm, "majority"],
        "split": {"train_size": bench.size(max(64, 5 * batch), 16), "dev_size": 16, "test_size": 16},
        "train": {
            "epochs": 1,
            "batch_size": batch,
            "min_steps": 1,
            "checkpoint_minutes": None,
            "gradient_checkpointing": combination.recompute,
        },
        "predict": {"batch_size": batch, "timing_s": 1},
        "compute": {"precision": bench.half, "memory": "1000GB"},  # nothing is changed to fit
    }
    study = bench.study(f"combination-{number}", recipe)
    arm = next((arm for name, arm in study.arms.items() if name != "majority"), None)
    ledger = arm.ledger if arm else {}
    memory, speed = ledger.get("memory") or {}, ledger.get("training_speed") or {}
    if study.problem or arm is None or not memory:
        bench.report(combination.name, False, study.problem or "the ledger has no entry of memory")
        return None
    error = float(memory["error"])
    rate = f"{arm.about.get('items_per_s') or 0:,.0f} items/s predicted"
    if speed:
        rate = f"{speed['tokens_per_s']:,.0f} tokens/s, MFU {_share(speed.get('mfu'))}"
    text = (
        f"predicted {memory['predicted_bytes'] / 2**30:.2f} GiB, measured "
        f"{memory['measured_bytes'] / 2**30:.2f} ({error:+.1%}); {rate}"
    )
    outcome = abs(error) <= MEMORY_BAR if bench.on_gpu else FIGURE  # a small process is mostly its libraries
    bench.report(combination.name, outcome, text, memory=memory, speed=speed)
    return error


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def beside_the_trainer(bench: Bench) -> None:
    """Our loop and the peers in turn on the same items: how many times our time theirs is.

    The Trainer gets our batches in our precision, so that losses agree; TRL runs as shipped.
    """
    rows = (("distilbert full", "trainer-head", 6), ("llama-1b lora words", "trainer", 20))
    for name, peer, gib in (*rows, ("llama-1b lora words", "sft", 20)):
        check = f"{name} beside {'TRL' if peer == 'sft' else 'the Trainer'}"
        if peer == "sft" and find_spec("trl") is None:
            bench.report(check, SKIPPED, "TRL is not installed; make bench sets it up")
            continue
        if bench.left_s < ROW_S:
            bench.report(check, SKIPPED, "no time: --only beside_the_trainer")
            continue
        if not bench.has_memory(check, gib):
            continue
        options = {"device": bench.device, "precision": bench.half, "small": bench.small}
        try:
            seen = bench.call("benchmarks.gpu_training:alternate_with", peer=peer, **options)
        except ProcessError as error:
            bench.report(check, False, str(error))
            continue
        agreement = f"; losses apart by {seen['far']:.1e} (bar {seen['bar']:.0e})" if peer != "sft" else ""
        fast = seen["ratio"] >= SPEED_BAR or not bench.on_gpu
        bench.report(
            check,
            seen["far"] <= seen["bar"] and fast,
            f"{seen['spread'].strip()} as fast (bar {SPEED_BAR} on a card), ours {seen['tokens_per_s']:,.0f} "
            f"tokens/s{agreement}",
            **seen,
        )


def alternate_with(peer: str, device: str, precision: str, small: bool) -> dict[str, Any]:
    """Train by our loop and by the peer in turn, in this process: ratio, spread, tokens/s, how far apart."""
    from benchmarks.alternating import alternate, widest

    items = _items(peer, small)
    ours, theirs = _both_sides(peer, items, device, precision, small)
    ours()
    turns = alternate(1 if small else 3, ours, theirs, None if peer == "sft" else widest)
    tokens = sum(map(len, items.ids))
    return {
        "ratio": turns.ratio,
        "spread": turns.spread,
        "tokens_per_s": tokens / statistics.median(turns.seconds),
        "far": turns.far,
        "bar": {"fp32": 1e-4, "bf16": 0.05}.get(precision, math.inf),
    }


def _items(peer: str, small: bool) -> Any:
    """Token ids of 40 to 250 tokens an item."""
    import numpy as np

    from benchmarks.training import Items

    draw = np.random.default_rng(0)
    batch, steps = (4, 3) if small else (32 if peer == "trainer-head" else 16, 12)
    longest = 24 if small else 250
    lengths = draw.integers(longest // 6, longest, batch * steps)
    ids = [[1, *draw.integers(8, 2000, length).tolist(), 2] for length in lengths]
    return Items(ids, [len(item) % 2 + (0 if peer == "trainer-head" else 5) for item in ids], batch)


def _both_sides(peer: str, items: Any, device: str, precision: str, small: bool) -> tuple[Any, Any]:
    """Two functions that train a fresh model for an epoch and return its seconds and losses."""
    from benchmarks import lora_words
    from benchmarks.encoder_finetuning import RATE
    from benchmarks.training import by_trainer, by_us, head_extra, labelled_rows, padded
    from tuneproof.families import family_of
    from tuneproof.train.losses import head_loss

    sides = {"precision": precision, "device": device}
    if peer == "trainer-head":
        extra, family = head_extra(items), family_of(config_of("distilbert", small))
        loss = lambda model, part: head_loss(model, family, part)  # noqa: E731
        classifier = partial(_classifier, small)
        rows = labelled_rows(items)
        return (
            lambda: by_us(classifier(), items, loss, extra, RATE, **sides),
            lambda: by_trainer(classifier(), items, rows, padded, RATE, our_order=True, **sides),
        )
    adapted = lambda: lora_words.with_adapter(_decoder(precision, small))  # noqa: E731
    if peer == "sft":
        theirs = lambda: lora_words.by_sft("", items, adapted(), device=device)  # noqa: E731
    else:
        theirs = lambda: lora_words.by_the_trainer("", items, False, adapted(), **sides)  # noqa: E731
    return lambda: lora_words.ours("", items, adapted(), **sides), theirs


def _decoder(precision: str, small: bool) -> Any:
    """Llama-3.2-1B's shape, its frozen weights in the precision of the products."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    return AutoModelForCausalLM.from_config(config_of("llama-1b", small), dtype=dtype)


def _classifier(small: bool) -> Any:
    """DistilBERT's shape without dropout, with a head of two labels."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = config_of("distilbert", small)
    config.dropout = config.attention_dropout = config.seq_classif_dropout = 0.0
    return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
