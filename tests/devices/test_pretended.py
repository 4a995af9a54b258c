"""The pretended device refuses what real ones refuse, and computes what the CPU computes."""

import copy

import pytest
import torch

from tests.devices.pretended import PretendedDevice


@pytest.fixture
def mps():
    with PretendedDevice("mps") as device:
        yield device


def test_tensors_say_where_they_are(mps) -> None:
    layer = torch.nn.Linear(3, 2).to("mps")
    states = layer(torch.ones(4, 3, device="mps"))
    states.sum().backward()
    tensors = [layer.weight, states, states.detach()[0], torch.zeros_like(states), states.new_zeros(2)]
    tensors += [layer.weight.grad, copy.deepcopy(layer).weight, torch.zeros(2).to(states)]
    assert {tensor.device.type for tensor in tensors} == {"mps"}
    assert all(tensor.is_mps and not tensor.is_cpu for tensor in tensors)
    others = [torch.ones(2), torch.zeros_like(states, device="cpu"), states.cpu(), states.to("cpu")]
    assert {tensor.device.type for tensor in others} == {"cpu"}


def test_tensors_of_two_devices_do_not_meet(mps) -> None:
    states = torch.ones(4, 3, device="mps")
    for meet in (
        lambda: states + torch.ones(3),
        lambda: torch.cat([states, torch.ones(4, 3)]),
        lambda: torch.ones(4, 3)[torch.zeros(1, dtype=torch.long, device="mps")],
    ):
        with pytest.raises(RuntimeError, match="same device"):
            meet()
    assert (states + torch.tensor(1.0)).device.type == "mps"  # a single number may
    with pytest.raises(TypeError, match="numpy"):
        states.numpy()


def test_mps_has_no_float64_and_cuda_has() -> None:
    makers = [
        lambda kind: torch.ones(2, device=kind).double(),
        lambda kind: torch.ones(2, dtype=torch.float64, device=kind),
        lambda kind: torch.ones(2, dtype=torch.float64).to(kind),
        lambda kind: torch.ones(2, device=kind).sum(dtype=torch.float64),
    ]
    for make in makers:
        with PretendedDevice("mps"), pytest.raises(TypeError, match="doesn't support float64"):
            make("mps")
        with PretendedDevice("cuda"):
            assert make("cuda").dtype == torch.float64


@pytest.mark.parametrize(
    "wait",
    [
        lambda states: states.sum().item(),
        lambda states: bool(states.sum() > 0),
        lambda states: states.cpu(),
        lambda states: states.tolist(),
        lambda states: states.nonzero(),
        lambda states: states[states > 0],
        lambda states: torch.ones(4).copy_(states),
    ],
)
def test_what_makes_the_host_wait_is_listed_once(mps, wait) -> None:
    states = torch.ones(4, device="mps") * 2 + 1
    assert mps.synchronisations == []
    wait(states)
    assert len(mps.synchronisations) == 1


def test_a_backward_pass_crosses_to_the_cpu_and_back(mps) -> None:
    weight = torch.ones(3, requires_grad=True)
    (weight.to("mps") * 2).cpu().sum().backward()
    assert weight.grad.tolist() == [2, 2, 2]
    assert weight.grad.device.type == "cpu"


def test_nothing_stays_pretended() -> None:
    with PretendedDevice("cuda"):
        assert torch.cuda.is_available()
        kept = torch.ones(2, device="cuda")
    assert not torch.cuda.is_available()
    assert not torch.backends.mps.is_available()
    assert kept.device.type == "cpu"
