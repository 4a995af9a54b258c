"""One process a study: a lock on its directory that dies with its holder.

In: a study's directory. Out: the lock held, or an error that names who holds it.
Knows nothing of: what is done under it.
"""

import errno
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from tuneproof.atomic import make_folder
from tuneproof.errors import RunError

try:
    import fcntl
except ImportError:  # not POSIX: there is no such lock
    fcntl = None  # type: ignore[assignment]

LOCK = "study.lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class StudyLock:
    """A context in which no other process works in the study's directory.

    `take` may come as soon as the directory may be made. The system gives the lock back when its holder
    dies, however it dies; what it wrote into the file is then read by nobody.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / LOCK
        self.unguarded = fcntl is None
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock; again is nothing. `unguarded` is true where the file system keeps no locks.

        Raises: RunError naming the process, its host and since when, where another one holds it, or
        where the file cannot be opened.
        """
        if self._descriptor is not None or self.unguarded:
            return
        make_folder(self.path.parent)
        while self._descriptor is None:
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise RunError(
                    str(self.path.parent),
                    f"is in use by {holder}.",
                    do="Wait for it, or name another folder with --out.",
                ) from None
            except OSError as error:
                os.close(descriptor)
                self.path.unlink(missing_ok=True)
                if error.errno not in NO_LOCKS:
                    raise
                self.unguarded = True
                return
            if _is(descriptor, self.path):
                self._descriptor = descriptor
            else:  # its last holder removed the name in between
                os.close(descriptor)
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(about).encode(), 0)

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RunError(
                str(self.path),
                f"could not be opened: {error.strerror}.",
                do="Remove it if it is not a file, or name another folder with --out.",
            ) from error

    def check(self) -> None:
        """Whether the directory is still there and ours.

        Raises: RunError where it was moved or removed meanwhile.
        """
        if self._descriptor is not None and not _is(self._descriptor, self.path):
            raise RunError(
                str(self.path.parent),
                "was moved or removed while the study ran.",
                do="Put it back, or run the study again.",
            )

    def give_back(self) -> None:
        """Remove the file and let the next one in."""
        if self._descriptor is None:
            return
        if _is(self._descriptor, self.path):
            self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> "StudyLock":
        if self.path.parent.is_dir():
            self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def _holder(descriptor: int) -> str:
    try:
        about: Any = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(about['pid'])} on {about['host']} since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process that has just begun"
