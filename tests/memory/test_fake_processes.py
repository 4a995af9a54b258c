"""What is predicted for one of two processes is what two real ones hold.

In: a model of 34 MB, two processes on this CPU. Out: nothing. Knows nothing of: what fits.
"""

import json
import subprocess

import pytest
import torch.distributed as dist

from tests.memory.sharded_step import simulated_arm, workload_of
from tests.two_processes import LIMIT_S, start_two
from tuneproof.errors import RunError
from tuneproof.memory.fake_processes import fake_processes
from tuneproof.memory.simulate_step import CHECKPOINT_COPIES, Workload, simulate_step
from tuneproof.process_group import BUCKET_WEIGHTS

CONFIGURATION = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 6000,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
}
QUICK = ("full,bf16,fsdp", "full,fp32,ddp")
ALL = (*QUICK, "full,fp32,fsdp", "lora,bf16,fsdp", "lora,bf16,ddp")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "small.json"
    path.write_text(json.dumps(CONFIGURATION))
    return path


def measure_in_two(path, cases) -> dict[str, dict[str, int]]:
    processes = start_two("tests.memory.sharded_step", [str(path), *cases], stderr=subprocess.PIPE)
    outputs = [process.communicate(timeout=LIMIT_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return json.loads(outputs[0][0].splitlines()[-1])


def assert_as_predicted(path, case, measured) -> None:
    """gloo copies the gradients of one block while it sums them, which is up to 4 % of these peaks."""
    method, precision, parallel = case.split(",")
    estimate = simulate_step(simulated_arm(path, method), workload_of(precision, parallel))
    predicted = {stage: peak.tensors_bytes for stage, peak in estimate.peaks.items()}
    state = {"optimizer": estimate.train.optimizer}
    if parallel == "ddp":
        assert predicted.keys() == {"train", "predict"}
        predicted["dev"] = predicted.pop("predict")
    else:
        trained = estimate.train.optimizer  # two moments, each halved but for vectors
        copies = CHECKPOINT_COPIES * trained // 2
        state["weights"] = estimate.whole["checkpoint"].weights - copies
        assert predicted["load"] >= measured["load"]
    print(
        case,
        {
            name: f"{size / measured[name] - 1:+.2%}"
            for name, size in {**predicted, **state}.items()
            if name in measured
        },
    )
    assert {name: measured[name] for name in state} == pytest.approx(state, rel=0.01)
    assert measured["gradients"] == pytest.approx(state["optimizer"] / 2, rel=0.01)
    for stage in ("train", "dev"):
        assert predicted[stage] == pytest.approx(measured[stage], rel=0.05), stage


@pytest.mark.slow
def test_one_of_two_processes_holds_what_is_predicted(path) -> None:
    measured = measure_in_two(path, QUICK)
    for case in QUICK:
        assert_as_predicted(path, case, measured[case])
    sharded, whole = (measured[case] for case in QUICK)
    assert sharded["optimizer"] < 0.51 * whole["optimizer"]


@pytest.mark.slow
def test_every_method_and_precision_holds_what_is_predicted(path) -> None:
    measured = measure_in_two(path, ALL)
    for case in ALL:
        assert_as_predicted(path, case, measured[case])


def test_a_process_of_a_real_group_simulates_no_other(tmp_path) -> None:
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(RunError, match="without a launcher"), fake_processes(2):
            pass
    finally:
        dist.destroy_process_group()
    with fake_processes(2) as mesh:
        assert mesh.size() == 2
    assert not dist.is_initialized()


def test_more_processes_hold_less_but_for_what_each_holds_whole(path) -> None:
    arm = simulated_arm(path, "full")
    one, two, eight = (
        simulate_step(arm, Workload("cuda", "bf16", 2, 64, predict_batch=2, processes=n, shards=True))
        for n in (1, 2, 8)
    )
    weights = 4 * two.whole["load"].weights // 4
    assert two.train.optimizer == pytest.approx(4 * eight.train.optimizer, rel=0.01)
    assert one.train.optimizer == pytest.approx(8 * eight.train.optimizer, rel=0.01)
    assert not one.whole
    assert one.host_bytes == one.other_host_bytes == one.self_test_bytes == 0
    assert eight.predict.weights == one.predict.weights <= eight.whole["load"].weights <= 1.5 * weights
    assert eight.host_bytes == pytest.approx(2 * one.train.optimizer, rel=0.01), "four copies of the weights"
    assert eight.other_host_bytes == pytest.approx(eight.host_bytes / 2, rel=0.01), (
        "the loaded model, and another"
    )
    assert eight.self_test_bytes == pytest.approx(3 * one.predict.weights, rel=0.01)
    assert eight.total_bytes > 0.5 * two.total_bytes


def test_whole_gradients_are_summed_in_a_buffer_of_their_own(path) -> None:
    arm = simulated_arm(path, "full")
    one, two = (
        simulate_step(arm, Workload("cuda", "fp32", 1, 8, predicts=False, processes=n)) for n in (1, 2)
    )
    buffer = two.train.tensors_bytes - one.train.tensors_bytes
    assert buffer == pytest.approx(min(4 * BUCKET_WEIGHTS, one.train.gradients), rel=0.02)
    assert "NCCL" in two.overhead.description
    assert "NCCL" not in one.overhead.description
    assert two.overhead.fixed_bytes > one.overhead.fixed_bytes
