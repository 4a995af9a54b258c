"""What keeps an arm within its memory: chosen before it runs, mended where the device still runs out."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.arms.questions import question_recipe
from tests.arms.small import arm_of, folder_of, follow, small_recipe, steps_of
from tests.tiny_models import tiny_model
from tuneproof.arms.memory_plan import foresee
from tuneproof.context.model_spec import make_compute
from tuneproof.context.monitor import Said
from tuneproof.errors import RunError
from tuneproof.memory.tracker import LiveMemory
from tuneproof.models.oom import AtOnce, in_batches, ran_out
from tuneproof.report.page import render
from tuneproof.study.run import check


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("f") / "llama", "llama")


def foreseen(tmp_path, llama, arm, memory, **sections):
    recipe = small_recipe(
        tmp_path, [llama], [arm], compute={"memory": memory}, train={"batch_size": 8}, **sections
    )
    plan = check(recipe)
    compute = make_compute(recipe.compute, 64)
    return foresee(plan.shared, recipe.arms[0], plan.readies[0], compute, 0)


def test_with_enough_memory_the_settings_stay_as_asked(tmp_path, llama) -> None:
    found = foreseen(tmp_path, llama, "full", "4GB")
    assert found.chosen == {
        "predict.batch_size": 32,
        "train.micro_batch": 8,
        "train.gradient_checkpointing": False,
    }
    assert found.sentence == ""
    assert found.forecast.total_bytes < 4e9


def test_with_less_memory_the_effective_batch_stays_and_less_is_there_at_once(tmp_path, llama) -> None:
    ample = foreseen(tmp_path, llama, "full", "4GB")
    bound = ample.forecast.total_bytes - ample.forecast.train.activations // 2
    tight = foreseen(tmp_path, llama, "full", f"{bound}B")
    train = tight.shared.recipe.train
    assert train.batch_size == 8
    assert train.micro_batch < 8 or train.gradient_checkpointing
    assert tight.forecast.total_bytes <= bound
    assert "micro-batches of" in tight.sentence
    assert tight.shared.recipe.predict.batch_size <= 32


def test_what_no_setting_makes_fit_is_refused_with_the_way_out(tmp_path, llama) -> None:
    with pytest.raises(RunError, match=r"full: .* GB are predicted .* `tuneproof fit "):
        foreseen(tmp_path, llama, "full", "100kB")


def test_prompts_are_measured_at_their_longest(tmp_path, llama) -> None:
    zero = foreseen(tmp_path, llama, "zero-shot", "4GB").forecast.predict
    few = foreseen(tmp_path, llama, {"few-shot": {"shots": 4}}, "4GB").forecast.predict
    assert few.tensors_bytes - few.weights > 1.1 * (zero.tensors_bytes - zero.weights)
    assert few.cache > 2 * zero.cache, "what all prompts begin with is held once"


def test_the_record_holds_prediction_measurement_and_error(tmp_path, llama) -> None:
    recipe = small_recipe(
        tmp_path, [llama], ["majority", "head", "lora"], compute={"memory": "auto"}, train={"epochs": 1}
    )
    follow(recipe)
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
    assert check(plain).works[0].fingerprint == check(bound).works[0].fingerprint


@pytest.fixture
def small_probe(monkeypatch):
    """The probe of the matrix kernels takes more than the tiny models here do."""
    monkeypatch.setattr("tuneproof.models.matmul_backend._largest_error", lambda: 0.0)


def small_device(recipe, share):
    """A device with this share of the memory that the study would take."""
    device = LiveMemory()
    with device:
        follow(recipe)
    return LiveMemory(limit=int(device.peak_bytes * share))


def test_a_study_on_a_device_that_runs_out_gives_the_same_weights_and_says_so(
    tmp_path, llama, small_probe
) -> None:
    options = {"train": {"epochs": 1, "batch_size": 16}}
    plain = small_recipe(tmp_path, [llama], ["full"], out="plain", **options)
    device = small_device(plain, 0.75)
    short = small_recipe(tmp_path, [llama], ["full"], out="short", **options)
    with device:
        events = follow(short)
    said = [event.text for event in events if isinstance(event, Said) and event.noted]
    assert any("Memory ran out in step 1" in text for text in said)
    assert arm_of(short, "full")["notes"][-len(said) :] == said
    assert said[0] in render(tmp_path / "short").html.read_text("utf-8")
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
        events = follow(short)
    assert any(isinstance(e, Said) and "while predicting 12 items" in e.text for e in events)
    name = arm if isinstance(arm, str) else next(iter(arm))
    scores = [
        json.loads((folder_of(recipe, name) / "scores.json").read_text("utf-8"))["accuracy"]["value"]
        for recipe in (plain, short)
    ]
    assert scores[0] == scores[1]


def test_every_allocators_words_are_understood() -> None:
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory."))
    assert ran_out(RuntimeError("MPS backend out of memory (MPS allocated: 18.02 GB)"))
    assert ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"))
    assert ran_out(MemoryError())
    assert not ran_out(RuntimeError("expected scalar type Half but found Float"))
    assert not ran_out(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.int8)
    assert ran_out(caught.value)


def test_halved_batches_hold_every_item_once_and_an_item_too_large_is_named() -> None:
    def work(batch):
        if len(batch) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return list(batch)

    at_once = AtOnce(16)
    done = [item for _, found in in_batches([5] * 23, at_once, work) for item in found]
    assert sorted(done) == list(range(23))
    assert at_once.size == 2
    assert at_once.too_many == [16, 8, 4]

    def never(batch):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match="a single item of 9 tokens"):
        list(in_batches([3, 9], AtOnce(2), never))


@pytest.mark.parametrize("arm", ["zero-shot", {"few-shot": {"shots": 1}}, {"lora": {"objective": "words"}}])
def test_written_answers_are_foreseen_and_kept_within_the_memory(tmp_path, llama, arm) -> None:
    recipe = question_recipe(
        tmp_path, [llama], ["majority", arm], compute={"memory": "4GB"}, train={"epochs": 1}
    )
    follow(recipe)
    (name,) = (arm,) if isinstance(arm, str) else arm
    memory = json.loads((folder_of(recipe, name) / "ledger.json").read_text())["memory"]
    assert memory["settings"]["predict.batch_size"] == 32
    assert 0 < memory["predicted_bytes"] < 4e9
