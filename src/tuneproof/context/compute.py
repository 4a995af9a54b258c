"""Where and how precisely a study computes: device, precision, threads, matrix backend.

In: the recipe's compute settings. Out: Compute, or an error where the device or precision is missing.
Knows nothing of: models, data.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tuneproof.context.model_spec import ModelSpec
from tuneproof.errors import RecipeError
from tuneproof.process_group import current_group, launched
from tuneproof.settings import ComputeSettings


@dataclass(frozen=True)
class Compute:
    """Where and how precisely to compute, the same for every arm.

    longest: tokens of the longest item of train and dev, which decides about attention. `accelerator`: for
    training; `autocast()`: the context of a forward pass. deterministic: algorithms were chosen so.
    precision_note: why the card or a model decided the precision; empty where neither did.
    """

    accelerator: Any
    precision: str
    sentence: str
    longest: int | None = None
    deterministic: bool = False
    precision_note: str = ""

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
        if self.device.type == "cpu" or (self.device.type == "cuda" and self.deterministic):
            return ""
        way_out = " compute.deterministic: true gives the same bits." if self.device.type == "cuda" else ""
        return (
            f"On {self.device.type} the same run may end with other bits. A study that was stopped resumes "
            "to the same study, not to the same bits. The spread of several seeds includes that noise; the "
            f"interval of a single run does not.{way_out}"
        )

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of a forward pass in this precision."""
        return nullcontext() if self.precision == "fp32" else self.accelerator.autocast()


def _check_algorithms(settings: ComputeSettings) -> None:
    """Raises: RecipeError where deterministic ones are requested too late, RunError without a compiler."""
    if settings.deterministic and settings.device != "cpu":
        from tuneproof.models.deterministic import choose_workspace

        choose_workspace()
    if settings.compile:
        import torch

        from tuneproof.models.compile import check_compiler

        check_compiler(settings.device != "cpu" and torch.cuda.is_available())


def check_compute(settings: ComputeSettings) -> None:
    """Raises RecipeError where a requested device or precision is not available.

    The same where deterministic algorithms are requested too late. RunError where torch.compile is requested
    and has no compiler.
    """
    _check_algorithms(settings)
    if settings.device == "cpu" and settings.precision != "fp16":
        return
    if settings.device == "auto" and settings.precision in ("auto", "fp32"):
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
    from tuneproof.models.precision import this_card
    from tuneproof.train.accelerator import choose_device

    device = choose_device(settings.device)
    if settings.precision == "fp16" and device != "cuda":
        raise RecipeError(
            "compute.precision",
            f"fp16 is requested on {'a CPU' if device == 'cpu' else device}, which cannot train in it.",
            do="Write bf16, fp32 or auto.",
        )
    card = this_card() if device == "cuda" else None
    if settings.precision == "bf16" and card is not None and not card.has_bf16:
        raise RecipeError(
            "compute.precision",
            f"bf16 is requested, but {card.name} has no instructions for it; torch would emulate it, slowly.",
            do="Write fp16, fp32 or auto.",
        )


def resolve_compute(settings: ComputeSettings, models: Sequence[ModelSpec] = ()) -> dict[str, Any]:
    """Device, precision and threads as they will be, by the settings' dotted names.

    models: those of the study, which may decide the precision.

    Raises: as `check_compute`.
    """
    import torch

    from tuneproof.train.accelerator import choose_device

    check_compute(settings)
    return {
        "compute.device": choose_device(settings.device),
        "compute.precision": _choose_precision(settings, models)[0],
        "compute.threads": settings.threads or torch.get_num_threads(),
        "compute.processes": current_group().world_size,
    }


def for_models(
    machine: Mapping[str, Any], settings: ComputeSettings, models: Sequence[ModelSpec]
) -> dict[str, Any]:
    """What `resolve_compute` says of another machine, now that the models are known.

    Its fp16 becomes fp32 where a model exceeds fp16's range.
    """
    changes = settings.precision == "auto" and machine.get("compute.precision") == "fp16"
    return {**machine, "compute.precision": "fp32"} if changes and _overflowing(models) else dict(machine)


def _choose_precision(settings: ComputeSettings, models: Sequence[ModelSpec]) -> tuple[str, str]:
    """The precision, and why the card or a model decided it."""
    from tuneproof.models.precision import choose_precision, this_card
    from tuneproof.train.accelerator import choose_device

    if settings.precision != "auto":
        return settings.precision, ""
    return choose_precision(choose_device(settings.device), this_card(), _overflowing(models))


def _overflowing(models: Sequence[ModelSpec]) -> list[str]:
    return [spec.name for spec in models if not spec.family.fits_fp16(spec.config)]


def make_compute(settings: ComputeSettings, longest: int, models: Sequence[ModelSpec] = ()) -> Compute:
    """Choose device, precision, threads and matrix kernels as the settings say.

    longest: tokens of the longest item that training depends on, so of train and dev alone. models: all those
    of the study, which may decide the precision.

    Raises: as `check_compute`.
    """
    import torch

    from tuneproof.memory.usage import return_freed_blocks
    from tuneproof.models.deterministic import set_deterministic
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.accelerator import make_accelerator

    check_compute(settings)
    precision, precision_note = _choose_precision(settings, models)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = make_accelerator(settings.device, precision)
    on_cpu = accelerator.device.type != "cuda"
    returns_memory = on_cpu and settings.memory is not None and return_freed_blocks()
    kernels = choose_matmul(accelerator.device.type, longest)
    repeatable = settings.deterministic and accelerator.device.type != "cpu"
    kernels += set_deterministic(repeatable)
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
        repeatable,
        precision_note,
    )
