"""Algorithms that give the same bits at every run, chosen and undone."""

import os

import pytest
import torch

from tuneproof.errors import RecipeError
from tuneproof.models import deterministic
from tuneproof.models.deterministic import WORKSPACE, choose_workspace, set_deterministic

KERNELS = ("flash_sdp", "mem_efficient_sdp", "math_sdp", "cudnn_sdp")


def chosen() -> dict[str, bool]:
    kernels = {name: getattr(torch.backends.cuda, f"{name}_enabled")() for name in KERNELS}
    return {**kernels, "algorithms": torch.are_deterministic_algorithms_enabled()}


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    before, flash = torch.are_deterministic_algorithms_enabled(), torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(True)  # as `choose_matmul` leaves it for a GPU
    yield
    set_deterministic(False, "cuda")
    torch.use_deterministic_algorithms(before)
    torch.backends.cuda.enable_flash_sdp(flash)
    os.environ.pop(WORKSPACE, None)


def test_attention_and_sums_in_no_fixed_order_are_off_and_return_with_the_next_study():
    before = chosen()
    assert "Deterministic" in set_deterministic(True, "cuda")
    now = chosen()
    assert now == {**before, "mem_efficient_sdp": False, "cudnn_sdp": False, "algorithms": True}
    assert now["flash_sdp"]
    assert now["math_sdp"]
    assert os.environ[WORKSPACE] == ":4096:8"
    assert set_deterministic(False, "cuda") == ""
    assert chosen() == before


def test_what_a_caller_set_stays_if_no_study_asked_for_it():
    torch.use_deterministic_algorithms(True)
    assert set_deterministic(False, "cuda") == ""
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("size", deterministic.REPEATABLE)
def test_a_workspace_that_the_caller_chose_well_stays(size, monkeypatch):
    monkeypatch.setenv(WORKSPACE, size)
    choose_workspace("cuda")
    assert os.environ[WORKSPACE] == size


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (None, f"CUDA was used in this process before, without {WORKSPACE}."),
        (":0:0", f"the environment sets {WORKSPACE}=:0:0, with which the sums of cuBLAS may differ."),
    ],
)
def test_a_workspace_that_comes_too_late_is_refused(size, problem, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    if size:
        monkeypatch.setenv(WORKSPACE, size)
    with pytest.raises(RecipeError) as caught:
        set_deterministic(True, "cuda")
    assert caught.value.where == "compute.deterministic"
    assert caught.value.problem == problem
    assert caught.value.allowed == "Allowed: :4096:8 or :16:8."
    assert caught.value.do == f"Set {WORKSPACE}=:4096:8 before Python starts, or use a new process."
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_another_workspace_matters_to_cuda_alone(device, monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":0:0")
    choose_workspace(device)
    assert "Deterministic" in set_deterministic(True, device)
    assert os.environ[WORKSPACE] == ":0:0"
    monkeypatch.delenv(WORKSPACE)
    choose_workspace(device)
    assert WORKSPACE not in os.environ
