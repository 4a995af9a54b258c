"""Complete-or-absent writes.

In: a path and content. Out: the whole file, or the file that was there before.
Knows nothing of: what the files mean.

Every operation on the disk first tells `watch` what it is about to do; a test fails or ends the
process there, at each operation in turn.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tuneproof.errors import RunError, TuneproofError

MANIFEST = "MANIFEST.json"
LEFTOVER = re.compile(r".+\.tmp-[0-9a-f]{8}")
ROOM = "Free some room, or name another folder with --out."
TAKEN = "A file stands where a folder is needed: name another folder with --out."
WAYS_OUT = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EEXIST: TAKEN,
    errno.ENOTDIR: TAKEN,
    errno.ENAMETOOLONG: "Name a folder with a shorter path with --out.",
    errno.ENOENT: "The folder is gone: was it moved or removed meanwhile?",
}


def _unwatched(what: str, path: Path) -> None:
    """Nobody watches."""


watch: Callable[[str, Path], None] = _unwatched


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what the operating system says into an error that names the path and the way out."""
    try:
        yield
    except OSError as error:
        do = WAYS_OUT.get(error.errno or 0, "Name another folder with --out.")
        raise RunError(
            str(path),
            f"could not be written: {error.strerror or error}.",
            do=f"{do} What was written before is whole.",
        ) from error


def _sync(path: Path) -> None:
    watch("sync", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(old: Path, new: Path) -> None:
    watch("rename", new)
    os.replace(old, new)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{uuid4().hex[:8]}")


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where missing, readable by its owner alone."""
    path = Path(path)
    with _named(path):
        # mkdir(parents=True) would leave the parents open to everyone
        for parent in [*reversed(path.parents), path]:
            if not parent.is_dir():
                watch("folder", parent)
                parent.mkdir(exist_ok=True, mode=0o700)
    return path


def private(path: str, flags: int) -> int:
    """An opener of files that their owner alone can read."""
    return os.open(path, flags, 0o600)


def write_with(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file beside `path`, then fsync and rename it into place.

    The file can be read by its owner alone, whatever the umask is.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = _beside(path)
    try:
        with _named(path):
            os.close(private(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            write_inside(temporary, write)
            _sync(temporary)
            _rename(temporary, path)
            _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_inside(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a file of a folder that `whole_folder` makes: the folder is synced as a whole."""
    watch("write", path)
    write(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write text as UTF-8; lone surrogates become visible escapes."""
    data = text.encode("utf-8", "backslashreplace")
    return write_with(path, lambda temporary: temporary.write_bytes(data))


def write_json(path: Path, value: Any) -> Path:
    """Write JSON without NaN or infinity (they are not JSON)."""
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in the file.

    Raises: RunError where the file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise RunError(str(path), "is not there.", do="Run the study again.") from None
    except (ValueError, RecursionError) as error:
        raise RunError(str(path), f"is not JSON: {error}.", do="Run the study again.") from None


def sha256_of_file(path: Path) -> str:
    """Hex digest of the file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_sample(path: Path) -> str:
    """Hex digest of the file's length and bytes; of more than 256 MB, 64 KB of every 4 MB."""
    length = path.stat().st_size
    chunk, stride = (1 << 16, 1 << 22) if length > 256_000_000 else (1 << 22, 1 << 22)
    digest = hashlib.sha256(str(length).encode())
    with open(path, "rb") as file:
        for start in range(0, length, stride):
            file.seek(start)
            digest.update(file.read(chunk))
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    """Hex digest of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears complete under its name, with a manifest of checksums, or not at all."""
    path = Path(path)
    make_folder(path.parent)
    temporary = _beside(path)
    try:
        with _named(path):
            watch("folder", temporary)
            temporary.mkdir(mode=0o700)
        try:
            yield temporary
        except TuneproofError:
            raise
        except OSError as error:
            with _named(path):
                raise error
        with _named(path):
            inside = sorted(p for p in temporary.rglob("*") if p.is_file())
            manifest = {str(p.relative_to(temporary)): sha256_of_file(p) for p in inside}
            text = json.dumps(manifest, indent=1)
            write_inside(temporary / MANIFEST, lambda file: file.write_text(text))
            for file in [*inside, temporary / MANIFEST, temporary]:
                file.chmod(0o700 if file.is_dir() else 0o600)
                _sync(file)
            _take_place(temporary, path)
            _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(new: Path, path: Path) -> None:
    """Rename `new` to `path`; the folder that was there goes only when the new one stands."""
    if not path.exists():
        _rename(new, path)
        return
    earlier = _beside(path)
    _rename(path, earlier)
    try:
        _rename(new, path)
    except BaseException:
        os.replace(earlier, path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder of ours: first its name, so that half of it is never taken for the whole."""
    with _named(path):
        gone = _beside(path)
        _rename(path, gone)
        watch("remove", gone)
        shutil.rmtree(gone, ignore_errors=True)


def rename_folder(old: Path, new: Path) -> None:
    """Give a folder another place on the same disk.

    Raises: RunError where the system refuses.
    """
    with _named(new):
        _rename(old, new)
        _sync(new.parent)
        _sync(old.parent)


def set_aside(path: Path, prefix: str) -> Path:
    """Rename a file or folder to `prefix` and its name, with a number where that is taken.

    Nothing is deleted. Returns the new path.
    """
    for number in range(1, 10_000):
        new = path.with_name(f"{prefix}{path.name}{'' if number == 1 else f'-{number}'}")
        if not os.path.lexists(new):
            break
    with _named(path):
        _rename(path, new)
        _sync(path.parent)
    return new


def remove_leftovers(folder: Path) -> None:
    """Remove what writes that a kill cut short left in a folder: only names that `_beside` gives."""
    for path in sorted(folder.glob("*.tmp-*")) if folder.is_dir() else ():
        if LEFTOVER.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


class Appended:
    """A file that grows line by line. What no line end closes was cut off while it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        with _named(path):
            watch("append", path)
            self._file = open(path, "ab", opener=private)  # noqa: SIM115 - closed by `close`

    def write(self, text: str, sync: bool = False) -> None:
        """Append `text`; with `sync` it is on the disk when this returns.

        Raises: RunError where the system refuses.
        """
        with _named(self.path):
            watch("append", self.path)
            self._file.write(text.encode())
            self._file.flush()
            if sync:
                watch("sync", self.path)
                os.fsync(self._file.fileno())

    def close(self, sync: bool = False) -> None:
        """Close it, with `sync` when all of it is on the disk."""
        with _named(self.path):
            if sync:
                watch("sync", self.path)
                os.fsync(self._file.fileno())
            self._file.close()


def check_folder(path: Path) -> None:
    """Compare a folder that `whole_folder` wrote with its manifest.

    Raises: RunError naming the first file that is missing or changed.
    """
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict):
        raise RunError(str(path / MANIFEST), "is not a manifest.", do="Run the arm again.")
    for name, digest in manifest.items():
        file = path / name
        if not file.is_file() or file.is_symlink() or path not in file.parents or ".." in file.parts:
            raise RunError(str(file), "is missing.", do="Run the arm again.")
        if sha256_of_file(file) != digest:
            raise RunError(
                str(file), "is not the file that was saved (checksum differs).", do="Run the arm again."
            )
