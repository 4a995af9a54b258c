"""The rate of training beside the device's: recorded by every arm that trains, and without a trace in it."""

import json

import pytest

from tests.arms.small import folder_of, results, small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms import tuned
from tuneproof.arms.training_speed import sample_rows, training_speed_entry
from tuneproof.throughput.device_peak import DevicePeak
from tuneproof.throughput.flops import TrainingCost

ARMS = (
    {"full": {"learning_rate": 3e-3}},
    {"full": {"name": "last", "layers": "last 1", "learning_rate": 3e-3}},
    {"lora": {"learning_rate": 5e-3, "dropout": 0.1, "rank": 2}},
    {"lora": {"name": "words", "objective": "words", "learning_rate": 5e-3}},
)
MEASURE = tuned._training_speed  # tests/conftest.py leaves it out
COST = TrainingCost(flops=6000, tokens=10, weights_bytes=100, trained_bytes=40, dense_trained_bytes=30)
PEAK = DevicePeak(flops_per_s=1e6, bandwidth_bytes_per_s=1e4)


def speed_of(recipe, name) -> dict:
    return json.loads((folder_of(recipe, name) / "ledger.json").read_text("utf-8"))["training_speed"]


def step(time_s: float, tokens: int = 100, micro_batches: int = 1, skipped: bool = False) -> dict:
    return {"time_s": time_s, "tokens": tokens, "micro_batches": micro_batches, "skipped": skipped}


def lines(path, *steps):
    path.write_text("".join(json.dumps(line) + "\n" for line in steps))
    return path


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The same study with the count and without it."""
    root = tmp_path_factory.mktemp("rates")
    model = tiny_model(root / "llama", "llama")
    recipes = [small_recipe(root, [model], ARMS, out=out) for out in ("counted", "uncounted")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned, "_training_speed", MEASURE)
        run_recorded(recipes[0])
        patch.setattr(tuned, "sample_training_cost", lambda *_: None)
        run_recorded(recipes[1])
    return recipes


def test_every_arm_that_trains_records_its_rate(studies) -> None:
    recipe, _ = studies
    for arm in recipe.arms:
        entry = speed_of(recipe, arm.name)
        assert entry["steps"] == len(steps_of(recipe, arm.name)) - 1
        assert 0 < entry["mfu"] < 1.2
        assert 0 < entry["bandwidth_utilization"] < 1.2
        assert entry["mfu"] == pytest.approx(
            entry["flops_per_token"] * entry["tokens_per_s"] / entry["peak_flops_per_s"]
        )
    full, last = speed_of(recipe, "full"), speed_of(recipe, "last")
    assert last["flops_per_token"] < 0.6 * full["flops_per_token"]
    assert last["step_bytes"] < full["step_bytes"]


def test_counting_changes_no_bit_of_training(studies) -> None:
    counted, uncounted = studies
    for arm in counted.arms:
        assert speed_of(uncounted, arm.name)["mfu"] is None
        assert results(counted, arm.name) == results(uncounted, arm.name)


def test_the_median_step_counts_without_the_first_and_those_that_were_skipped(tmp_path) -> None:
    steps = (step(9.0), step(1.0), step(2.0), step(0.1, skipped=True), step(4.0, micro_batches=2))
    entry = training_speed_entry(lines(tmp_path / "steps.jsonl", *steps), COST, PEAK)["training_speed"]
    assert (entry["steps"], entry["tokens_per_s"], entry["step_s"]) == (3, 50, 2.0)
    assert entry["flops_per_token"] == 600
    assert entry["mfu"] == pytest.approx(600 * 50 / 1e6)
    assert entry["step_bytes"] == 100 + 2 * 30 + 6 * 40 + 10
    assert entry["bandwidth_utilization"] == pytest.approx(410 / 2.0 / 1e4)


def test_of_several_devices_each_has_its_share(tmp_path) -> None:
    path = lines(tmp_path / "steps.jsonl", step(9.0), step(1.0))
    alone, shared = (training_speed_entry(path, COST, PEAK, n)["training_speed"]["mfu"] for n in (1, 4))
    assert shared == pytest.approx(alone / 4)


def test_what_is_not_known_is_null_and_without_steps_there_is_nothing(tmp_path) -> None:
    entry = training_speed_entry(lines(tmp_path / "one.jsonl", step(2.0)), None, None)["training_speed"]
    assert entry["tokens_per_s"] == 50
    assert entry["mfu"] is entry["bandwidth_utilization"] is entry["step_bytes"] is None
    assert training_speed_entry(lines(tmp_path / "none.jsonl"), COST, PEAK) == {}


def test_rows_of_all_lengths_are_counted() -> None:
    lengths = [5, 1, 9, 3, 7, 2, 8, 4]
    assert sorted(lengths[row] for row in sample_rows(lengths)) == [2, 4, 7, 9]
    assert sample_rows([4]) == [0]
