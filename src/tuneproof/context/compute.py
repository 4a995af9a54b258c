"""Where and how precisely a study computes: device, precision, threads, matrix backend.

In: the recipe's compute settings. Out: Compute, or an error where the device or precision is missing.
Knows nothing of: models, data.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tuneproof.errors import RecipeError
from tuneproof.process_group import current_group, launched
from tuneproof.settings import ComputeSettings


@dataclass(frozen=True)
class Compute:
    """Where and how precisely to compute, the same for every arm.

    longest: tokens of the longest item of train and dev, which decides about attention. `accelerator` is
    Accelerate's; `autocast()` the context of a forward pass.
    """

    accelerator: Any
    precision: str
    sentence: str
    longest: int | None = None

    @property
    def device(self) -> Any:
        """torch's device."""
        return self.accelerator.device

    @property
    def frozen_dtype(self) -> Any:
        """The dtype of frozen weights: the one that computations use."""
        import torch

        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        return kinds[self.precision]

    @property
    def rerun_note(self) -> str:
        """What intervals hold of the noise of identical reruns; empty where reruns give the same bits."""
        if self.device.type == "cpu":
            return ""
        return (
            f"On {self.device.type} the same run may end with other bits. The spread of several seeds "
            "includes that noise; the interval of a single run does not."
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass in this precision."""
        return nullcontext() if self.precision == "fp32" else self.accelerator.autocast()


def check_compute(settings: ComputeSettings) -> None:
    """Raises RecipeError where a requested device or precision is not available.

    RunError where torch.compile is requested and has no compiler.
    """
    if settings.compile:
        import torch

        from tuneproof.models.compile import check_compiler

        check_compiler(settings.device != "cpu" and torch.cuda.is_available())
    if settings.device in ("auto", "cpu") and settings.precision != "fp16":
        return  # always available; torch need not load for this
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            "compute.device",
            "cuda is requested, but torch sees no CUDA device.",
            do="Write compute: {device: auto}.",
        )
    if settings.device == "mps" and not torch.backends.mps.is_available():
        raise RecipeError(
            "compute.device",
            "mps is requested, but torch sees no such device.",
            do="Write compute: {device: auto}.",
        )
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if settings.precision == "fp16" and on_cpu:
        raise RecipeError(
            "compute.precision",
            "fp16 is requested on a CPU, which cannot train in it.",
            do="Write bf16, fp32 or auto.",
        )


def resolve_compute(settings: ComputeSettings) -> dict[str, Any]:
    """Device, precision and threads as they will be, by the settings' dotted names.

    Raises: as `check_compute`.
    """
    import torch

    check_compute(settings)
    cuda = settings.device != "cpu" and torch.cuda.is_available()
    mps = settings.device != "cpu" and torch.backends.mps.is_available()
    precision = settings.precision
    if precision == "auto":
        half = "bf16" if cuda and torch.cuda.is_bf16_supported(False) else "fp16"
        precision = half if cuda else "fp32"  # type: ignore[assignment]
    return {
        "compute.device": "cuda" if cuda else "mps" if mps else "cpu",
        "compute.precision": precision,
        "compute.threads": settings.threads or torch.get_num_threads(),
        "compute.processes": current_group().world_size,
    }


def make_compute(settings: ComputeSettings, longest: int) -> Compute:
    """Choose device, precision, threads and matrix kernels as the settings say.

    longest: tokens of the longest item that training depends on, so of train and dev alone.

    Raises: as `check_compute`.
    """
    import torch

    from tuneproof.memory.usage import return_freed_blocks
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.loop import make_accelerator

    precision = resolve_compute(settings)["compute.precision"]
    if settings.threads:
        torch.set_num_threads(settings.threads)
    on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    returns_memory = on_cpu and settings.memory is not None and return_freed_blocks()
    accelerator = make_accelerator(settings.device, precision)
    kernels = choose_matmul(accelerator.device.type, longest)
    wait_policy = os.environ.get("OMP_WAIT_POLICY", "")
    group = current_group()
    processes = f", {group.world_size} processes ({settings.parallel})" if launched() else ""
    if settings.parallel == "fsdp" and not launched():
        processes = " in one process: compute.parallel: fsdp has no effect"
    return Compute(
        accelerator,
        precision,
        f"{accelerator.device.type}, {precision}, {torch.get_num_threads()} threads{processes}"
        f"{', wait policy ' + wait_policy.lower() if on_cpu and wait_policy else ''}. {kernels}"
        f"{' Freed memory returns to the system at once.' if returns_memory else ''}",
        longest,
    )
