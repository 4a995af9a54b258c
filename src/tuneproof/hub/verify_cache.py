"""What the hub's cache holds, against the checksums under which it holds it.

In: a snapshot's folder. Out: the files that are not what their names say.
Knows nothing of: models, configurations, the network.

A download that broke, a page of a proxy in the place of weights, or a flipped bit would otherwise be
used for ever: the hub's library compares sizes at most.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def damaged(snapshot: Path, weights: bool = True) -> list[Path]:
    """The snapshot's files whose content has another checksum than the blob's name.

    Without `weights` the large files are left alone. A file is read once a process.
    """
    found = []
    for file in sorted(snapshot.rglob("*")):
        if not weights and file.suffix == ".safetensors":
            continue
        if file.is_symlink() and DIGEST.fullmatch(file.resolve().name) and file.is_file():
            facts = file.stat()
            if not _is_whole(str(file.resolve()), facts.st_size, facts.st_mtime_ns):
                found.append(file)
    return found


@lru_cache(maxsize=4096)
def _is_whole(blob: str, size: int, changed_ns: int) -> bool:
    """Whether the content's SHA-256, or SHA-1 as git or a mirror counts it, is the blob's name."""
    name = Path(blob).name
    with open(blob, "rb") as file:
        if len(name) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest() == name
        plain = hashlib.file_digest(file, "sha1").hexdigest()
        file.seek(0)
        git = hashlib.sha1(b"blob %d\0" % size)
        while part := file.read(1 << 20):
            git.update(part)
    return name in (plain, git.hexdigest())


def drop(files: list[Path]) -> None:
    """Take damaged files out of the cache, so that they are fetched again."""
    for file in files:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
