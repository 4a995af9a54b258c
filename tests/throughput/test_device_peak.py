"""What a device attains: measured once, quickly, and without a trace."""

import time

import torch

from tuneproof.throughput import device_peak as room
from tuneproof.throughput.device_peak import DeviceRates, device_rates

CPU = torch.device("cpu")


def test_measuring_leaves_random_numbers_and_settings_as_they_were() -> None:
    room._measured.cache_clear()
    before = torch.get_rng_state(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    found = device_rates(CPU, "fp32")
    after = torch.get_rng_state(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert found is not None
    assert 1e8 < found.matrix_operations_per_s < 1e14
    assert 1e8 < found.bandwidth_bytes_per_s < 1e13


def test_a_device_is_measured_once_a_process_and_precision() -> None:
    first = device_rates(CPU, "fp32")
    begun = time.perf_counter()
    assert device_rates(CPU, "fp32") is first
    assert time.perf_counter() - begun < 0.01


def test_where_memory_is_too_small_nothing_is_measured(monkeypatch) -> None:
    def full(device: torch.device, dtype: torch.dtype) -> DeviceRates:
        raise torch.OutOfMemoryError

    room._measured.cache_clear()
    monkeypatch.setattr(room, "_measure", full)
    assert device_rates(CPU, "fp32") is None
    room._measured.cache_clear()
