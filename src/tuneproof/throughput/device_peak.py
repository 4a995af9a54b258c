"""The peak of a device, measured: FLOPs per second of matrix products, bytes per second of a copy.

In: a device, a precision. Out: two rates. Knows nothing of: models, arms.

Measures wall time with torch's own number of threads. It draws no random numbers and changes no setting.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from tuneproof.models.oom import release_memory, run_or_oom

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SIDES = {"cpu": 1024, "cuda": 4096}  # of the square matrices
OTHER_SIDE = 2048  # on any other device
COPIED_BYTES = 128 * 2**20  # larger than the caches of a CPU or GPU
CALLS_PER_TIMING = {"cuda": 10}
MIN_TIMINGS, MAX_TIMINGS, ENOUGH_S = 2, 8, 0.15


@dataclass(frozen=True)
class DevicePeak:
    """Attainable rates: FLOPs per second of matrix products (2 per multiply-add), bytes moved per second.

    A copy of n bytes moves 2n: it reads and writes them.
    """

    flops_per_s: float
    bandwidth_bytes_per_s: float


def measure_device_peak(device: torch.device, precision: str) -> DevicePeak | None:
    """Measure both rates once per process, in well under a second; None if memory is too small.

    precision: fp32, bf16 or fp16, the type of the matrices; float32 follows torch's matmul precision.
    The fastest of several timings counts: what the device attains, not what its neighbours leave.
    """
    return _cached_peak(device, precision, torch.get_num_threads())


@cache
@torch.no_grad()
def _cached_peak(device: torch.device, precision: str, threads: int) -> DevicePeak | None:
    matmul = DTYPES[precision]
    _, peak = run_or_oom(lambda: DevicePeak(_matmul_flops_per_s(device, matmul), _bandwidth(device)))
    release_memory()
    return peak


def _matmul_flops_per_s(device: torch.device, dtype: torch.dtype) -> float:
    side = SIDES.get(device.type, OTHER_SIDE)
    values = torch.arange(side * side, device=device).sin().view(side, side).to(dtype)
    product = torch.empty_like(values)
    return 2 * side**3 / _fastest_s(device, lambda: torch.mm(values, values, out=product))


def _bandwidth(device: torch.device) -> float:
    source = torch.ones(COPIED_BYTES // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _fastest_s(device, lambda: target.copy_(source))


def _fastest_s(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds of the fastest call, after one warm-up call."""
    calls = CALLS_PER_TIMING.get(device.type, 1)
    work()
    _synchronize(device)
    first = time.perf_counter()
    times_s: list[float] = []
    while len(times_s) < (MAX_TIMINGS if time.perf_counter() - first < ENOUGH_S else MIN_TIMINGS):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        _synchronize(device)
        times_s.append((time.perf_counter() - start) / calls)
    return min(times_s)


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
