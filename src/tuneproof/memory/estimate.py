"""A predicted peak of memory: what the tensors are for, and what comes on top of them.

In: bytes by part. Out: the same as values, sums, sentences. Knows nothing of: torch, how it was found.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Terms:
    """What a device holds beside the tensors: `fixed_bytes`, and a share of what the tensors take."""

    device: str
    fixed_bytes: int
    slack_share: float
    sentence: str

    def on_top(self, tensors_bytes: int) -> int:
        """Bytes beside tensors of this size."""
        return self.fixed_bytes + round(self.slack_share * tensors_bytes)


# Measured (benchmarks/RESULTS.md): a cached kernel's code and scratch; heap pages that are not full.
KERNEL_BYTES = 5 * 2**18
KERNELS_A_LENGTH = 12  # four shapes of layers, forward and the two products of backward
HEAP_SHARE = 0.01
# Known of the runtime, not measured here.
CONTEXT_BYTES = 600 * 2**20
GAPS_SHARE = 0.05


def terms_of(device: str, lengths: int, most_kernels: int) -> Terms:
    """What comes on top of tensors on a device, for items of so many different lengths.

    `most_kernels`: how many oneDNN keeps; 0 where the products are not its.
    """
    if device == "cuda":
        return Terms(
            device,
            CONTEXT_BYTES,
            GAPS_SHARE,
            f"the CUDA context with its kernels and cuBLAS's workspace ({CONTEXT_BYTES >> 20} MiB), and "
            f"the caching allocator's rounding and gaps ({GAPS_SHARE:.0%})",
        )
    kernels = min(most_kernels, KERNELS_A_LENGTH * lengths)
    kept = f"{kernels} kernels that oneDNN keeps ({kernels * KERNEL_BYTES / 2**20:.0f} MiB), and "
    return Terms(
        device,
        kernels * KERNEL_BYTES,
        HEAP_SHARE,
        f"{kept if kernels else ''}unfilled pages of the C library's heap ({HEAP_SHARE:.0%})",
    )


@dataclass(frozen=True)
class Peak:
    """Bytes of the tensors alive at the highest moment of a stretch of work, by what they are for."""

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


@dataclass(frozen=True)
class Forecast:
    """What an arm's training and predicting will take; None: not played, or there is none."""

    train: Peak | None
    predict: Peak | None
    terms: Terms

    @property
    def peak(self) -> Peak:
        """The higher one of the two."""
        found = [peak for peak in (self.train, self.predict) if peak is not None]
        return max(found, key=lambda peak: peak.tensors_bytes)

    @property
    def total_bytes(self) -> int:
        """The higher peak with what comes on top."""
        tensors = self.peak.tensors_bytes
        return tensors + self.terms.on_top(tensors)

    def as_json(self) -> dict[str, Any]:
        """Plain values, the sums among them."""
        return {
            "train": asdict(self.train) if self.train else None,
            "predict": asdict(self.predict) if self.predict else None,
            "terms": {**asdict(self.terms), "on_top_bytes": self.terms.on_top(self.peak.tensors_bytes)},
            "tensors_bytes": self.peak.tensors_bytes,
            "total_bytes": self.total_bytes,
        }


def peak_of(parts: Mapping[str, int]) -> Peak:
    """The peak from its parts by name."""
    return Peak(**parts)
