"""GPUs, pretended: an A100, a T4 without bf16. Precisions, loss scales, the allocator between arms."""

import json
from pathlib import Path

import pytest
import torch

from tests.arms.small import arm_of, context_of, folder_of, small_recipe, steps_of
from tests.devices.pretended import PretendedDevice
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tests.train import tiny
from tuneproof.arms.memory_plan import plan_memory
from tuneproof.arms.training import Training
from tuneproof.context.compute import check_compute, for_models, make_compute, resolve_compute
from tuneproof.errors import RecipeError
from tuneproof.memory.estimate import CONTEXT_BYTES
from tuneproof.memory.table import estimate_memory
from tuneproof.memory.text import table_sentences
from tuneproof.settings import ComputeSettings
from tuneproof.study.plan import check
from tuneproof.train.accelerator import make_accelerator

TIMED = {"train": {"epochs": 1}, "predict": {"timing_s": 0}}
LORA, FULL = {"lora": {"learning_rate": 5e-3}}, {"full": {"learning_rate": 3e-3}}
T4 = {"bf16": False}


@pytest.fixture(autouse=True)
def no_measured_peaks(monkeypatch) -> None:
    """The matrix product that measures a GPU takes a CPU minutes."""
    monkeypatch.setattr("tuneproof.arms.tuned.measure_device_peak", lambda device, precision: None)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: tiny_model(root / kind, kind) for kind in ("llama", "gemma2", "gemma3_text")}


def on_gpu(folder: Path, model: Path, arms, out: str = "study", **compute):
    return small_recipe(folder, [model], arms, out=out, compute={"device": "auto", **compute}, **TIMED)


# precision


@pytest.mark.parametrize(
    ("kind", "card", "precision", "reason"),
    [
        ("llama", {}, "bf16", ""),
        ("gemma3_text", {}, "bf16", ""),
        ("llama", T4, "fp16", "Precision fp16: Tesla T4 has no instructions for bf16."),
        ("gemma2", T4, "fp16", "Precision fp16: Tesla T4 has no instructions for bf16."),
        (
            "gemma3_text",
            T4,
            "fp32",
            "Precision fp32: Tesla T4 has no instructions for bf16, and gemma3-text exceeds "
            "the range of fp16.",
        ),
    ],
)
def test_card_and_model_choose_the_precision_and_the_reason_is_recorded(
    tmp_path, models, kind, card, precision, reason
) -> None:
    recipe = on_gpu(tmp_path, models[kind], ["majority", "head"])
    with PretendedDevice("cuda", **card):
        run_recorded(recipe)
    facts = json.loads((folder_of(recipe, "head") / "facts.json").read_text("utf-8"))["facts"]
    assert facts["compute.precision"] == precision
    notes = [note for note in arm_of(recipe, "head")["notes"] if note.startswith("Precision")]
    assert notes == ([reason] if reason else [])
    assert not any("Precision" in note for note in arm_of(recipe, "majority")["notes"])


def test_one_model_beyond_fp16_sets_the_precision_of_all(tmp_path, models) -> None:
    settings = ComputeSettings()
    recipe = small_recipe(tmp_path, [models["llama"], models["gemma3_text"]], ["head"])
    specs = check(recipe).models
    with PretendedDevice("cuda", bf16=False):
        assert resolve_compute(settings, specs)["compute.precision"] == "fp32"
        assert make_compute(settings, 16, specs).precision == "fp32"
        assert resolve_compute(settings, specs[:1])["compute.precision"] == "fp16"
        requested = ComputeSettings(precision="fp16")
        assert resolve_compute(requested, specs)["compute.precision"] == "fp16"
    elsewhere = {"compute.device": "cuda", "compute.precision": "fp16"}
    assert for_models(elsewhere, settings, specs)["compute.precision"] == "fp32"
    assert for_models(elsewhere, settings, specs[:1]) == elsewhere
    assert for_models({"compute.precision": "bf16"}, settings, specs) == {"compute.precision": "bf16"}


def test_bf16_that_a_card_would_emulate_is_refused() -> None:
    settings = ComputeSettings(precision="bf16")
    with PretendedDevice("cuda", bf16=False), pytest.raises(RecipeError) as caught:
        check_compute(settings)
    assert str(caught.value) == (
        "compute.precision: bf16 is requested, but Tesla T4 has no instructions for it; torch would emulate "
        "it, slowly. Write fp16, fp32 or auto."
    )
    for kind, options in (("cuda", {}), ("mps", {})):
        with PretendedDevice(kind, **options):
            check_compute(settings)
    with PretendedDevice("cuda", bf16=False):
        check_compute(ComputeSettings(device="cpu", precision="bf16"))


def test_fp16_on_mps_is_refused_by_its_name() -> None:
    with PretendedDevice("mps"), pytest.raises(RecipeError, match="fp16 is requested on mps"):
        check_compute(ComputeSettings(precision="fp16"))


def test_memory_says_for_which_precision_it_computes(models) -> None:
    def sentences(kind: str, precision: str = "auto") -> str:
        lines = table_sentences(estimate_memory(str(models[kind]), "15GB", ["head"], precision=precision))
        return "\n".join(lines)

    older = "a card before Ampere, such as a T4, has no bf16 and runs this model in"
    assert f"Computed for bf16, since no precision is set; {older} fp16" in sentences("llama")
    assert f"{older} fp32 (--precision fp32)." in sentences("gemma3_text")
    assert older not in sentences("llama", "fp16")
    with PretendedDevice("cuda", bf16=False):
        assert "15.0 GB, fp16" in sentences("llama")
        assert "15.0 GB, fp32" in sentences("gemma3_text")
        assert "exceeds the range of fp16" in sentences("gemma3_text")


# several precisions in one process


def test_studies_of_several_precisions_run_in_one_process(tmp_path, models) -> None:
    for precision in ("fp32", "bf16", "fp32"):
        recipe = small_recipe(
            tmp_path,
            [models["llama"]],
            [LORA],
            out=f"cpu-{precision}",
            compute={"precision": precision},
            **TIMED,
        )
        run_recorded(recipe)
        assert arm_of(recipe, "lora")["status"] == "done"
    for kind, precision in (("cuda", "fp16"), ("mps", "fp32"), ("cuda", "bf16")):
        with PretendedDevice(kind):
            compute = make_compute(ComputeSettings(precision=precision), 16)
            assert (compute.device.type, compute.accelerator.mixed_precision) == (
                kind,
                "no" if precision == "fp32" else precision,
            )


def test_an_older_studys_precision_stays_its_own() -> None:
    half = make_compute(ComputeSettings(device="cpu", precision="bf16"), 16)
    exact = make_compute(ComputeSettings(device="cpu", precision="fp32"), 16)
    layer = torch.nn.Linear(2, 2)
    for compute, dtype in ((half, torch.bfloat16), (exact, torch.float32), (half, torch.bfloat16)):
        for autocast in (compute.autocast, compute.accelerator.autocast):
            with autocast():
                assert layer(torch.ones(1, 2)).dtype == dtype


def test_the_device_is_the_requested_one() -> None:
    with PretendedDevice("cuda"):
        assert make_accelerator("cpu", "fp32").device.type == "cpu"
        assert make_accelerator("auto", "fp32").device.type == "cuda"
        assert make_accelerator("mps", "fp32").device.type == "mps"


# loss scales


def test_an_arm_that_stops_inside_a_step_leaves_nothing_to_the_next_arm(tmp_path, models) -> None:
    """A scaler refuses an optimizer whose gradients it unscaled already, and knows it by its address."""
    with PretendedDevice("cuda", bf16=False):
        plan = check(on_gpu(tmp_path, models["llama"], [LORA]))
        context = context_of(plan, "lora")
        shared = context.compute.accelerator
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1, device="cuda"))], lr=0.1)
        first, second = shared.fresh(), shared.fresh()
        first.backward(optimizer.param_groups[0]["params"][0].sum())
        first.scaler.unscale_(optimizer)  # and here the arm stops
        second.backward(optimizer.param_groups[0]["params"][0].sum())
        second.scaler.unscale_(optimizer)
        with pytest.raises(RuntimeError, match="already been called"):
            first.scaler.unscale_(optimizer)


def test_every_training_has_a_loss_scale_of_its_own(tmp_path, models, monkeypatch) -> None:
    scalers = []
    begin = Training.__init__

    def remember(training, *args):
        begin(training, *args)
        scalers.append(training.scaler)

    monkeypatch.setattr(Training, "__init__", remember)
    recipe = on_gpu(tmp_path, models["llama"], [LORA, FULL])
    with PretendedDevice("cuda", bf16=False):
        run_recorded(recipe)
    assert len({id(scaler) for scaler in scalers}) == 2
    assert all(scaler.get_scale() > 0 for scaler in scalers)


def test_an_overflow_under_the_trainer_is_a_skipped_step_and_the_report_is_written(
    tmp_path, models, monkeypatch
) -> None:
    """The first steps of fp16 look for a loss scale; each that overflows moves no weight."""
    monkeypatch.setattr("accelerate.accelerator.get_grad_scaler", _scaler_that_overflows)
    arm = {"full": {"engine": "trainer", "learning_rate": 3e-3}}
    recipe = on_gpu(tmp_path, models["llama"], [arm])
    with PretendedDevice("cuda", bf16=False):
        run_recorded(recipe)
    steps = steps_of(recipe, "full")
    assert 0 < sum(step["skipped"] for step in steps) < len(steps)
    assert all((step["gradient_norm"] is None) == step["skipped"] for step in steps)
    assert arm_of(recipe, "full")["chosen"]["steps_skipped"] == sum(step["skipped"] for step in steps)
    assert (Path(recipe.out) / "report.html").is_file()


def _scaler_that_overflows(*_, **options):
    return torch.amp.GradScaler("cuda", init_scale=2.0**126)


def test_a_gradient_that_overflows_without_a_loss_scale_is_an_error() -> None:
    from tests.train.test_hf_trainer import by_trainer
    from tuneproof.errors import RunError

    collate, loss, count = tiny.LABELS

    def endless(model, inputs):
        part = loss(model, inputs)
        weight = next(iter(model.parameters()))
        spike = (weight * 1e30 - weight.detach() * 1e30).sum() * 1e30  # zero, with an infinite gradient
        return type(part)(part.sum + spike, part.count, part.tokens)

    with pytest.raises(RunError, match="the Trainer's gradient has a norm of inf"):
        list(by_trainer(tiny.distilbert(), (collate, endless, count)))


# memory


def test_auto_memory_counts_what_the_arm_before_has_left(tmp_path, models) -> None:
    recipe = on_gpu(tmp_path, models["llama"], [LORA], memory="auto")
    with PretendedDevice("cuda") as device:
        context = context_of(check(recipe), "lora")
        device.cached_bytes = device.total_bytes - 1
        assert plan_memory(context).limit_bytes == device.total_bytes + CONTEXT_BYTES


def test_a_baseline_reports_no_peak_of_the_gpu(tmp_path, models) -> None:
    with PretendedDevice("cuda") as device:
        gpu = on_gpu(tmp_path, models["llama"], ["head", "majority", "lexical"], out="gpu")
        cpu = on_gpu(tmp_path, models["llama"], ["head"], out="cpu", device="cpu")
        run_recorded(gpu)
        run_recorded(cpu)
    assert arm_of(gpu, "head")["peaks"]["device"] == device.allocated_bytes
    assert arm_of(gpu, "head")["peak_memory_bytes"] == device.allocated_bytes
    for recipe, arm in ((gpu, "majority"), (gpu, "lexical"), (cpu, "head")):
        about = arm_of(recipe, arm)
        assert list(about["peaks"]) == ["process"]
        assert about["peak_memory_bytes"] == about["peaks"]["process"] > 1_000_000
