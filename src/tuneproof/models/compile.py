"""A model's layers as torch.compile makes them, in force only while a step is taken.

In: layers that are about to train. Out: a context in which they run compiled; the seconds that it cost.
Knows nothing of: losses, optimizers, what a model is asked between its steps.

Each layer is compiled in place, so that names of weights, hooks and adapters stay as they are, and layers
that are alike share one graph. Outside of the context every layer is called as if there were none.
Source: PyTorch's recipe "Reducing torch.compile cold start compilation time with regional compilation".
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tuneproof.errors import RunError

BACKEND = "inductor"
NEEDED = "It needs a C++ compiler and Python's headers on a CPU, and Triton besides on a CUDA device."
WAY_OUT = "or write compute: {compile: false}: the same training, without it."


class CompiledLayers:
    """Layers that run compiled within `in_force`; without layers it does nothing."""

    def __init__(self, layers: Sequence[nn.Module] = ()) -> None:
        self.layers = tuple(layers)
        self._calls: list[Callable[..., Any] | None] = []
        self._spent_s = 0.0

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Forwards and backward passes run the compiled layers; what is not compiled yet is then.

        Raises: RunError where torch.compile fails.
        """
        if not self.layers:
            yield
            return
        begun = time.perf_counter()
        from torch._dynamo.exc import TorchDynamoException

        if not self._calls:
            self._calls = [_compiled(layer) for layer in self.layers]
        self._spent_s += time.perf_counter() - begun
        for layer, call in zip(self.layers, self._calls, strict=True):
            layer._compiled_call_impl = call
        try:
            with self._timed():
                yield
        except TorchDynamoException as error:
            raise _failed(error) from error
        finally:
            for layer in self.layers:
                layer._compiled_call_impl = None

    def spent_s(self) -> float:
        """Seconds that went into compiling since this was last asked."""
        found, self._spent_s = self._spent_s, 0.0
        return found

    def close(self) -> None:
        """Forget what was compiled: it would count against the next model's limit of graphs."""
        if self._calls:
            self._calls = []
            torch.compiler.reset()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Add up the time between the beginning and the end of every compilation, as torch tells them."""
        from torch._dynamo.callback import callback_handler

        begun = time.perf_counter()

        def start(*_: Any) -> None:
            nonlocal begun
            begun = time.perf_counter()

        def end(*_: Any) -> None:
            self._spent_s += time.perf_counter() - begun

        callback_handler.register_start_callback(start)
        callback_handler.register_end_callback(end)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(start)
            callback_handler.remove_end_callback(end)


def _compiled(layer: nn.Module) -> Callable[..., Any] | None:
    """The layer's call, compiled at its first use for batches of every size and length."""
    layer.compile(dynamic=True, backend=BACKEND)
    call, layer._compiled_call_impl = layer._compiled_call_impl, None
    return call


def check_compiler(cuda: bool) -> None:
    """Try whether what torch.compile needs is there, as far as that is known without compiling.

    Raises: RunError where it is not.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise RunError(
            "compute.compile",
            f"true is asked for, and torch says: {_first_line(error)}",
            NEEDED,
            f"Install g++ or name a compiler by the variable CXX, {WAY_OUT}",
        ) from None
    if cuda and not has_triton():
        raise RunError(
            "compute.compile",
            "true is asked for, and torch finds no Triton for this device.",
            NEEDED,
            f"Install triton, {WAY_OUT}",
        )


def _failed(error: Exception) -> RunError:
    inner = getattr(error, "inner_exception", None) or error
    return RunError(
        "compute.compile",
        f"torch.compile failed: {type(inner).__name__}: {_first_line(inner)}",
        NEEDED,
        f"Mend that, {WAY_OUT}",
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{(lines or ['it does not say why'])[0].rstrip('.')}."
