"""What a device says of identical reruns."""

from types import SimpleNamespace

import pytest
import torch

from tuneproof.context.compute import Compute


def on(device: str) -> Compute:
    return Compute(SimpleNamespace(device=torch.device(device)), "fp32", "")


def test_a_processor_repeats_a_run_to_the_bit_and_needs_no_note():
    assert on("cpu").rerun_note == ""


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_devices_say_what_intervals_hold_of_the_noise_of_reruns(device):
    note = on(f"{device}:0" if device == "cuda" else device).rerun_note
    assert note.startswith(f"On {device} the same run may end with other bits.")
    assert "interval of a single run does not" in note
