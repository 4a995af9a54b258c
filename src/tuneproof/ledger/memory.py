"""Peak memory of a stretch of work, measured.

In: nothing. Out: bytes. Knows nothing of: what the work was.
"""

import contextlib
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def begin_peak() -> None:
    """Set the process's and the device's high-water marks back to now, where the system allows it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")


def peak_bytes() -> dict[str, int]:
    """Peak resident memory of the process, and of the device's allocator where there is one."""
    peaks = {}
    try:
        line = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmHWM"))
        peaks["process"] = int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        factor = 1 if sys.platform == "darwin" else 1024
        peaks["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peaks["device"] = int(torch.cuda.max_memory_allocated())
    return peaks
