"""The choice of torch's backend for float32 matrix products on this processor.

In: a device's name, the longest item. Out: torch set up, and a sentence for the record.
Knows nothing of: models, data.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# oneDNN caches a kernel, with its memory, for every length, 1,024 of them by default: with texts of all
# lengths that is gigabytes. 64 suffice for all layers of a model at the current lengths; measured on a
# small encoder: 0.8 instead of 1.6 GiB after 60 steps, no slower.
KERNEL_CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")
CACHED_KERNELS = 64
FLOAT32_ERROR = 1e-6  # relative; measured: float32 2e-7 to 4e-7, bfloat16 3e-3
SHAPES_MKN = ((64, 384, 384), (256, 384, 512))
SHORT_TOKENS = 128


def choose_matmul(device: str = "cpu", longest: int | None = None) -> str:
    """Run float32 products in oneDNN where that is true float32; returns a sentence on the choice.

    torch's "medium" lets oneDNN compute float32 products on a CPU. Processors without bfloat16 matrix units
    compute them in true float32, AMD's up to twice as fast as the default, MKL; others round to bfloat16. A
    short measurement of the error tells which. Speed is not measured, since a choice by the clock would
    differ from run to run: Intel's processors keep MKL, which is faster there (measured on a Xeon: a training
    step of a small encoder 1.1 times as fast as with oneDNN and unfused attention, 2.1 times as with fused).

    device: cpu; any other keeps torch's "highest", true float32. longest: tokens of the longest item
    of train and dev; up to 128, attention runs unfused with oneDNN, since torch's fused kernel calls it
    once a head and block, which costs more than it saves on short texts. Call once a process, before the
    first forward.
    """
    for name in KERNEL_CACHES:
        os.environ.setdefault(name, str(CACHED_KERNELS))
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.enable_flash_sdp(True)  # also controls the CPU's fused kernel
    if device != "cpu":
        return "Float32 matrix products: torch's default (highest)."
    if _is_intel():
        return "Float32 matrix products: torch's default (highest), MKL, on an Intel processor."
    default, error = _errors()
    if error > FLOAT32_ERROR:
        return (
            f"Float32 matrix products: torch's default (highest), relative error {default:.1e}; "
            f"oneDNN (medium) would round, {error:.1e}."
        )
    torch.set_float32_matmul_precision("medium")
    unfused = longest is not None and longest <= SHORT_TOKENS
    torch.backends.cuda.enable_flash_sdp(not unfused)
    return (
        f"Float32 matrix products: oneDNN (medium), relative error {error:.1e} "
        f"(default {default:.1e}); attention {'unfused' if unfused else 'fused'}."
    )


@contextmanager
def attention_for(longest: int) -> Iterator[None]:
    """Attention fused meanwhile if an item has more than 128 tokens: unfused, its memory is their square.

    longest: tokens of the longest item that is predicted here and that `choose_matmul` was not told of.
    """
    before = torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(before or longest > SHORT_TOKENS)
    try:
        yield
    finally:
        torch.backends.cuda.enable_flash_sdp(before)


def uses_mkl() -> bool:
    """Whether MKL computes a CPU's float32 products in this process, as torch does by default."""
    return torch.backends.mkl.is_available() and torch.get_float32_matmul_precision() == "highest"


def uses_onednn() -> bool:
    """Whether `choose_matmul` picks oneDNN here, which caches kernels and runs short attention unfused."""
    return not _is_intel() and _errors()[1] <= FLOAT32_ERROR


def _errors() -> tuple[float, float]:
    """Errors of torch's default and of oneDNN; leaves the precision as it was."""
    before = torch.get_float32_matmul_precision()
    errors = []
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        errors.append(_largest_error())
    torch.set_float32_matmul_precision(before)
    return errors[0], errors[1]


def _is_intel() -> bool:
    """Whether the processor is Intel's."""
    try:
        processor = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        processor = platform.processor()
    return "Intel" in processor


def _largest_error() -> float:
    """Largest relative error (Frobenius norm) of a linear layer and a batched product against float64."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    with torch.no_grad():
        for m, k, n in SHAPES_MKN:
            left_MK = torch.randn(m, k, generator=generator)
            right_NK = torch.randn(n, k, generator=generator)
            exact_MN = left_MK.double() @ right_NK.double().T
            for product_MN in (
                torch.nn.functional.linear(left_MK, right_NK),
                torch.bmm(left_MK[None], right_NK.T[None])[0],
            ):
                errors.append((product_MN.double() - exact_MN).norm() / exact_MN.norm())
    return float(max(errors))
