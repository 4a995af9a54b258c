"""Part D: labels scored and answers written after prompts, beside whole rows, lm-eval and generate.

In: a bench. Out: its rows. Knows nothing of: training.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.gpu_bench import FIGURE, SKIPPED, Bench, ProcessError

LOG_BARS = {"fp32": 5e-3, "bf16": 1.0, "fp16": 1.0}  # nats
EQUAL_ANSWERS, EQUAL_BEGINNINGS = 0.95, 0.9  # shares, in float32 and in half precision


@dataclass(frozen=True)
class Prompts:
    """`items` prompts that share their first tokens; `new` tokens a label or an answer, `batch` at a time."""

    model: str
    precision: str
    items: int
    shared: int
    own: int
    new: int
    batch: int

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.model} {self.precision}"


ON_CARD = {
    "labels": (
        Prompts("llama-little", "fp32", 64, 100, 40, 3, 16),
        Prompts("gemma2-little", "fp32", 32, 60, 40, 2, 8),
        Prompts("mistral-little", "fp32", 32, 60, 40, 2, 8),
        Prompts("llama-1b", "fp32", 32, 300, 60, 1, 16),
        Prompts("llama-1b", "bf16", 256, 300, 60, 1, 32),
        Prompts("llama-1b", "fp16", 256, 300, 60, 1, 32),
    ),
    "answers": (
        Prompts("llama-little", "fp32", 48, 100, 40, 24, 16),
        Prompts("gemma2-little", "fp32", 24, 60, 40, 16, 8),
        Prompts("mistral-little", "fp32", 24, 60, 40, 16, 8),
        Prompts("llama-1b", "bf16", 64, 500, 120, 32, 32),
    ),
}
OF_CPU_FORM = {
    "labels": (
        Prompts("llama-little", "fp32", 8, 30, 12, 2, 4),
        Prompts("gemma2-little", "fp32", 6, 40, 12, 2, 4),
        Prompts("llama-little", "bf16", 8, 30, 12, 1, 4),
    ),
    "answers": (
        Prompts("llama-little", "fp32", 6, 30, 12, 6, 4),
        Prompts("gemma2-little", "fp32", 6, 40, 12, 6, 4),
    ),
}
GIB = {"llama-1b": 12.0}


def label_scores(bench: Bench) -> None:
    """Log-likelihoods of labels beside those of whole rows, and the speed beside both peers."""

    def judge(prompts: Prompts, seen: dict[str, Any]) -> tuple[bool, str]:
        bar = LOG_BARS[prompts.precision]
        text = (
            f"within {seen['far']:.1e} nats of whole rows (bar {bar:g}), {seen['other_labels']} of "
            f"{prompts.items} other labels, {seen['ties']} ties; {_speeds(seen['ratios'])}"
        )
        return seen["finite"] and seen["far"] <= bar, text

    _each(bench, "labels", "benchmarks.gpu_peers:score_beside", judge)


def written_answers(bench: Bench) -> None:
    """Greedy answers beside those of `generate`, and the speed beside it and lm-eval."""

    def judge(prompts: Prompts, seen: dict[str, Any]) -> tuple[bool, str]:
        whole = prompts.precision == "fp32"
        equal = seen["equal"] if whole else seen["equal_beginnings"]
        text = (
            f"{seen['equal']} of {prompts.items} answers are generate's, {seen['equal_beginnings']} begin "
            f"alike; ours {seen['tokens_per_s']:,.0f} tokens/s; {_speeds(seen['ratios'])}"
        )
        return equal >= (EQUAL_ANSWERS if whole else EQUAL_BEGINNINGS) * prompts.items, text

    _each(bench, "answers", "benchmarks.gpu_peers:write_beside", judge)


def _each(
    bench: Bench, kind: str, function: str, judge: Callable[[Prompts, dict[str, Any]], tuple[bool, str]]
) -> None:
    """A row for each of the kind's prompts: whether the results agree, and the speeds."""
    for prompts in (OF_CPU_FORM if bench.small else ON_CARD)[kind]:
        check = f"{kind} {prompts.name}"
        if bench.left_s <= 0:
            bench.report(check, SKIPPED, "no time")
        elif bench.has_memory(check, GIB.get(prompts.model, 1.0)):
            options = {"folder": bench.model(prompts.model), "device": bench.device}
            try:
                seen = bench.call(function, prompts=asdict(prompts), **options)
                bench.report(check, *judge(prompts, seen), **seen)
            except ProcessError as error:
                bench.report(check, False, str(error))
    if find_spec("lm_eval") is None:
        bench.report(f"{kind} beside lm-eval", SKIPPED, "lm-eval is not installed; make bench sets it up")


def _speeds(ratios: dict[str, str]) -> str:
    """The peers' times over ours."""
    return ", ".join(f"{peer} {' '.join(spread.split())}" for peer, spread in ratios.items())


def attention_kernels(bench: Bench) -> None:
    """Which attention runs while labels are scored: look for softmax over whole rows where flash is meant."""
    for model in ("llama-little",) if bench.small else ("llama-1b", "gemma2-little"):
        if not bench.has_memory(f"kernels {model}", GIB.get(model, 1.0)):
            continue
        prompts = Prompts(model, bench.half, 16, 64, 48, 1, 16)
        options = {"folder": bench.model(model), "device": bench.device}
        counts = bench.call("benchmarks.gpu_peers:count_kernels", prompts=asdict(prompts), **options)
        text = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:6])
        bench.report(f"kernels {model}", FIGURE, text or "none seen", counts=counts)
