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
    precision_note: why the card or a model decided the precision or makes it slow, and what a loaded arm
    computes on in place of a missing device; else empty.
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
        from tuneproof.models.deterministic import repeats_bits

        if repeats_bits(self.device.type, self.deterministic):
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


def check_compute(settings: ComputeSettings, may_emulate: bool = False) -> None:
    """Raises RecipeError where a requested device or precision is not available, or where deterministic
    algorithms are requested too late; RunError where torch.compile is requested and has no compiler.

    may_emulate: whether bf16 may be what the card emulates, as in a study that began so.
    """
    if _is_missing(settings.device):
        seen = "no CUDA device" if settings.device == "cuda" else "no such device"
        problem = f"{settings.device} is requested, but torch sees {seen}."
        raise RecipeError("compute.device", problem, do="Write compute: {device: auto}.")
    _check_algorithms(settings)
    if settings.precision in ("bf16", "fp16"):  # torch need not load for the others
        _check_half(settings, may_emulate)


def _is_missing(device: str) -> bool:
    """Whether torch does not see the requested device."""
    if device not in ("cuda", "mps"):
        return False
    import torch

    return not (torch.cuda if device == "cuda" else torch.backends.mps).is_available()


def _check_algorithms(settings: ComputeSettings) -> None:
    """Raises: RecipeError where deterministic ones are requested too late, RunError without a compiler."""
    if settings.deterministic and settings.device != "cpu":
        from tuneproof.models.deterministic import choose_workspace
        from tuneproof.train.accelerator import choose_device

        choose_workspace(choose_device(settings.device))
    if settings.compile:
        import torch

        from tuneproof.models.compile import check_compiler

        check_compiler(settings.device != "cpu" and torch.cuda.is_available())


def _check_half(settings: ComputeSettings, may_emulate: bool) -> None:
    """Raises: RecipeError where the device cannot train in the requested half precision."""
    if settings.device == "cpu" and settings.precision == "bf16":
        return  # torch need not load for this
    from tuneproof.models.precision import emulating_card
    from tuneproof.train.accelerator import choose_device

    device = choose_device(settings.device)
    if settings.precision == "fp16" and device != "cuda":
        problem = f"fp16 is requested on {'a CPU' if device == 'cpu' else device}, which cannot train in it."
        raise RecipeError("compute.precision", problem, do="Write bf16, fp32 or auto.")
    card = emulating_card(device, settings.precision)
    if card and not may_emulate:
        problem = f"bf16 is requested, but {card} has no instructions for it; torch would emulate it, slowly."
        raise RecipeError("compute.precision", problem, do="Write fp16, fp32 or auto.")


def resolve_compute(settings: ComputeSettings, models: Sequence[ModelSpec] = ()) -> dict[str, Any]:
    """Device, precision and threads as they will be, by the settings' dotted names.

    models: those of the study, which may decide the precision.

    Raises: as `check_compute`, except that the card may emulate bf16.
    """
    import torch

    from tuneproof.train.accelerator import choose_device

    check_compute(settings, may_emulate=True)
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
    """The precision, and why the card or a model decided it or makes it slow."""
    from tuneproof.models.precision import choose_precision, emulation_note, this_card
    from tuneproof.train.accelerator import choose_device

    device = choose_device(settings.device)
    if settings.precision != "auto":
        return settings.precision, emulation_note(device, settings.precision)
    return choose_precision(device, this_card(), _overflowing(models))


def _overflowing(models: Sequence[ModelSpec]) -> list[str]:
    return [spec.name for spec in models if not spec.family.fits_fp16(spec.config)]


def make_compute(settings: ComputeSettings, longest: int, models: Sequence[ModelSpec] = ()) -> Compute:
    """Choose device, precision, threads and matrix kernels as the settings say.

    longest: tokens of the longest item that training depends on, so of train and dev alone. models: all those
    of the study, which may decide the precision.

    Raises: as `check_compute`, except that the card may emulate bf16, which is noted.
    """
    check_compute(settings, may_emulate=True)
    return _build_compute(settings, longest, *_choose_precision(settings, models))


def reload_compute(
    settings: ComputeSettings, longest: int, recorded: str | None, models: Sequence[ModelSpec]
) -> Compute:
    """Choose them for a finished arm, which only predicts: nothing is deterministic, compiled or refused.

    A missing device is replaced, half precision of a GPU is fp32 elsewhere, bf16 may be emulated: all noted.

    recorded: the precision of its study, which it keeps; None: not known, so chosen as for these models.
    """
    from tuneproof.train.accelerator import choose_device

    missing = _is_missing(settings.device)
    device = choose_device("auto" if missing else settings.device)
    notes = []
    if missing:
        notes = [f"The study requests {settings.device}, but torch sees no such device; {device} is used."]
    is_of_gpu = recorded == "fp16" or (recorded == "bf16" and settings.precision == "auto")
    changes = {"device": device, "deterministic": False, "precision": recorded or settings.precision}
    if is_of_gpu and device != "cuda":
        changes["precision"] = "fp32"
        notes.append(f"Precision fp32: the study's {recorded} is for a GPU, and this is {device}.")
    settings = settings.model_copy(update=changes)
    precision, note = _choose_precision(settings, models)
    return _build_compute(settings, longest, precision, " ".join([*notes, note]).strip())


def _build_compute(settings: ComputeSettings, longest: int, precision: str, precision_note: str) -> Compute:
    """Set threads, matrix kernels and algorithms; the device and precision are available."""
    import torch

    from tuneproof.memory.usage import return_freed_blocks
    from tuneproof.models.deterministic import set_deterministic
    from tuneproof.models.matmul_backend import choose_matmul
    from tuneproof.train.accelerator import make_accelerator

    if settings.threads:
        torch.set_num_threads(settings.threads)
    accelerator = make_accelerator(settings.device, precision)
    on_cpu = accelerator.device.type != "cuda"
    returns_memory = on_cpu and settings.memory is not None and return_freed_blocks()
    kernels = choose_matmul(accelerator.device.type, longest)
    repeatable = settings.deterministic and accelerator.device.type != "cpu"
    kernels += set_deterministic(repeatable, accelerator.device.type)
    wait_policy = os.environ.get("OMP_WAIT_POLICY", "") if on_cpu else ""
    return Compute(
        accelerator,
        precision,
        f"{accelerator.device.type}, {precision}, {torch.get_num_threads()} threads{_processes(settings)}"
        f"{', wait policy ' + wait_policy.lower() if wait_policy else ''}. {kernels}"
        f"{' Freed memory returns to the system at once.' if returns_memory else ''}",
        longest,
        repeatable,
        precision_note,
    )


def _processes(settings: ComputeSettings) -> str:
    if launched():
        return f", {current_group().world_size} processes ({settings.parallel})"
    return " in one process: compute.parallel: fsdp has no effect" if settings.parallel == "fsdp" else ""
