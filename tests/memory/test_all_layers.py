"""Few layers tell the memory of all: what is alive grows by the same with each, phase by phase."""

from dataclasses import replace
from typing import Any

import pytest
from transformers import BertConfig, LlamaConfig, MixtralConfig

from tuneproof.families import family_of
from tuneproof.families.models import ModelSource
from tuneproof.memory import all_layers
from tuneproof.memory.all_layers import estimate_step
from tuneproof.memory.estimate import MemoryEstimate, Peak, highest
from tuneproof.memory.simulate_step import SimulatedArm, Workload, simulate_step
from tuneproof.methods import METHODS

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 9,
    "num_attention_heads": 4,
    "vocab_size": 500,
}
CONFIGS = {
    "bert": BertConfig(**SHAPE),
    "llama": LlamaConfig(**SHAPE, num_key_value_heads=2, tie_word_embeddings=True),
}
SOURCE = ModelSource("made", "made", None, True)


def arm_of(config: Any, method: str, **options: Any) -> SimulatedArm:
    chosen = METHODS[method]
    return SimulatedArm(
        SOURCE, config, family_of(config), chosen, chosen.options(**{"name": None, **options})
    )


@pytest.mark.parametrize(
    ("kind", "method", "items", "length"),
    [
        ("llama", "zero-shot", 16, 64),
        ("bert", "head", 16, 64),
        pytest.param("bert", "lora", 16, 64, marks=pytest.mark.slow),
        ("llama", "lora", 1, 8),
        pytest.param("bert", "full", 1, 8, marks=pytest.mark.slow),
        ("llama", "full", 64, 4),
    ],
)
def test_the_peak_is_that_of_all_layers(kind: str, method: str, items: int, length: int) -> None:
    arm = arm_of(CONFIGS[kind], method)
    workload = Workload(micro_batch=items, predict_batch=items, length=length, predict_length=length)
    estimate, whole = estimate_step(arm, workload), simulate_step(arm, workload)
    assert estimate.peaks.keys() == whole.peaks.keys()
    for stage, peak in whole.peaks.items():
        assert estimate.peaks[stage].tensors_bytes == pytest.approx(peak.tensors_bytes, rel=0.005), stage


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpointing": True},
        pytest.param({"accumulates": True}, marks=pytest.mark.slow),
        pytest.param({"precision": "bf16"}, marks=pytest.mark.slow),
    ],
)
def test_so_it_is_with_recomputing_several_parts_and_half_precision(changes: dict[str, Any]) -> None:
    arm = arm_of(CONFIGS["llama"], "full")
    workload = replace(Workload(micro_batch=8, length=32), **changes)
    estimate, whole = estimate_step(arm, workload), simulate_step(arm, workload)
    assert estimate.total_bytes == pytest.approx(whole.total_bytes, rel=0.005)


@pytest.mark.slow
def test_quantised_layers_and_trained_top_layers_alone_count_at_all_layers() -> None:
    pytest.importorskip("bitsandbytes")
    for arm in (arm_of(CONFIGS["llama"], "qlora"), arm_of(CONFIGS["llama"], "lora", layers="last 2")):
        workload = Workload(micro_batch=8, length=32)
        estimate, whole = estimate_step(arm, workload), simulate_step(arm, workload)
        assert estimate.total_bytes == pytest.approx(whole.total_bytes, rel=0.005)


@pytest.fixture
def simulated_depths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of layers that are simulated."""
    depths: list[int] = []

    def simulate(arm: SimulatedArm, workload: Workload) -> Any:
        depths.append(arm.config.num_hidden_layers)
        return simulate_step(arm, workload)

    monkeypatch.setattr(all_layers, "simulate_step", simulate)
    return depths


def test_two_and_three_layers_are_simulated(simulated_depths: list[int]) -> None:
    estimate_step(arm_of(CONFIGS["llama"], "head"), Workload(micro_batch=2, length=8))
    assert simulated_depths == [2, 3]


def test_a_model_of_few_layers_is_simulated_whole(simulated_depths: list[int]) -> None:
    config = LlamaConfig(**{**SHAPE, "num_hidden_layers": 4})
    estimate_step(arm_of(config, "head"), Workload(micro_batch=2, length=8))
    assert simulated_depths == [4]


def test_layers_that_are_not_alike_are_all_simulated(simulated_depths: list[int]) -> None:
    from transformers import Qwen2MoeConfig

    config = Qwen2MoeConfig(
        **SHAPE,
        num_key_value_heads=2,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        mlp_only_layers=[0, 4],
    )
    estimate_step(arm_of(config, "head"), Workload(precision="bf16", micro_batch=2, length=8))
    assert simulated_depths == [9]


def test_a_mixture_of_experts_with_equal_layers_is_extended(simulated_depths: list[int]) -> None:
    config = MixtralConfig(**SHAPE, num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1)
    workload = Workload(precision="bf16", micro_batch=2, length=8)
    estimate = estimate_step(arm_of(config, "head"), workload)
    assert simulated_depths == [2, 3]
    whole = simulate_step(arm_of(config, "head"), workload)
    assert estimate.total_bytes == pytest.approx(whole.total_bytes, rel=0.005)


def test_the_phase_that_is_highest_at_all_layers_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update takes most at few layers, the backward pass grows faster; predicting grows most slowly."""

    def simulate(arm: SimulatedArm, workload: Workload) -> MemoryEstimate:
        layers = arm.config.num_hidden_layers
        phases = {"update": peak_of(500 + layers), "lower backward": peak_of(100 * layers)}
        predict = peak_of(600 + layers)
        return MemoryEstimate(highest(phases), predict, workload.overhead, phases=phases)

    monkeypatch.setattr(all_layers, "simulate_step", simulate)
    estimate = estimate_step(arm_of(CONFIGS["llama"], "full"), Workload())
    assert estimate.train == peak_of(900)
    assert estimate.predict == peak_of(609)


def peak_of(weights: int) -> Peak:
    return Peak(weights, 0, 0, 0, 0, 0, 0)


def test_methods_that_do_the_same_are_simulated_once(monkeypatch) -> None:
    simulated = []
    monkeypatch.setattr(
        all_layers, "simulate_step", lambda arm, workload: simulated.append(1) or simulate_step(arm, workload)
    )
    head = arm_of(CONFIGS["bert"], "head")
    first = estimate_step(head, Workload(micro_batch=2, predict_batch=2))
    count = len(simulated)
    again = replace(head, method=METHODS["embeddings"], options=METHODS["embeddings"].options(name=None))
    assert estimate_step(again, Workload(micro_batch=2, predict_batch=2)) is first
    assert len(simulated) == count > 0
    larger = estimate_step(again, Workload(micro_batch=2, predict_batch=4))
    assert larger.total_bytes > first.total_bytes
    lora = METHODS["lora"]
    ranks = [replace(head, method=lora, options=lora.options(rank=rank)) for rank in (4, 64)]
    four, many = (estimate_step(arm, Workload(micro_batch=2)) for arm in ranks)
    assert many.total_bytes > four.total_bytes, "other options are other work"
