"""4-bit quantisation of linear layers by bitsandbytes: which layers, how, and in which precision.

In: a model without weights, its family, a quantisation. Out: arguments of `from_pretrained`.
Knows nothing of: methods, adapters, how many bytes it saves.

Source: Dettmers et al. 2023, arXiv:2305.14314, sections 2 and 3.
"""

from dataclasses import dataclass
from typing import Any

from tuneproof.errors import RunError
from tuneproof.families.family import Family
from tuneproof.models.quiet import quiet_bitsandbytes


@dataclass(frozen=True)
class Quantization:
    """4-bit NormalFloat with double quantisation; precision (fp32, bf16, fp16): of the matrix products."""

    device: str = "cpu"
    precision: str = "fp32"


def quantized_layers(model: Any, family: Family) -> list[str]:
    """Names of the layers that are quantised: the blocks' linear layers, where adapters sit."""
    suffixes = family.adapter_targets(model)
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "weight") and any(name == e or name.endswith(f".{e}") for e in suffixes)
    ]


def quantization_config(model: Any, family: Family, quantization: Quantization) -> dict[str, Any]:
    """Arguments of `from_pretrained` that quantise the blocks' linear layers alone; model: without weights.

    Raises: RunError where bitsandbytes cannot quantise on the device.
    """
    import torch
    from transformers import BitsAndBytesConfig
    from transformers.pytorch_utils import Conv1D

    _check_device(quantization.device)
    quantized = set(quantized_layers(model, family))
    linear = (torch.nn.Linear, Conv1D)  # what transformers would quantise by default
    skipped = [n for n, module in model.named_modules() if n not in quantized and isinstance(module, linear)]
    compute = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute[quantization.precision],
            llm_int8_skip_modules=skipped,
        ),
        "device_map": {"": quantization.device},
    }


def _check_device(device: str) -> None:
    """Quantise and dequantise a small matrix, so that errors of the device show before weights load."""
    import torch

    try:
        with quiet_bitsandbytes():
            from bitsandbytes.functional import dequantize_4bit, quantize_4bit

            matrix = torch.eye(64, device=device)
            quantized, state = quantize_4bit(matrix, compress_statistics=True, quant_type="nf4")
            finite = bool(dequantize_4bit(quantized, state).isfinite().all())
            problem = "" if finite else "dequantised weights are not finite"
    except (RuntimeError, NotImplementedError, ValueError, ImportError, OSError) as error:
        problem = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if problem:
        raise RunError(
            "qlora",
            f"bitsandbytes cannot quantise weights to 4 bits on {device}: {problem}.",
            do="Write compute: {device: cpu}, or use lora.",
        )


def set_quantized_precision(model: Any) -> None:
    """Compute quantised layers in the requested precision, forward and backward, on every machine.

    On CPUs with bf16 instructions, bitsandbytes would change the layout of weights that do not train and
    compute in bf16: predictions would differ from machine to machine. Backward, it would dequantise to the
    precision that the weights were read in, float32, and round that copy: the same values.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            module.weight.quant_state.dtype = module.compute_dtype
