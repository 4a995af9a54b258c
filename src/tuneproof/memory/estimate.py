"""An estimated peak of memory: the tensors by purpose, and the overhead beside them.

In: bytes by part. Out: values, sums, sentences. Knows nothing of: torch, where the bytes come from.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Overhead:
    """Memory beside the tensors: `fixed_bytes`, and `tensor_share` of what the tensors take."""

    device: str
    fixed_bytes: int
    tensor_share: float
    description: str

    def total_bytes(self, tensors_bytes: int) -> int:
        """Bytes beside tensors of this size."""
        return self.fixed_bytes + round(self.tensor_share * tensors_bytes)


# Measured (benchmarks/RESULTS.md): the code and scratch space of a cached kernel; partly filled heap pages.
KERNEL_BYTES = 5 * 2**18
KERNELS_PER_LENGTH = 12  # four shapes of layers, each forward and with two products backward
HEAP_SHARE = 0.01
# Known of the runtime, not measured here.
CONTEXT_BYTES = 600 * 2**20
NCCL_BYTES = 512 * 2**20
GAPS_SHARE = 0.05


def estimate_overhead(device: str, lengths: int, max_kernels: int, processes: int = 1) -> Overhead:
    """The overhead on a device, for items of this many different lengths.

    max_kernels: how many kernels oneDNN caches; 0 if it does not compute the matrix products.
    processes: that exchange gradients or weights.
    """
    if device == "cuda":
        size, nccl = CONTEXT_BYTES, ""
        if processes > 1:
            size, nccl = size + NCCL_BYTES, f"NCCL's buffers ({NCCL_BYTES >> 20} MiB), "
        context = f"the CUDA context with its kernels and cuBLAS's workspace ({CONTEXT_BYTES >> 20} MiB), "
        gaps = f"and the caching allocator's rounding and gaps ({GAPS_SHARE:.0%})"
        return Overhead(device, size, GAPS_SHARE, context + nccl + gaps)
    kernels = min(max_kernels, KERNELS_PER_LENGTH * lengths)
    size = kernels * KERNEL_BYTES
    cached = f"{kernels} kernels that oneDNN caches ({size / 2**20:.0f} MiB), and " if kernels else ""
    heap = f"partly filled pages of the C library's heap ({HEAP_SHARE:.0%})"
    return Overhead(device, size, HEAP_SHARE, cached + heap)


@dataclass(frozen=True)
class Peak:
    """Bytes of the tensors alive at the peak, by purpose."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    cache: int
    temporary: int

    @property
    def tensors_bytes(self) -> int:
        """Their sum."""
        return sum(asdict(self).values())


def highest(peaks: Mapping[str, Peak]) -> Peak | None:
    """The highest of several peaks; None of none."""
    return max(peaks.values(), key=lambda peak: peak.tensors_bytes, default=None)


@dataclass(frozen=True)
class MemoryEstimate:
    """The peaks of an arm's training and predicting; None: not simulated, or the arm does not train.

    whole: further stages of a process that shards its weights, in which it holds all of them: load, dev,
    checkpoint (on a CPU). self_test_bytes: what the self-test takes then; it is left out where it does not
    fit. host_bytes, other_host_bytes: in the machine's memory, of the main one of several processes
    with a GPU each, and of each other one. phases: the peaks of parts of the step, the highest of which is
    train's.
    """

    train: Peak | None
    predict: Peak | None
    overhead: Overhead
    whole: Mapping[str, Peak] = field(default_factory=dict)
    self_test_bytes: int = 0
    host_bytes: int = 0
    other_host_bytes: int = 0
    phases: Mapping[str, Peak] = field(default_factory=dict)

    @property
    def peaks(self) -> dict[str, Peak]:
        """The peak of every stage that must fit."""
        stages = {"train": self.train, "predict": self.predict, **self.whole}
        return {stage: peak for stage, peak in stages.items() if peak is not None}

    @property
    def peak(self) -> Peak:
        """The highest of them."""
        return max(self.peaks.values(), key=lambda peak: peak.tensors_bytes)

    @property
    def total_bytes(self) -> int:
        """The highest peak with its overhead."""
        return self.with_overhead(self.peak)

    def with_overhead(self, peak: Peak) -> int:
        """Bytes of a peak with its overhead."""
        return peak.tensors_bytes + self.overhead.total_bytes(peak.tensors_bytes)

    def as_json(self) -> dict[str, Any]:
        """Plain values, the sums among them."""
        tensors = self.peak.tensors_bytes
        return {
            "train": asdict(self.train) if self.train else None,
            "predict": asdict(self.predict) if self.predict else None,
            "whole": {stage: asdict(peak) for stage, peak in self.whole.items()},
            "self_test_bytes": self.self_test_bytes,
            "host_bytes": self.host_bytes,
            "other_host_bytes": self.other_host_bytes,
            "overhead": {**asdict(self.overhead), "total_bytes": self.overhead.total_bytes(tensors)},
            "tensors_bytes": tensors,
            "total_bytes": self.total_bytes,
        }
