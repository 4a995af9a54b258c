"""One process per study: a lock on its folder that dies with its holder.

In: a study's folder. Out: the lock held, or an error that names its holder. Knows nothing of: the work done
under it.
"""

import errno
import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from filelock import FileLock, Timeout

from tuneproof.atomic import make_folder, write_error
from tuneproof.errors import RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "study.lock"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
WAIT_S = 0.2  # outlasts a holder that removes the file at this moment
CLOCK_S = 2  # by which two readings of when a process started may differ


class StudyLock:
    """A context in which no other process works in the study's folder.

    `take` may come as soon as the folder may be made. The system releases the lock when its holder dies; a
    stale file is taken over. `unguarded` is true where the file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / LOCK
        self.unguarded = False
        self._lock = FileLock(self.path, WAIT_S, 0o600, thread_local=False, fallback_to_soft=False)
        self._stat: os.stat_result | None = None  # of the file while we hold it

    def take(self) -> None:
        """Take the lock; without effect when it is held already.

        Raises: RunError naming the process that holds it, or where the file cannot be locked.
        """
        if self._stat is not None or self.unguarded:
            return
        make_folder(self.path.parent)
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(
                str(self.path.parent),
                f"is in use by {self._holder()}.",
                do="Wait for it, or name another folder with --out.",
            ) from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                self.path.unlink(missing_ok=True)
                self.unguarded = True
                return
            if error.errno in NO_ROOM:
                raise write_error(self.path, error) from error
            raise RunError(
                str(self.path),
                f"cannot be locked: {error.strerror}.",
                do="Remove it if it is not a file, or name another folder with --out.",
            ) from error
        self._stat = os.stat(self.path, follow_symlinks=False)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "started": round(psutil.Process().create_time(), 1),
        }
        with suppress(OSError):  # a full disk is reported where it stops the study
            self.path.write_text(json.dumps(holder))

    def check(self) -> None:
        """Raises: RunError where the folder was moved or removed while the study ran."""
        if self._stat is not None and not self._is_ours():
            raise RunError(
                str(self.path.parent),
                "was moved or removed while the study ran.",
                do="Put it back, or run the study again.",
            )

    def release(self) -> None:
        """Remove the file and let the next process in."""
        if self._stat is None:
            return
        if self._is_ours():
            with suppress(OSError):  # Windows keeps the name of an open file, a read-only disk every name
                self.path.unlink()
        self._lock.release()
        self._stat = None

    def __enter__(self) -> "StudyLock":
        if self.path.parent.is_dir():
            self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_ours(self) -> bool:
        """Whether the file of that name is still the one that we locked."""
        try:
            return self._stat is not None and os.path.samestat(
                os.stat(self.path, follow_symlinks=False), self._stat
            )
        except OSError:
            return False

    def _holder(self) -> str:
        if not (holder := lock_holder(self.path.parent)):
            return "another process that has just begun"
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"


def lock_holder(folder: Path) -> dict[str, Any]:
    """pid, host, since and started of the process that holds or held the lock; empty where none can be read.

    started: seconds since 1970; None in a lock of an older version.
    """
    try:
        holder = json.loads((folder / LOCK).read_bytes()[:4096])
        started = holder.get("started")
        return {
            "pid": int(holder["pid"]),
            "host": str(holder["host"]),
            "since": str(holder["since"]),
            "started": None if started is None else float(started),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def is_held(folder: Path) -> bool:
    """Whether a process works in the study's folder; of another machine, whether one says so."""
    holder = lock_holder(folder)
    if not holder or holder["host"] != socket.gethostname():
        return bool(holder)
    is_alive = process_started_at(holder["pid"], holder["started"]) is not None
    return is_alive and (holder["started"] is not None or _is_locked(folder / LOCK))


def process_started_at(pid: int, started: float | None) -> psutil.Process | None:
    """The process of that number, unless it ended or, where `started` is known, began at another time."""
    try:
        process = psutil.Process(pid)
        is_same = started is None or abs(process.create_time() - started) <= CLOCK_S
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, ValueError, OverflowError):
        return None


def _is_locked(path: Path) -> bool:
    """Whether a process has locked the file."""
    if fcntl is None:
        return True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # closing releases it
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
