"""A whole model as an ONNX file, by torch's own exporter; in 8 bits by onnxruntime's own quantisation.

In: a folder that transformers loads, how it is loaded. Out: model.onnx, and the names of its inputs.
Knows nothing of: the study, parity, the card.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tuneproof.errors import RecipeError
from tuneproof.methods.exported_model import WEIGHTS
from tuneproof.models.quiet import quiet
from tuneproof.publish.files import HEAD
from tuneproof.publish.load_code import CLASSES, LoadSpec

EXTERNAL_BYTES = 1_800_000_000  # protobuf holds 2 GB; larger weights get a file beside the graph
SAMPLE_TOKENS = (7, 5)  # of the two rows by which the graph is traced
UNQUANTIZED = "float32.onnx"
NOISY = ("torch.onnx", "onnxscript", "onnx_ir", "onnxruntime.quantization.matmul_nbits_quantizer")


def check_exporter() -> None:
    """Raises: RecipeError where a package that writes ONNX is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        problem = f"ONNX needs {missing[0]}, which is not installed."
        raise RecipeError("export", problem, do="Install it: pip install 'tuneproof[onnx]'.")


def write_onnx(spec: LoadSpec, plain: Path, folder: Path, precision: str) -> tuple[str, ...]:
    """Write `folder`/model.onnx of the model in `plain`. Returns the inputs besides tokens and their mask.

    Raises: RecipeError where the model cannot be exported.
    """
    graph, inputs = _graph(spec, plain)
    file = folder / WEIGHTS["onnx"]
    target = file if precision == "float32" else folder / UNQUANTIZED
    arguments, shapes = _sample(inputs)
    with quiet(), _quiet_exporter(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph,
                arguments,
                dynamo=True,
                verbose=False,
                input_names=["input_ids", "attention_mask", *inputs],
                dynamic_shapes=shapes,
            )
        except Exception as error:  # the exporter has many, and no common one
            reason = next(iter(str(error).strip().splitlines()), "")
            problem = f"torch cannot export this architecture ({type(error).__name__}: {reason})."
            raise RecipeError("export", problem, do="Use --format merged.") from None
        assert program is not None
        size = sum(p.numel() * p.element_size() for p in graph.parameters())
        program.save(str(target), external_data=size > EXTERNAL_BYTES)
        if target != file:
            quantize = _quantize_blocks if precision == "int8-blocks" else _quantize
            quantize(target, file, size > EXTERNAL_BYTES)
            for rest in folder.glob(f"{UNQUANTIZED}*"):
                rest.unlink()
    return tuple(name for name in inputs if name != "positions")


def _quantize(source: Path, target: Path, is_large: bool) -> None:
    """Weights in 8 bits, a scale for each column of a matrix; activations too, a scale for each tensor."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source, target, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=is_large
    )


def _quantize_blocks(source: Path, target: Path, is_large: bool) -> None:
    """Weights and activations of matrix products in 8 bits, a scale for each block of 32 numbers."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    blocks = {"block_size": 32, "is_symmetric": True, "accuracy_level": 4}  # 4: products in 8 bits
    settings = DefaultWeightOnlyQuantConfig(**blocks, bits=8, op_types_to_quantize=("MatMul",))
    quantizer = MatMulNBitsQuantizer(onnx.load(source), **blocks, algo_config=settings)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), is_large)


def _graph(spec: LoadSpec, plain: Path) -> tuple[Any, tuple[str, ...]]:
    """A module of tensors alone, and the names of its inputs besides tokens and their mask."""
    import transformers
    from safetensors.torch import load_file

    if spec.form == "head":
        base = transformers.AutoModel.from_pretrained(plain, dtype="float32").eval()
        return _Pooled(base, load_file(plain / HEAD), spec.pooling), ()
    model = getattr(transformers, CLASSES[spec.objective]).from_pretrained(plain, dtype="float32").eval()
    if spec.objective == "labels":
        return _Logits(model), ()
    if spec.objective == "words":
        return _NextTokens(model), ("positions",)
    return _Ends(model), ("token_type_ids",) if spec.token_types else ()


class _Logits(torch.nn.Module):
    """The logits of a classifier."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return cast(Tensor, self.model(input_ids=input_ids, attention_mask=attention_mask).logits)


class _Pooled(_Logits):
    """A frozen base, the pooled states of its last layer, and the linear head on them."""

    def __init__(self, model: Any, head: dict[str, Tensor], pooling: str) -> None:
        super().__init__(model)
        self.pooling = pooling
        self.weight = torch.nn.Parameter(head["weight"].float(), requires_grad=False)
        self.bias = torch.nn.Parameter(head["bias"].float(), requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "first":
            pooled = states[:, 0]
        elif self.pooling == "last":
            last = attention_mask.sum(1) - 1
            pooled = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]
        else:
            mask = attention_mask[..., None].to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1)
            if self.pooling == "unit-mean":
                pooled = torch.nn.functional.normalize(pooled, dim=-1)
        # no matrix product: in 8 bits one scale for all of `pooled` would lose what the head reads
        return cast(Tensor, (pooled[:, None] * self.weight).sum(-1) + self.bias)


class _NextTokens(torch.nn.Module):
    """The logits of the token after each of `positions`, which are the same in every row."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.selects = "logits_to_keep" in signature(model.forward).parameters

    def forward(self, input_ids: Tensor, attention_mask: Tensor, positions: Tensor) -> Tensor:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
        if self.selects:
            return cast(Tensor, self.model(**inputs, logits_to_keep=positions).logits)
        return cast(Tensor, self.model(**inputs).logits[:, positions])


class _Ends(torch.nn.Module):
    """The logits of the first and of the last token of an answer."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *types: Tensor) -> tuple[Tensor, Tensor]:
        named = {"token_type_ids": types[0]} if types else {}
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, **named)
        return outputs.start_logits, outputs.end_logits


def _sample(inputs: tuple[str, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Arguments to trace with, two rows of different lengths, and which of their sizes may vary."""
    width, shorter = SAMPLE_TOKENS
    ids = torch.arange(10, 10 + 2 * width).reshape(2, width) % 50
    mask = torch.ones_like(ids)
    mask[1, shorter:] = 0
    vary = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    more = {
        "positions": (torch.tensor([2, 3, 4]), {0: torch.export.Dim.DYNAMIC}),
        "token_type_ids": (torch.zeros_like(ids), vary),
    }
    arguments = (ids, mask, *(more[name][0] for name in inputs))
    shapes: list[Any] = [vary, vary, *(more[name][1] for name in inputs)]
    if "token_type_ids" in inputs:  # a star argument is a tuple of shapes
        return arguments, (vary, vary, (vary,))
    return arguments, tuple(shapes)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter and the quantisation say much that no user can act on."""
    loggers = [logging.getLogger(name) for name in NOISY]
    root = logging.getLogger()
    levels = [(logger, logger.level) for logger in (*loggers, root)]
    try:
        for logger, _ in levels:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
