"""Settings that keep an arm within its memory: chosen before it runs, changed where it still runs out."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.arms.questions import question_recipe
from tests.arms.small import arm_of, context_of, folder_of, small_recipe, steps_of
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.arms.memory_plan import plan_memory
from tuneproof.context.monitor import Message
from tuneproof.errors import RunError
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.oom import AdaptiveBatchSize, is_oom, run_in_batches
from tuneproof.report.page import render
from tuneproof.study.plan import check


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("f") / "llama", "llama")


def planned(tmp_path, llama, arm, memory, **sections):
    recipe = small_recipe(
        tmp_path, [llama], [arm], compute={"memory": memory}, train={"batch_size": 8}, **sections
    )
    return plan_memory(context_of(check(recipe), recipe.arms[0].name))


def test_with_enough_memory_the_settings_stay_as_requested(tmp_path, llama) -> None:
    memory = planned(tmp_path, llama, "full", "4GB")
    assert memory.chosen == {
        "predict.batch_size": 32,
        "train.micro_batch": 8,
        "train.gradient_checkpointing": False,
    }
    assert memory.sentence == ""
    assert memory.estimate.total_bytes < 4e9


def test_with_less_memory_the_effective_batch_stays_and_less_is_in_memory_at_once(tmp_path, llama) -> None:
    ample = planned(tmp_path, llama, "full", "4GB")
    bound = ample.estimate.total_bytes - ample.estimate.train.activations // 2
    tight = planned(tmp_path, llama, "full", f"{bound}B")
    train = tight.study.recipe.train
    assert train.batch_size == 8
    assert train.micro_batch < 8 or train.gradient_checkpointing
    assert tight.estimate.total_bytes <= bound
    assert "micro-batches of" in tight.sentence
    assert tight.study.recipe.predict.batch_size <= 32


def test_an_arm_that_no_setting_makes_fit_is_refused_with_what_to_do(tmp_path, llama) -> None:
    with pytest.raises(RunError, match=r"full: needs .* GB for one item at a time.* `tuneproof memory "):
        planned(tmp_path, llama, "full", "100kB")


def test_prompts_are_measured_at_their_longest(tmp_path, llama) -> None:
    zero = planned(tmp_path, llama, "zero-shot", "4GB").estimate.predict
    few = planned(tmp_path, llama, {"few-shot": {"shots": 4}}, "4GB").estimate.predict
    assert few.tensors_bytes - few.weights > 1.1 * (zero.tensors_bytes - zero.weights)
    assert few.cache > 2 * zero.cache, "the shared prefix of all prompts is held once"


def test_the_record_holds_prediction_measurement_and_error(tmp_path, llama) -> None:
    recipe = small_recipe(
        tmp_path, [llama], ["majority", "head", "lora"], compute={"memory": "auto"}, train={"epochs": 1}
    )
    run_recorded(recipe)
    for name in ("head", "lora"):
        ledger = json.loads((folder_of(recipe, name) / "ledger.json").read_text("utf-8"))
        memory = ledger["memory"]
        assert memory["measured_bytes"] > 0
        assert memory["error"] == memory["predicted_bytes"] / memory["measured_bytes"] - 1
        assert memory["predicted"]["tensors_bytes"] < memory["predicted_bytes"]
        assert set(memory["predicted"]["predict"]) >= {"weights", "activations", "cache"}
    assert "memory" not in json.loads((folder_of(recipe, "majority") / "ledger.json").read_text("utf-8"))


def test_memory_is_no_reason_to_run_a_finished_arm_again(tmp_path, llama) -> None:
    plain = small_recipe(tmp_path, [llama], ["zero-shot"])
    bound = small_recipe(tmp_path, [llama], ["zero-shot"], compute={"memory": "auto"})
    assert check(plain).arms[0].fingerprint == check(bound).arms[0].fingerprint


@pytest.fixture
def small_probe(monkeypatch):
    """The probe of the matrix kernels takes more than the tiny models here do."""
    monkeypatch.setattr("tuneproof.models.matmul_backend._largest_error", lambda: 0.0)


def small_device(recipe, share):
    """A device with this share of the memory that the study would take."""
    device = LiveMemory()
    with device:
        run_recorded(recipe)
    return LiveMemory(limit=int(device.peak_bytes * share))


def test_a_study_on_a_device_that_runs_out_gives_the_same_weights_and_a_warning(
    tmp_path, llama, small_probe
) -> None:
    options = {"train": {"epochs": 1, "batch_size": 16}}
    plain = small_recipe(tmp_path, [llama], ["full"], out="plain", **options)
    device = small_device(plain, 0.75)
    short = small_recipe(tmp_path, [llama], ["full"], out="short", **options)
    with device:
        events = run_recorded(short).events
    notes = [event.text for event in events if isinstance(event, Message) and event.recorded]
    assert any("Out of memory in step 1" in note for note in notes)
    recorded = arm_of(short, "full")["notes"]
    assert [note for note in recorded if note in notes] == notes
    assert notes[0] in render(tmp_path / "short").html.read_text("utf-8")
    assert steps_of(short, "full")[-1]["micro_batches"] > 1
    ours, theirs = (
        load_file(folder_of(recipe, "full") / "weights" / "model.safetensors") for recipe in (short, plain)
    )
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6


@pytest.mark.parametrize(
    "arm",
    ["head", "zero-shot", {"zero-shot": {"scoring": "generate", "calibration": "none"}}],
    ids=["features", "likelihood", "generate"],
)
def test_predictions_are_the_same_where_memory_runs_out(arm, tmp_path, llama, small_probe) -> None:
    plain = small_recipe(tmp_path, [llama], [arm], out="plain", predict={"batch_size": 12})
    device = small_device(plain, 0.7)
    short = small_recipe(tmp_path, [llama], [arm], out="short", predict={"batch_size": 12})
    with device:
        events = run_recorded(short).events
    assert any(isinstance(e, Message) and "while predicting 12 items" in e.text for e in events)
    name = arm if isinstance(arm, str) else next(iter(arm))
    scores = [
        json.loads((folder_of(recipe, name) / "scores.json").read_text("utf-8"))["accuracy"]["value"]
        for recipe in (plain, short)
    ]
    assert scores[0] == scores[1]


def test_the_errors_of_every_allocator_are_recognised() -> None:
    assert is_oom(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_oom(RuntimeError("MPS backend out of memory (MPS allocated: 18.02 GB)"))
    assert is_oom(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    assert is_oom(MemoryError())
    assert not is_oom(RuntimeError("expected scalar type Half but found Float"))
    assert not is_oom(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.int8)
    assert is_oom(caught.value)


def test_halved_batches_hold_every_item_once_and_an_item_too_large_is_named() -> None:
    def work(batch):
        if len(batch) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return list(batch)

    failed_sizes: list[int] = []
    adaptive_size = AdaptiveBatchSize(16, on_oom=failed_sizes.append)
    done = [item for _, items in run_in_batches([5] * 23, adaptive_size, work) for item in items]
    assert sorted(done) == list(range(23))
    assert adaptive_size.size == 2
    assert failed_sizes == [16, 8, 4]

    def never(batch):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match="a single item of 9 tokens"):
        list(run_in_batches([3, 9], AdaptiveBatchSize(2), never))


@pytest.mark.parametrize("arm", ["zero-shot", {"few-shot": {"shots": 1}}, {"lora": {"objective": "words"}}])
def test_written_answers_are_planned_within_the_memory(tmp_path, llama, arm) -> None:
    recipe = question_recipe(
        tmp_path, [llama], ["majority", arm], compute={"memory": "4GB"}, train={"epochs": 1}
    )
    run_recorded(recipe)
    (name,) = (arm,) if isinstance(arm, str) else arm
    memory = json.loads((folder_of(recipe, name) / "ledger.json").read_text())["memory"]
    assert memory["settings"]["predict.batch_size"] == 32
    assert 0 < memory["predicted_bytes"] < 4e9
