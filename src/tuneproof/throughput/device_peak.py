"""What the device attains: operations a second of matrix products, bytes a second of a copy. Measured.

In: a device, a precision. Out: two rates. Knows nothing of: models, arms.

Wall time, by as many threads as torch works with. Nothing is drawn from torch's random numbers, and no
setting changes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from tuneproof.models.oom import give_back, tried

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SIDES = {"cpu": 1024, "cuda": 4096}  # of the square matrices; other devices: between the two
OTHER_SIDE = 2048
COPIED_BYTES = 128 * 2**20  # more than a processor's caches, or a GPU's, hold
AT_ONCE = {"cuda": 10}  # products and copies between two looks at the clock
LEAST_TURNS, MOST_TURNS, ENOUGH_S = 2, 8, 0.15


@dataclass(frozen=True)
class DeviceRates:
    """Attainable rates: operations of matrix products a second (2 a multiply-add), bytes a second moved.

    A copy of n bytes moves 2n: they are read and written.
    """

    matrix_operations_per_s: float
    bandwidth_bytes_per_s: float


def device_rates(device: torch.device, precision: str) -> DeviceRates | None:
    """Measure both, once a process, in well under a second; None where memory is too small for it.

    precision: fp32, bf16 or fp16, in which the matrices are; float32 ones are multiplied as torch is set
    up to. The best of several turns counts: what a device attains, not what its neighbours leave.
    """
    return _measured(device, precision, torch.get_num_threads())


@cache
def _measured(device: torch.device, precision: str, threads: int) -> DeviceRates | None:
    done, found = tried(lambda: _measure(device, DTYPES[precision]))
    give_back()
    return found if done else None


@torch.no_grad()
def _measure(device: torch.device, dtype: torch.dtype) -> DeviceRates:
    return DeviceRates(_matrix_rate(device, dtype), _bandwidth(device))


def _matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    side = SIDES.get(device.type, OTHER_SIDE)
    values = torch.arange(side * side, device=device).sin().view(side, side).to(dtype)
    product = torch.empty_like(values)
    return 2 * side**3 / _best_s(device, lambda: torch.mm(values, values, out=product))


def _bandwidth(device: torch.device) -> float:
    here = torch.ones(COPIED_BYTES // 4, dtype=torch.float32, device=device)
    there = torch.empty_like(here)
    return 2 * COPIED_BYTES / _best_s(device, lambda: there.copy_(here))


def _best_s(device: torch.device, work: Callable[[], Any]) -> float:
    """Seconds of the fastest turn, after one that is not counted."""
    times = AT_ONCE.get(device.type, 1)
    work()
    _wait(device)
    begun = time.perf_counter()
    found: list[float] = []
    while len(found) < LEAST_TURNS or (len(found) < MOST_TURNS and time.perf_counter() - begun < ENOUGH_S):
        since = time.perf_counter()
        for _ in range(times):
            work()
        _wait(device)
        found.append((time.perf_counter() - since) / times)
    return min(found)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
