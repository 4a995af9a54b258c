"""The peak of a device: measured once, quickly, and without a trace."""

import time

import torch

from tuneproof.throughput import device_peak as module
from tuneproof.throughput.device_peak import measure_device_peak

CPU = torch.device("cpu")


def test_measuring_leaves_random_numbers_and_settings_as_they_were() -> None:
    module._cached_peak.cache_clear()
    before = torch.get_rng_state(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    peak = measure_device_peak(CPU, "fp32")
    after = torch.get_rng_state(), torch.get_float32_matmul_precision(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert peak is not None
    assert 1e8 < peak.flops_per_s < 1e14
    assert 1e8 < peak.bandwidth_bytes_per_s < 1e13


def test_a_device_is_measured_once_per_process_and_precision() -> None:
    first = measure_device_peak(CPU, "fp32")
    start = time.perf_counter()
    assert measure_device_peak(CPU, "fp32") is first
    assert time.perf_counter() - start < 0.01


def test_nothing_is_measured_if_memory_is_too_small(monkeypatch) -> None:
    def raise_oom(device: torch.device, dtype: torch.dtype) -> float:
        raise torch.OutOfMemoryError

    module._cached_peak.cache_clear()
    monkeypatch.setattr(module, "_matmul_flops_per_s", raise_oom)
    assert measure_device_peak(CPU, "fp32") is None
    module._cached_peak.cache_clear()
