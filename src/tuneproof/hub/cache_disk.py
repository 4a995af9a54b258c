"""Whether the hub's cache could not be written, judging by its client's error.

In: an exception. Out: the error that says what to do, or None. Knows nothing of: models, data sets.
"""

import errno
from pathlib import Path

from tuneproof.atomic import write_error
from tuneproof.errors import RunError
from tuneproof.hub.offline import causes

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
PATH_ERRORS = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG)  # of a socket, too: without path
NO_ROOM = "Not enough disk space"  # how the library of data sets begins it, without a number
DO = (
    "Make room there, or set HF_HOME to another folder, and give the same command again: "
    "what was downloaded whole is used."
)


def cache_write_error(error: BaseException) -> RunError | None:
    """The refusal of a cache that is full or not writable; None where something else failed."""
    from huggingface_hub import constants

    for link in causes(error):
        if isinstance(link, OSError) and _is_of_disk(link):
            number = link.errno or errno.ENOSPC
            refusal = write_error(Path(constants.HF_HUB_CACHE) / "model", OSError(number, _reason(link)))
            return RunError(constants.HF_HUB_CACHE, refusal.problem, do=DO)
    return None


def _is_of_disk(error: OSError) -> bool:
    has_path_error = error.errno in PATH_ERRORS and error.filename is not None
    return error.errno in DISK_ERRORS or has_path_error or str(error).startswith(NO_ROOM)


def _reason(error: OSError) -> str:
    return error.strerror or (str(error).splitlines() or [NO_ROOM])[0].rstrip(".")
