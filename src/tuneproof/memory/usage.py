"""Free memory, and the measured peak of a stretch of work.

In: nothing. Out: bytes. Knows nothing of: the work.
"""

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
CGROUP = Path("/sys/fs/cgroup")
LARGE_BLOCK = 1 << 20
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


def return_freed_blocks() -> bool:
    """Make the C library return blocks of 1 MiB and more to the system as soon as they are freed.

    glibc raises that threshold to up to 32 MiB by itself, and then keeps freed tensors in a heap with
    gaps between them: a step on a CPU peaked at 1.5 to 1.8 times what its tensors took, against 1.02
    with a fixed threshold, which costs a tenth of the time in fresh pages (benchmarks/RESULTS.md).
    False if the C library is another one.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK))
    except (AttributeError, OSError, TypeError):
        return False


def free_bytes(device: str) -> int:
    """Memory that an arm may use: free on the GPU, or available to this process on a CPU."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # "max" if the container has no limit
        limit = int((CGROUP / "memory.max").read_text())
        free = min(free, limit - int((CGROUP / "memory.current").read_text()))
    return free


def resident_bytes() -> int:
    """Resident memory of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def reset_peak(device: str = "cpu") -> None:
    """Reset the high-water marks of the process and of a device (its type), if the system allows it.

    First it frees what earlier work has left, so that later work cannot reuse it unseen.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")


def _peak_of_process() -> int:
    """The peak where there is no /proc: by getrusage, or of Windows' own counter."""
    if resource is None:
        import psutil

        info = psutil.Process().memory_info()
        return int(getattr(info, "peak_wset", info.rss))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_bytes(device: str = "cpu") -> dict[str, int]:
    """Peak resident memory of the process, and the peak of the allocator if the device (its type) is cuda.

    What does not compute on the GPU has no peak there: the allocator may hold what earlier work has left.
    """
    peaks = {}
    try:
        line = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmHWM"))
        peaks["process"] = int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        peaks["process"] = _peak_of_process()
    if device == "cuda":
        import torch

        peaks["device"] = int(torch.cuda.max_memory_allocated())
    return peaks
