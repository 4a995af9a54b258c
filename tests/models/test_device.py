"""A batch on its way to the device: pinned and without waiting to CUDA, plainly to any other."""

import pytest
import torch

from tuneproof.models.device import to_device

BATCH = {"input_ids": torch.arange(6).view(2, 3), "keep": 2, "more": [torch.ones(2), "text"]}


@pytest.fixture
def calls(monkeypatch):
    """What is asked of tensors, in order; nothing is done."""
    found: list[tuple] = []

    def pin(tensor):
        found.append(("pin",))
        return tensor

    def to(tensor, device, non_blocking=False):
        found.append(("to", str(device), non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    return found


def test_a_batch_for_cuda_is_pinned_and_sent_without_waiting(calls) -> None:
    to_device(BATCH, torch.device("cuda"))
    assert calls == [("pin",)] * 2 + [("to", "cuda", True)] * 2


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_to_another_device_it_goes_as_ever(calls, device) -> None:
    to_device(BATCH, device)
    assert calls == [("to", device, False)] * 2


def test_on_a_cpu_the_very_tensors_come_back() -> None:
    found = to_device(BATCH, "cpu")
    assert found["input_ids"] is BATCH["input_ids"]
    assert found["more"][0] is BATCH["more"][0]
    assert (found["keep"], found["more"][1]) == (2, "text")


def test_a_tensor_alone_and_a_tuple_are_sent_too() -> None:
    first, second = to_device((torch.ones(1), torch.zeros(2)), torch.device("cpu"))
    assert (first.sum(), second.sum()) == (1, 0)
    assert to_device(torch.ones(3), "cpu").shape == (3,)


@pytest.mark.gpu
def test_what_arrives_on_a_gpu_is_what_was_sent() -> None:
    sent = {"values": torch.randn(1000, 100)}
    kept = sent["values"].clone()
    found = to_device(sent, "cuda")
    del sent
    assert torch.equal(found["values"].cpu(), kept)
