"""What a device says of identical reruns."""

import os
from types import SimpleNamespace

import pytest
import torch

from tests.devices.pretended import PretendedDevice
from tuneproof.context.compute import Compute, check_compute, make_compute
from tuneproof.errors import RecipeError
from tuneproof.models.deterministic import WORKSPACE
from tuneproof.settings import ComputeSettings


def on(device: str, deterministic: bool = False) -> Compute:
    return Compute(SimpleNamespace(device=torch.device(device)), "fp32", "", deterministic=deterministic)


def test_a_processor_repeats_a_run_to_the_bit_and_needs_no_note():
    assert on("cpu").rerun_note == ""


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_devices_say_what_intervals_hold_of_the_noise_of_reruns(device):
    note = on(f"{device}:0" if device == "cuda" else device).rerun_note
    assert note.startswith(f"On {device} the same run may end with other bits.")
    assert "resumes to the same study, not to the same bits" in note
    assert "interval of a single run does not" in note
    assert ("compute.deterministic: true" in note) == (device == "cuda")


def test_a_deterministic_run_on_cuda_repeats_itself_and_one_on_another_device_may_not():
    assert on("cuda", deterministic=True).rerun_note == ""
    assert on("mps", deterministic=True).rerun_note


def test_a_deterministic_study_on_a_cpu_changes_nothing_in_torch():
    settings = ComputeSettings(device="cpu", deterministic=True)
    compute = make_compute(settings, 16)
    assert not compute.deterministic
    assert not torch.are_deterministic_algorithms_enabled()
    assert "Deterministic" not in compute.sentence


def test_a_workspace_of_cublas_matters_to_a_study_on_cuda_alone(monkeypatch):
    settings = ComputeSettings(deterministic=True)
    for size in (":0:0", None):
        monkeypatch.delenv(WORKSPACE, raising=False) if size is None else monkeypatch.setenv(WORKSPACE, size)
        check_compute(settings)
        assert "Deterministic" not in make_compute(settings, 16).sentence
        with PretendedDevice("mps"):
            check_compute(settings)
        assert os.environ.get(WORKSPACE) == size
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with PretendedDevice("cuda"), pytest.raises(RecipeError, match=f"sets {WORKSPACE}=:0:0"):
        check_compute(settings)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_missing_device_is_refused_by_its_name_before_anything_that_it_would_need(device, monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with pytest.raises(RecipeError) as caught:
        check_compute(ComputeSettings(device=device, deterministic=True))
    seen = "no CUDA device" if device == "cuda" else "no such device"
    assert str(caught.value) == (
        f"compute.device: {device} is requested, but torch sees {seen}. Write compute: {{device: auto}}."
    )
