"""Several processes that carry out one arm together: who one is, and what they tell each other.

In: the environment of a launcher (torchrun, accelerate launch). Out: the same values in every process.
Knows nothing of: what is computed, files.

The first process leads: it reads and writes the study's files and decides; the others follow. Before every
exchange they meet, so that a leader who stops, or whose arm is over, is heard wherever the others are.
What is sent is JSON or arrays, never objects.
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

if TYPE_CHECKING:
    import torch

GO_ON, FULL, STOP, OVER, FAILED = range(5)
PATIENCE = timedelta(hours=2)  # a leader fits a head, or renders, while the others wait
BUCKET = 1 << 24  # gradients that are summed at once
VALUES = "values"


class DismissedError(Exception):
    """The leader's arm is over; nothing is wrong here."""


@dataclass
class Team:
    """`size` processes; this one is `rank`, 0 the leader. broken: nobody is listening any more."""

    rank: int = 0
    size: int = 1
    device: Any = None
    broken: bool = False
    stopped: bool = False

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def meet(self, word: int = GO_ON) -> list[int]:
        """Wait for the others and hear their words, by rank.

        Raises: in a follower StoppedError and DismissedError, by the leader's word; in the leader
        RunError where another one failed.
        """
        if self.size == 1 or self.broken:
            return [word]
        words = [int(n) for (n,) in self._everyones([word])]
        if not self.leads and words[0] == STOP:
            self.stopped = True
            raise StoppedError("the leading process", "stopped.")
        if not self.leads and words[0] == OVER:
            raise DismissedError
        if self.leads and FAILED in words and word not in (STOP, OVER):
            raise RunError(f"process {words.index(FAILED)}", "failed; what it said stands in its own output.")
        return words

    def stop(self) -> None:
        """Let the others stop where they are; said once."""
        if self.leads and not self.stopped:
            self.stopped = True
            self.meet(STOP)

    def over(self) -> None:
        """Let the others leave this arm."""
        if self.leads and not self.stopped:
            self.meet(OVER)

    def say(self, values: Any = None) -> Any:
        """The leader's values (as JSON takes them), in every process."""
        if self.size == 1:
            return values
        self.meet()
        text = json.dumps(values).encode() if self.leads else b""
        return json.loads(self._from_leader(text))

    def totals(self, numbers: Sequence[float]) -> list[float]:
        """Sums over the processes, of numbers that all have at this moment."""
        if self.size == 1:
            return list(numbers)
        return [float(total) for total in np.sum(self._everyones(numbers), axis=0)]

    def most(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.size == 1:
            return number
        return int(max(n for (n,) in self._everyones([number])))

    def gather(self, found: Any) -> list[Any]:
        """What every process found, by rank: an array, arrays by name, or None."""
        from safetensors.numpy import load, save

        if self.size == 1:
            return [found]
        named = found if isinstance(found, Mapping) else {} if found is None else {VALUES: found}
        sent = save({k: np.ascontiguousarray(v) for k, v in named.items()}) if named else b""
        got = [load(text) if text else None for text in self._everyones_bytes(sent)]
        plain = isinstance(found, np.ndarray) or (found is None and got[0] and VALUES in got[0])
        return [None if one is None else one[VALUES] if plain else one for one in got]

    def copy_from_leader(self, tensors: "Iterable[torch.Tensor]") -> None:
        """Overwrite these tensors, the same ones in every process, with the leader's."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        self.meet()
        with torch.no_grad():
            for tensor in tensors:
                sent = tensor.detach().to(self.device).contiguous()
                dist.broadcast(sent, 0)
                tensor.copy_(sent)

    def sum_gradients(self, parameters: "Iterable[torch.Tensor]") -> None:
        """Add up the gradients of these parameters over the processes; none counts as zeros."""
        if self.size == 1:
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

    def _everyones(self, numbers: Sequence[float]) -> list[list[float]]:
        import torch
        import torch.distributed as dist

        mine = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        got = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(got, mine)
        return [one.tolist() for one in got]

    def _everyones_bytes(self, sent: bytes) -> list[bytes]:
        import torch
        import torch.distributed as dist

        lengths = [int(n) for (n,) in self._everyones([len(sent)])]
        mine = torch.zeros(max(1, *lengths), dtype=torch.uint8, device=self.device)
        if sent:
            mine[: len(sent)] = torch.frombuffer(bytearray(sent), dtype=torch.uint8).to(self.device)
        got = [torch.empty_like(mine) for _ in lengths]
        dist.all_gather(got, mine)
        return [one[:length].cpu().numpy().tobytes() for one, length in zip(got, lengths, strict=True)]

    def _from_leader(self, text: bytes) -> bytes:
        import torch
        import torch.distributed as dist

        length = torch.tensor([len(text)], device=self.device)
        dist.broadcast(length, 0)
        sent = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.leads:
            sent.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(sent, 0)
        return sent.cpu().numpy().tobytes()


def _buckets(parameters: "Iterable[torch.Tensor]") -> "list[list[torch.Tensor]]":
    """Parameters of one kind, about BUCKET weights together."""
    buckets: list[list[torch.Tensor]] = []
    room: dict[Any, list[torch.Tensor]] = {}
    for parameter in parameters:
        kind = parameter.dtype, parameter.device
        bucket = room.get(kind)
        if bucket is None or sum(p.numel() for p in bucket) + parameter.numel() > BUCKET:
            bucket = room[kind] = []
            buckets.append(bucket)
        bucket.append(parameter)
    return buckets


ALONE = Team()
_present = ALONE


def present() -> Team:
    """The team of this process; one alone where no launcher started it."""
    return _present


def launched() -> bool:
    """Whether a launcher started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(device: str) -> Team:
    """Join the processes that the launcher started; alone without one. `device`: as compute.device."""
    global _present
    if launched() and _present is ALONE:
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
        atexit.register(leave)
        _present = Team(state.process_index, state.num_processes, state.device)
    return _present


def leave() -> None:
    """End the team; this process is alone from here on."""
    global _present
    if _present is not ALONE:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
    _present = ALONE
