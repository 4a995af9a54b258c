"""The same bits from the same run on a CUDA device, where a recipe asks for them.

In: whether it does. Out: torch's algorithms and attention kernels chosen so; a sentence for the record.
Knows nothing of: models, data.
"""

import os

import torch

from tuneproof.errors import RecipeError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
REPEATABLE = (":4096:8", ":16:8")  # the sizes with which cuBLAS repeats its sums, by NVIDIA's documentation

_set_here = False


def repeats_bits(device: str, deterministic: bool) -> bool:
    """Whether the same run ends with the same bits; device: the type of torch's device."""
    return device == "cpu" or (device == "cuda" and deterministic)


def choose_workspace(device: str) -> None:
    """Have cuBLAS repeat its sums: it reads the size of its workspace once, at its first use.

    device: the type of torch's device; only cuda has cuBLAS, and nothing changes on the others.

    Raises: RecipeError where CUDA already runs in this process with another workspace.
    """
    if device != "cuda":
        return
    size = os.environ.get(WORKSPACE)
    if size is None and not torch.cuda.is_initialized():
        os.environ[WORKSPACE] = REPEATABLE[0]
    elif size not in REPEATABLE:
        problem = f"the environment sets {WORKSPACE}={size}, with which the sums of cuBLAS may differ."
        if size is None:
            problem = f"CUDA was used in this process before, without {WORKSPACE}."
        raise RecipeError(
            "compute.deterministic",
            problem,
            f"Allowed: {' or '.join(REPEATABLE)}.",
            f"Set {WORKSPACE}={REPEATABLE[0]} before Python starts, or use a new process.",
        )


def set_deterministic(deterministic: bool, device: str) -> str:
    """Choose algorithms and attention that give the same bits, or undo that; returns a sentence, or "".

    Memory-efficient and cuDNN's attention add up gradients in no fixed order. Without them texts without
    padding use flash attention, whose gradients torch adds up in order then, and the others the plain one,
    whose memory grows with the square of the length. What a caller set in torch before stays if no study
    of this process asked for more. Call before the first product on the device; device: its type in torch.

    Raises: as `choose_workspace`.
    """
    global _set_here
    if not (deterministic or _set_here):
        return ""
    if deterministic:
        choose_workspace(device)
    _set_here = deterministic
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)
    torch.backends.cuda.enable_cudnn_sdp(not deterministic)
    return " Deterministic algorithms." if deterministic else ""
