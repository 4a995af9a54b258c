"""Checks files in the hub's cache against the checksums that are their names.

In: a snapshot's folder. Out: the files whose content does not match.
Knows nothing of: models, configurations, the network.

Without this, a broken download, a proxy's error page or a flipped bit would stay in use: the hub's
library compares sizes at most.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def find_damaged(snapshot: Path, weights: bool = True) -> list[Path]:
    """Files whose checksum is not the blob's name; without `weights`, no safetensors. Each read once."""
    damaged = []
    for file in sorted(snapshot.rglob("*")):
        if not weights and file.suffix == ".safetensors":
            continue
        if file.is_symlink() and DIGEST.fullmatch(file.resolve().name) and file.is_file():
            status = file.stat()
            if not _is_intact(str(file.resolve()), status.st_size, status.st_mtime_ns):
                damaged.append(file)
    return damaged


@lru_cache(maxsize=4096)
def _is_intact(blob: str, size: int, changed_ns: int) -> bool:
    """Whether the blob's name is its content's SHA-256, or its SHA-1 as git or a mirror computes it."""
    name = Path(blob).name
    with open(blob, "rb") as file:
        if len(name) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest() == name
        plain = hashlib.file_digest(file, "sha1").hexdigest()
        file.seek(0)
        git = hashlib.sha1(b"blob %d\0" % size)
        while chunk := file.read(1 << 20):
            git.update(chunk)
    return name in (plain, git.hexdigest())


def remove_from_cache(files: list[Path]) -> None:
    """Remove damaged files from the cache, so that they are downloaded again."""
    for file in files:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
