"""The estimate of what fits: the search finds the largest number and never one too many."""

import json
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneproof.errors import ModelError, RecipeError
from tuneproof.families import family_of
from tuneproof.families.models import resolve_model
from tuneproof.memory.estimate import MemoryEstimate, Peak, estimate_overhead
from tuneproof.memory.simulate_step import SimulatedArm, Workload, simulate_step
from tuneproof.memory.table import MemoryTable, estimate_memory, find_max_items
from tuneproof.memory.text import table_rows, table_sentences
from tuneproof.methods import METHODS
from tuneproof.parameters.count import load_configuration

CONFIGURATION = {
    "model_type": "llama",
    "vocab_size": 2000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "tie_word_embeddings": True,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")


def estimate_of(fixed: int, per_item: int, items: int, other: int = 0) -> MemoryEstimate:
    """Two moments: one grows with the items, the other does not."""
    growing = Peak(fixed, 0, 0, per_item * items, 0, 0, 0)
    still = Peak(fixed, 0, other, 0, 0, 0, 0)
    return MemoryEstimate(
        max(growing, still, key=lambda p: p.tensors_bytes), None, estimate_overhead("cpu", 1, 64)
    )


@pytest.fixture
def no_search(monkeypatch) -> None:
    """Rows without the search for the largest number of items, which has tests of its own."""
    monkeypatch.setattr(
        "tuneproof.memory.table.find_max_items",
        lambda estimate, first, size: first[0] if first[1].total_bytes <= size else 0,
    )


@settings(deadline=None, max_examples=200)
@given(
    st.integers(10**6, 10**10),
    st.integers(10**3, 10**9),
    st.integers(0, 10**10),
    st.integers(10**6, 3 * 10**10),
    st.sampled_from([1, 3, 16, 64]),
)
def test_the_largest_number_takes_few_estimates(fixed, per_item, other, size, batch) -> None:
    estimated = []

    def estimate(items):
        estimated.append(items)
        return estimate_of(fixed, per_item, items, other)

    result = find_max_items(estimate, (batch, estimate(batch)), size, 1024)
    counts = range(1, 1025)  # more items never take less
    expected = bisect_right(counts, size, key=lambda n: estimate_of(fixed, per_item, n, other).total_bytes)
    assert result <= expected
    assert result == expected or result in estimated
    assert len(estimated) <= 7
    if other == 0:
        assert result == expected


def simulated_arm(tmp_path, method="lora", values=CONFIGURATION, **options) -> SimulatedArm:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(values))
    source = resolve_model(path, weights=False)
    config, _, _ = load_configuration(source)
    entry = METHODS[method]
    return SimulatedArm(source, config, family_of(config), entry, entry.options(**options))


@pytest.mark.parametrize(
    "method",
    ["lora", "zero-shot", *(pytest.param(name, marks=pytest.mark.slow) for name in ("full", "head"))],
)
def test_what_fits_is_simulated_to_fit_and_one_more_item_is_not(method, tmp_path) -> None:
    arm = simulated_arm(tmp_path, method)
    file = tmp_path / "small.json"
    memory = 150_000_000
    table = estimate_memory(str(file), f"{memory}B", [method], [8], [128], device="cpu")
    row = table.rows[0]
    for items, checkpointing in ((row.max_items, False), (row.max_items_with_checkpointing, True)):
        if items is None or items == 1024:
            continue
        workload = Workload(
            length=128,
            predict_length=128,
            accumulates=items < 8,
            checkpointing=checkpointing,
            micro_batch=items,
            predict_batch=items,
        )
        assert items > 0
        assert simulate_step(arm, workload).total_bytes <= memory
        step = 8 if method == "zero-shot" else 1  # four prompts of this length share a trie
        more = Workload(**{**workload.__dict__, "micro_batch": items + step, "predict_batch": items + step})
        assert simulate_step(arm, more).total_bytes > memory


def test_a_table_over_methods_batches_and_lengths_is_one_call(tmp_path, no_search) -> None:
    simulated_arm(tmp_path)
    table = estimate_memory(str(tmp_path / "small.json"), "1GB", ["full", "head"], [2, 4], [16, 32])
    assert [(c.method, c.batch, c.length) for c in table.rows] == [
        (m, b, n) for m in ("full", "head") for n in (16, 32) for b in (2, 4)
    ]
    header, rows = table_rows(table)
    assert all(len(row) == len(header) for row in rows)
    assert len(rows) == 4 * 2 + 4
    values = json.loads(json.dumps(table.as_json()))
    assert values["rows"][0]["estimate"]["train"].keys() == set(PARTS)
    assert {c["fits"] for c in values["rows"]} == {True, False} or all(c["fits"] for c in values["rows"])


def test_more_items_longer_texts_and_more_weights_take_more(tmp_path) -> None:
    lora, full = simulated_arm(tmp_path, "lora"), simulated_arm(tmp_path, "full")
    base = simulate_step(lora, Workload(micro_batch=4, length=64)).train
    assert simulate_step(lora, Workload(micro_batch=8, length=64)).train.activations > 1.5 * base.activations
    assert simulate_step(lora, Workload(micro_batch=4, length=128)).train.activations > 1.5 * base.activations
    everything = simulate_step(full, Workload(micro_batch=4, length=64)).train
    assert everything.optimizer > 5 * base.optimizer
    assert everything.optimizer == pytest.approx(2 * 4 * 202_112, rel=0.01)


def test_checkpointing_and_half_precision_take_less(tmp_path) -> None:
    lora = simulated_arm(tmp_path, "lora")
    workload = Workload(micro_batch=8, length=128)
    plain = simulate_step(lora, workload)
    checkpointed = simulate_step(lora, Workload(micro_batch=8, length=128, checkpointing=True))
    half = simulate_step(lora, Workload(precision="bf16", micro_batch=8, length=128))
    assert checkpointed.train.activations < 0.5 * plain.train.activations
    assert half.train.weights < 0.8 * plain.train.weights
    assert half.train.activations < 0.75 * plain.train.activations


@pytest.mark.parametrize(
    ("method", "checkpointing"),
    [
        *(("full", False), ("lora", True)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("full", True), ("lora", False))),
    ],
)
def test_below_the_last_layers_nothing_is_kept_for_the_backward_pass(method, checkpointing, tmp_path) -> None:
    deep = {**CONFIGURATION, "num_hidden_layers": 6}
    shallow = {**CONFIGURATION, "num_hidden_layers": 3}
    workload = Workload(micro_batch=8, length=128, checkpointing=checkpointing, predicts=False)
    last = simulate_step(simulated_arm(tmp_path, method, deep, layers="last 2"), workload).train
    same = simulate_step(simulated_arm(tmp_path, method, shallow, layers="last 2"), workload).train
    all_layers = simulate_step(simulated_arm(tmp_path, method, deep), workload).train
    assert last.activations == same.activations < all_layers.activations
    assert (last.gradients, last.optimizer) == (same.gradients, same.optimizer)
    assert last.optimizer < 0.5 * all_layers.optimizer
    assert last.weights > same.weights


def test_words_have_logits_at_the_answers_and_no_others(tmp_path) -> None:
    words = simulated_arm(tmp_path, "lora", objective="words")
    workload = Workload(micro_batch=8, length=128, predict_batch=8, predict_length=128)
    estimate = simulate_step(words, workload)
    everywhere = 8 * 128 * 2000 * 4
    assert 0 <= estimate.train.logits < everywhere / 8
    assert estimate.predict.logits < everywhere / 8


def test_quantised_weights_count_by_their_bytes(tmp_path) -> None:
    workload = Workload(device="cuda", precision="bf16", micro_batch=2, length=32)
    lora = simulate_step(simulated_arm(tmp_path, "lora"), workload).train
    quantized = simulate_step(simulated_arm(tmp_path, "qlora"), workload).train
    linear = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    # half a byte and a scale's share instead of two, beside embeddings and norms in float32
    others = 2000 * 64 + 5 * 64
    assert quantized.weights - lora.weights == pytest.approx(2 * others - 1.484 * linear, rel=0.02)


def test_if_nothing_fits_the_first_change_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tuneproof.memory.simulate_step.uses_onednn", lambda: True)
    simulated_arm(tmp_path)
    name = str(tmp_path / "small.json")
    table = estimate_memory(name, "88.5MB", ["full"], [4], [64], device="cpu")
    assert not table.rows[0].fits
    assert table.rows[0].settings.startswith("no batch size fits; first change: ")
    nothing = estimate_memory(name, "1kB", ["full"], [4], [64], device="cpu")
    assert "the weights alone take" in nothing.rows[0].settings
    assert any("does not fit" in line for line in table_sentences(nothing))


def test_a_cpus_matrix_products_are_measured_on_real_tensors(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tuneproof.models.matmul_backend._is_intel", lambda: False)
    workload = Workload(device="cpu", precision="fp32", micro_batch=2, length=32)
    assert simulate_step(simulated_arm(tmp_path), workload).train.tensors_bytes > 0


def test_plain_attention_keeps_its_weights_for_every_pair_of_tokens_on_any_device(tmp_path) -> None:
    arm = simulated_arm(tmp_path)
    workloads = (Workload("cuda", "bf16", 2, 1024, unfused=plain) for plain in (False, True))
    fused, unfused = (simulate_step(arm, workload).train.tensors_bytes for workload in workloads)
    pairs = 2 * 4 * 1024**2  # items, heads and pairs of tokens
    assert unfused - fused > 2 * 2 * pairs, "of two layers, two bytes each"


def test_a_cpus_kernels_are_counted_only_where_onednn_is_chosen(monkeypatch) -> None:
    for uses_onednn, counted in ((True, True), (False, False)):
        monkeypatch.setattr("tuneproof.memory.simulate_step.uses_onednn", lambda value=uses_onednn: value)
        overhead = Workload(device="cpu", distinct_lengths=4).overhead
        assert (overhead.fixed_bytes > 0) is counted
        assert ("oneDNN" in overhead.description) is counted


def test_methods_that_an_encoder_cannot_do_are_listed(tmp_path, no_search) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps({"model_type": "bert", "vocab_size": 2000, **sizes}))
    table = estimate_memory(str(path), "1GB", (), [2], [16])
    assert isinstance(table, MemoryTable)
    assert [line.partition(":")[0] for line in table.unsupported] == ["few-shot"]
    with pytest.raises(ModelError, match="takes no examples"):
        estimate_memory(str(path), "1GB", ["few-shot"], [2], [16])


def test_shots_are_added_to_the_length(tmp_path, no_search) -> None:
    simulated_arm(tmp_path)
    name = str(tmp_path / "small.json")
    one_shot, eight_shots = (
        estimate_memory(name, "1GB", ["few-shot"], [4], [128], changes=[f"few-shot.shots={n}"])
        for n in (1, 8)
    )
    assert eight_shots.rows[0].estimate.peak.cache > 3 * one_shot.rows[0].estimate.peak.cache
    with pytest.raises(RecipeError, match=r"40 shots and an item of 128 tokens each are 5,248"):
        estimate_memory(name, "1GB", ["few-shot"], [4], [128], changes=["few-shot.shots=40"])


def test_the_length_of_predictions_changes_nothing_about_a_training_step(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tuneproof.memory.simulate_step.uses_onednn", lambda: True)
    arm = simulated_arm(tmp_path)
    short, long = (
        simulate_step(arm, Workload(micro_batch=4, length=64, predict_length=length, attention_length=64))
        for length in (64, 192)
    )
    assert short.train == long.train
    assert short.predict != long.predict


def test_a_batch_is_divided_over_the_processes(tmp_path, no_search) -> None:
    simulated_arm(tmp_path)
    name = str(tmp_path / "small.json")
    two, one = (
        estimate_memory(name, "1GB", ["full", "zero-shot"], [n], [32], processes=p)
        for n, p in ((8, 2), (4, 1))
    )
    assert (two.rows[0].batch, one.rows[0].batch) == (8, 4)
    assert two.rows[0].estimate.predict == one.rows[0].estimate.predict, "of four items"
    assert [cells[1] for cells in table_rows(two)[1]] == ["8/2 × 32", "8/2 × 32", "8 × 32"]
    first, *lines = table_sentences(two)
    assert "one of 2 processes (ddp)" in first
    assert any("Memory of the machine" in line for line in lines)
    assert not any("processes" in line or "machine" in line for line in table_sentences(one))


@pytest.mark.slow
def test_a_sharded_model_is_named_that_every_process_must_hold_whole(tmp_path) -> None:
    simulated_arm(tmp_path, values={**CONFIGURATION, "num_hidden_layers": 12})
    name = str(tmp_path / "small.json")
    table = estimate_memory(name, "2GB", ["full"], [4], [16], processes=64, parallel="fsdp")
    estimate = table.rows[0].estimate
    assert estimate.peaks.keys() == {"train", "predict", "load", "dev"}
    step, highest = (estimate.with_overhead(peak) for peak in (estimate.train, estimate.peak))
    assert step < highest
    tight = estimate_memory(
        name, f"{(step + highest) // 2}B", ["full"], [4], [16], processes=64, parallel="fsdp"
    )
    assert not tight.rows[0].fits
    assert "a training step would" in tight.rows[0].settings
    assert "however many there are" in tight.rows[0].settings
    stages = next(line for line in table_sentences(tight) if "Every process" in line)
    assert "dev with all weights gathered" in stages
    assert json.loads(json.dumps(tight.as_json()))["rows"][0]["estimate"]["whole"].keys() == {"load", "dev"}


def test_what_cannot_be_sharded_is_refused_or_listed(tmp_path, monkeypatch) -> None:
    simulated_arm(tmp_path)
    name, sharded = str(tmp_path / "small.json"), {"processes": 2, "parallel": "fsdp"}
    with pytest.raises(RecipeError, match=r"qlora.*cannot shard"):
        estimate_memory(name, "1GB", ["qlora"], [2], [16], **sharded)
    with pytest.raises(RecipeError, match="no common loss scale"):
        estimate_memory(name, "1GB", ["full"], [2], [16], precision="fp16", **sharded)
    with pytest.raises(RecipeError, match=r"--processes.*out of range"):
        estimate_memory(name, "1GB", ["full"], [2], [16], processes=0)
    with pytest.raises(RecipeError, match=r"'zero' is unknown"):
        estimate_memory(name, "1GB", ["full"], [2], [16], parallel="zero")
    monkeypatch.setattr("tuneproof.memory.table._make_row", lambda arm, *_: arm.method.name)
    everything = estimate_memory(name, "1GB", (), [2], [16], **sharded)
    assert "lora" in everything.rows
    assert any(line.startswith("qlora: ") for line in everything.unsupported)
