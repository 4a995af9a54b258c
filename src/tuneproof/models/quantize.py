"""Linear layers held in 4 bits, through bitsandbytes: which, how, and where they are computed.

In: a model without weights, its family, a packing. Out: what `from_pretrained` needs to pack it.
Knows nothing of: methods, adapters, how many bytes it saves.

Source: Dettmers et al. 2023, arXiv:2305.14314, sections 2 and 3.
"""

from dataclasses import dataclass
from typing import Any

from tuneproof.errors import RunError
from tuneproof.families.family import Family
from tuneproof.models.quiet import quiet_bitsandbytes


@dataclass(frozen=True)
class Packing:
    """4-bit NormalFloat with doubly quantised scales, on a device, computed in a precision.

    `precision`: fp32, bf16 or fp16, the type that a packed weight becomes for a matrix product.
    """

    device: str = "cpu"
    precision: str = "fp32"


def packed_layers(model: Any, family: Family) -> list[str]:
    """Names of the layers that are packed: the linear ones of the blocks, where adapters stand."""
    ends = family.lora_targets(model)
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "weight") and any(name == e or name.endswith(f".{e}") for e in ends)
    ]


def packed_config(model: Any, family: Family, packing: Packing) -> dict[str, Any]:
    """Arguments of `from_pretrained` that pack the linear layers of the blocks and nothing else.

    model: the same architecture without weights.

    Raises: RunError where bitsandbytes cannot pack on the device.
    """
    import torch
    from transformers import BitsAndBytesConfig

    _try_packing(packing.device)
    chosen = set(packed_layers(model, family))
    compute = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute[packing.precision],
            llm_int8_skip_modules=[
                name for name, module in model.named_modules() if name not in chosen and _has_matrix(module)
            ],
        ),
        "device_map": {"": packing.device},
    }


def _try_packing(device: str) -> None:
    """Pack a small matrix and unpack it again: what a device can do shows before weights load."""
    import torch

    try:
        with quiet_bitsandbytes():
            from bitsandbytes.functional import dequantize_4bit, quantize_4bit

            matrix = torch.eye(64, device=device)
            packed, state = quantize_4bit(matrix, compress_statistics=True, quant_type="nf4")
            whole = bool(dequantize_4bit(packed, state).isfinite().all())
            said = "" if whole else "what comes back is not finite"
    except (RuntimeError, NotImplementedError, ValueError, ImportError, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if said:
        raise RunError(
            "qlora",
            f"bitsandbytes cannot hold weights in 4 bits on {device}: {said}.",
            do="Write compute: {device: cpu}, or use lora.",
        )


def _has_matrix(module: Any) -> bool:
    """Whether transformers would pack this module if it were not told to skip it."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def unpacked_on_cpu(model: Any) -> None:
    """Compute packed layers in the precision asked for on every CPU.

    bitsandbytes would turn their weights into another layout, and compute in bf16, wherever a CPU
    has instructions for it and nothing trains: predictions would differ from machine to machine.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
