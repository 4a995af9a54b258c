"""A model's layers under torch.compile, compiled only within training steps.

In: layers that are about to train. Out: a context in which they run compiled; the seconds of compiling.
Knows nothing of: losses, optimizers, evaluation between steps.

Each layer is compiled in place: names of weights, hooks and adapters stay, and identical layers share one
graph. Outside of the context every layer runs uncompiled.
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
REQUIREMENTS = "It needs a C++ compiler and Python's headers on a CPU, and also Triton on a CUDA device."
WAY_OUT = "or write compute: {compile: false} to train without it."


class CompiledLayers:
    """Layers that run compiled within `enabled`; without layers it does nothing."""

    def __init__(self, layers: Sequence[nn.Module] = ()) -> None:
        self.layers = tuple(layers)
        self._calls: list[Callable[..., Any] | None] = []
        self._compile_s = 0.0

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Run the layers compiled, from the first passes on. Raises: RunError where torch.compile fails."""
        if not self.layers:
            yield
            return
        start = time.perf_counter()
        from torch._dynamo.exc import TorchDynamoException

        if not self._calls:
            self._calls = [_compile(layer) for layer in self.layers]
        self._compile_s += time.perf_counter() - start
        for layer, call in zip(self.layers, self._calls, strict=True):
            layer._compiled_call_impl = call
        try:
            with self._timed():
                yield
        except TorchDynamoException as error:
            inner = getattr(error, "inner_exception", None) or error
            problem = f"torch.compile failed: {type(inner).__name__}: {_first_line(inner)}"
            raise _compile_error(problem, "Fix that") from error
        finally:
            for layer in self.layers:
                layer._compiled_call_impl = None

    def take_compile_s(self) -> float:
        """Seconds of compiling since the last call."""
        seconds, self._compile_s = self._compile_s, 0.0
        return seconds

    def close(self) -> None:
        """Drop the compiled graphs, which would count against the next model's limit."""
        if self._calls:
            self._calls = []
            torch.compiler.reset()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Add the time between torch's callbacks at the start and the end of every compilation."""
        from torch._dynamo.callback import callback_handler

        started = time.perf_counter()

        def start(*_: Any) -> None:
            nonlocal started
            started = time.perf_counter()

        def end(*_: Any) -> None:
            self._compile_s += time.perf_counter() - started

        callback_handler.register_start_callback(start)
        callback_handler.register_end_callback(end)
        try:
            yield
        finally:
            callback_handler.remove_start_callback(start)
            callback_handler.remove_end_callback(end)


def _compile(layer: nn.Module) -> Callable[..., Any] | None:
    """The layer's call, compiled at its first use for batches of every size and length."""
    layer.compile(dynamic=True, backend=BACKEND)
    call, layer._compiled_call_impl = layer._compiled_call_impl, None
    return call


def check_compiler(cuda: bool) -> None:
    """Check what torch.compile needs, without compiling. Raises: RunError where something is missing."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        problem = f"is true, but torch reports: {_first_line(error)}"
        raise _compile_error(problem, "Install g++ or set CXX to a compiler") from None
    if cuda and not has_triton():
        raise _compile_error("is true, but torch finds no Triton for this device.", "Install triton")


def _compile_error(problem: str, fix: str) -> RunError:
    return RunError("compute.compile", problem, REQUIREMENTS, f"{fix}, {WAY_OUT}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{(lines or ['no reason given'])[0].rstrip('.')}."
