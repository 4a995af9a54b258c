"""The processes that run one arm together: ranks, barriers, broadcasts and reductions.

In: the environment of a launcher (torchrun, accelerate launch). Out: the same values in every process.
Knows nothing of: what is computed, files.

The main process (rank 0) reads and writes the study's files and decides; the others follow. A barrier comes
before every exchange, so that the others learn wherever they are that the main process stops or ends an arm.
Messages are JSON or arrays, never pickled objects.
"""

import atexit
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneproof.errors import RunError, StoppedError
from tuneproof.parent_process import end_with_launcher

if TYPE_CHECKING:
    import torch

CONTINUE, OUT_OF_MEMORY, STOP, ARM_OVER, FAILED = range(5)  # the signals of `barrier`
TIMEOUT = timedelta(hours=2)  # the others wait while the main process fits a head or renders
BUCKET_WEIGHTS = 1 << 24  # gradients that are summed at once
UNNAMED = "<array>"


class ArmDismissedError(Exception):
    """The main process ended this arm; nothing is wrong here."""


@dataclass
class ProcessGroup:
    """`world_size` processes; this one is `rank`, 0 is the main one. broken: the others no longer answer."""

    rank: int = 0
    world_size: int = 1
    device: Any = None
    broken: bool = False
    stopped: bool = False

    @property
    def is_main(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def barrier(self, signal: int = CONTINUE) -> list[int]:
        """Wait for all processes and return their signals, by rank.

        Raises: StoppedError or ArmDismissedError in the others on STOP or ARM_OVER from the main process;
        RunError in the main process on FAILED from another one.
        """
        if self.world_size == 1 or self.broken:
            return [signal]
        signals = [int(n) for (n,) in self._gather_numbers([signal])]
        if not self.is_main:
            self._obey(signals[0])
        elif FAILED in signals and signal not in (STOP, ARM_OVER):
            raise RunError(f"process {signals.index(FAILED)}", "failed; see its own output.")
        return signals

    def _obey(self, signal: int) -> None:
        if signal == STOP:
            self.stopped = True
            raise StoppedError("the main process", "stopped.")
        if signal == ARM_OVER:
            raise ArmDismissedError

    def stop(self) -> None:
        """Stop the other processes wherever they are; later calls do nothing."""
        if self.is_main and not self.stopped:
            self.stopped = True
            self.barrier(STOP)

    def dismiss(self) -> None:
        """Let the other processes leave this arm."""
        if self.is_main and not self.stopped:
            self.barrier(ARM_OVER)

    def broadcast(self, values: Any = None) -> Any:
        """The main process's values (anything JSON can hold), in every process."""
        if self.world_size == 1:
            return values
        self.barrier()
        text = json.dumps(values).encode() if self.is_main else b""
        return json.loads(self._broadcast_bytes(text))

    def all_reduce_sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over the processes; every process calls it with as many numbers."""
        if self.world_size == 1:
            return list(numbers)
        return [float(total) for total in np.sum(self._gather_numbers(numbers), axis=0)]

    def all_reduce_max(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.world_size == 1:
            return number
        return int(max(n for (n,) in self._gather_numbers([number])))

    def all_gather(self, values: Any) -> list[Any]:
        """Every process's values, by rank: an array, arrays by name, or None."""
        from safetensors.numpy import load, save

        if self.world_size == 1:
            return [values]
        unnamed = isinstance(values, np.ndarray)
        named: Mapping[str, Any] = {UNNAMED: values} if unnamed else values or {}
        data = save({k: np.ascontiguousarray(v) for k, v in named.items()}) if named else b""
        by_rank = [load(part) if part else None for part in self._gather_bytes(data)]
        return [arrays.get(UNNAMED, arrays) if arrays else None for arrays in by_rank]

    def broadcast_tensors(self, tensors: "Iterable[torch.Tensor]") -> None:
        """Overwrite these tensors, the same ones in every process, with the main process's."""
        if self.world_size == 1:
            return
        import torch
        import torch.distributed as dist

        self.barrier()
        with torch.no_grad():
            for tensor in tensors:
                buffer = tensor.detach().to(self.device).contiguous()
                dist.broadcast(buffer, 0)
                tensor.copy_(buffer)

    def all_reduce_gradients(self, parameters: "Iterable[torch.Tensor]") -> None:
        """Sum the gradients of these parameters over the processes; a missing one counts as zeros."""
        if self.world_size == 1:
            return
        import torch
        import torch.distributed as dist

        for bucket in _buckets(parameters):
            parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in bucket]
            flat = torch.cat([part.flatten() for part in parts])
            dist.all_reduce(flat)
            for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                if parameter.grad is None:
                    parameter.grad = part.view_as(parameter).clone()
                else:
                    parameter.grad.copy_(part.view_as(parameter))

    def _gather_numbers(self, numbers: Sequence[float]) -> list[list[float]]:
        import torch

        on_mps = self.device is not None and torch.device(self.device).type == "mps"
        device = "cpu" if on_mps else self.device  # mps has no float64
        own = torch.tensor(numbers, dtype=torch.float64, device=device)
        return [tensor.tolist() for tensor in self._gather_tensors(own)]

    def _gather_bytes(self, data: bytes) -> list[bytes]:
        import torch

        lengths = [int(n) for (n,) in self._gather_numbers([len(data)])]
        padded = bytearray(data.ljust(max(1, *lengths), b"\0"))
        own = torch.frombuffer(padded, dtype=torch.uint8).to(self.device)
        gathered = zip(self._gather_tensors(own), lengths, strict=True)
        return [tensor[:length].cpu().numpy().tobytes() for tensor, length in gathered]

    def _gather_tensors(self, own: "torch.Tensor") -> "list[torch.Tensor]":
        import torch
        import torch.distributed as dist

        gathered = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(gathered, own)
        return gathered

    def _broadcast_bytes(self, data: bytes) -> bytes:
        import torch
        import torch.distributed as dist

        length = torch.tensor([len(data)], device=self.device)
        dist.broadcast(length, 0)
        buffer = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.is_main:
            buffer.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(buffer, 0)
        return buffer.cpu().numpy().tobytes()


def _buckets(parameters: "Iterable[torch.Tensor]") -> "list[list[torch.Tensor]]":
    """Group parameters of one dtype and device, about BUCKET_WEIGHTS weights in each group."""
    buckets: list[list[torch.Tensor]] = []
    open_buckets: dict[Any, list[torch.Tensor]] = {}
    for parameter in parameters:
        kind = parameter.dtype, parameter.device
        bucket = open_buckets.get(kind)
        if bucket is None or sum(p.numel() for p in bucket) + parameter.numel() > BUCKET_WEIGHTS:
            bucket = open_buckets[kind] = []
            buckets.append(bucket)
        bucket.append(parameter)
    return buckets


SINGLE_PROCESS = ProcessGroup()
_current = SINGLE_PROCESS


def current_group() -> ProcessGroup:
    """The group of this process; a group of one where no launcher started it."""
    return _current


def launched() -> bool:
    """Whether a launcher started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(device: str) -> ProcessGroup:
    """Join the processes that the launcher started (device: as compute.device), or stay a group of one."""
    global _current
    if launched() and _current is SINGLE_PROCESS:
        end_with_launcher()
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu", timeout=TIMEOUT)
        atexit.register(leave)
        _current = ProcessGroup(state.process_index, state.num_processes, state.device)
    return _current


def leave() -> None:
    """Leave the group; this process is a group of one from here on."""
    global _current
    if _current is not SINGLE_PROCESS:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
    _current = SINGLE_PROCESS
