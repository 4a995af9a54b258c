"""Work in a forked process that is killed: after some time, or at one operation on the disk.

In: a piece of work, when to kill. Out: how it ended, and what it did on the disk until then.
Knows nothing of: what the work is.

The forking process has imported everything and computed nothing, so that a child starts at once.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tuneproof import atomic as files

TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Ended:
    """`killed`, or not, with the exit code; `operations` on the disk, (what, path) in order."""

    killed: bool
    code: int
    time_s: float
    operations: list[tuple[str, Path]] = field(default_factory=list)
    error_text: str = ""


def attempt(
    work: Callable[[], None],
    *,
    after_s: float | None = None,
    at: int | None = None,
    where: str = "",
    log: Path | None = None,
) -> Ended:
    """Do the work in a child that gets SIGKILL after `after_s` seconds or at the operation number `at`.

    Operations count from 1 and are those whose path holds `where`. log: a file for what they were.
    """
    started = time.monotonic()
    log = log or Path(f"/tmp/operations-{os.getpid()}")
    log.write_bytes(b"")
    child = os.fork()
    if child == 0:
        _child(work, at, where, log)
    status = None
    while status is None:
        ended_pid, code = os.waitpid(child, os.WNOHANG)
        spent = time.monotonic() - started
        if ended_pid:
            status = code
        elif spent > (TIMEOUT_S if after_s is None else after_s):
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        else:
            time.sleep(0.002)
    lines = [line for line in log.read_text().split("\n") if "\t" in line]
    done = [(operation, Path(path)) for operation, path in (line.split("\t") for line in lines)]
    error_text = "" if not (error := log.with_suffix(".error")).is_file() else error.read_text()
    error.unlink(missing_ok=True)
    log.unlink()
    killed = os.WIFSIGNALED(status)
    code = -os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)
    return Ended(killed, code, time.monotonic() - started, done, error_text)


def _child(work: Callable[[], None], at: int | None, where: str, log: Path) -> None:
    """Never returns."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    seen = 0

    def before_operation(operation: str, path: Path) -> None:
        nonlocal seen
        if where in str(path):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
        os.write(descriptor, f"{operation}\t{path}\n".encode())

    files.before_operation = before_operation
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, sys.stdout.fileno())
        os.dup2(quiet, sys.stderr.fileno())
        work()
    except BaseException:
        log.with_suffix(".error").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def lose_power(ended: Ended) -> int:
    """What a power cut may do after a kill: unsynced contents and names are gone. Returns how many.

    What was written or appended and not synced since is empty; a name that was given and whose folder
    was not synced since is gone.
    """
    open_files: dict[Path, None] = {}
    names: dict[Path, None] = {}
    for operation, path in ended.operations:
        if operation in ("write", "append"):
            open_files[path] = None
        elif operation == "sync":
            open_files.pop(path, None)
            names = {name: None for name in names if name.parent != path}
        elif operation == "rename":
            names[path] = None
    lost = 0
    for path in names:
        if path.exists():
            path.rename(path.with_name(f"{path.name}.tmp-0000{lost:04x}"))
            lost += 1
    for path in open_files:
        if path.is_file():
            os.truncate(path, 0)
            lost += 1
    return lost
