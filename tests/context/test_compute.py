"""What a device says of identical reruns."""

from types import SimpleNamespace

import pytest
import torch

from tuneproof.context.compute import Compute, make_compute
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
