"""One of several processes without the others: what it holds, not what it computes.

In: a number of processes. Out: a process group whose exchanges return at once and move nothing.
Knows nothing of: models, steps, memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuneproof.errors import RunError


@contextmanager
def fake_processes(count: int) -> Iterator[Any]:
    """Within the context this process is the first of `count`; the value is their mesh, None of one.

    For fake tensors alone: on real ones every sum and every gathered weight would be wrong.
    Raises: RunError where this process belongs to a real group.
    Source: torch.distributed._tools.fsdp2_mem_tracker, which simulates FSDP2 in this way.
    """
    if count == 1:
        yield None
        return
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    if dist.is_initialized():
        problem = "this process belongs to a group of processes, so that it cannot simulate another one."
        raise RunError("memory", problem, do="Start `tuneproof memory` without a launcher.")
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield init_device_mesh("cpu", (count,))
    finally:
        dist.destroy_process_group()
