"""Writes that are complete or absent.

In: a path and content. Out: the whole file, or the file that was there before.
Knows nothing of: what the files mean.

Every disk operation first calls `before_operation`, so that a test can fail it or kill the process
at each operation in turn.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from tuneproof.errors import RunError, TuneproofError

IS_WINDOWS = os.name == "nt"  # it syncs only what may be written
MANIFEST = "MANIFEST.json"
MAX_DEPTH = 100  # of the lists and objects in a JSON file
LEFTOVER = re.compile(r".+\.tmp-[0-9a-f]{8}")
FREE_SPACE = "Free some space and give the same command again, or name another folder."
RUST_ERROR = re.compile(r"\(os error (\d{1,4})\)")
NOT_A_FOLDER = "A file already has that name; name another folder."
NO_INODES = "No inodes left on the disk, which holds too many files"
ADVICE = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    errno.EEXIST: NOT_A_FOLDER,
    errno.ENOTDIR: NOT_A_FOLDER,
    errno.ELOOP: "It is a link; remove it.",
    errno.ENAMETOOLONG: "Name a folder with a shorter path.",
    errno.ENOENT: "The folder no longer exists; check whether it was moved or removed.",
}


def _ignore(operation: str, path: Path) -> None:
    """The hook outside tests."""


before_operation: Callable[[str, Path], None] = _ignore


def _system_error(error: Exception) -> OSError | None:
    """The operating system's error; a library in Rust (safetensors) ends its message with the number."""
    number = RUST_ERROR.search(str(error))
    if isinstance(error, TuneproofError) or not (number or isinstance(error, OSError)):
        return None
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else error  # type: ignore[return-value]


@contextmanager
def _as_run_error(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names the path and what to do."""
    try:
        yield
    except Exception as error:
        cause = _system_error(error)
        if cause is None:
            raise
        raise write_error(path, cause) from error


def write_error(path: Path, cause: OSError) -> RunError:
    """What the operating system refused, and what to do about it."""
    reason, do = cause.strerror or str(cause), ADVICE.get(cause.errno or 0, "Name another folder.")
    if cause.errno == errno.ENOSPC and _has_no_inodes(path):
        reason, do = NO_INODES, "Remove some, and give the same command again, or name another folder."
    do = f"{do} Files written before are complete."
    return RunError(str(path), f"could not be written: {reason}.", do=do)


def _has_no_inodes(path: Path) -> bool:
    if not hasattr(os, "statvfs"):  # Windows
        return False
    disk = os.statvfs(next(folder for folder in path.absolute().parents if folder.is_dir()))
    return disk.f_files > 0 and disk.f_ffree == 0


def _sync(path: Path) -> None:
    before_operation("sync", path)
    if IS_WINDOWS and path.is_dir():  # there a folder has no handle, and its entries are written at once
        return
    descriptor = os.open(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(old: Path, new: Path) -> None:
    before_operation("rename", new)
    os.replace(old, new)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{uuid4().hex[:8]}")


@contextmanager
def _temporary(path: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside `path`, locked until it is renamed or removed.

    First those that killed processes left of the same path, which nobody has locked, are removed.
    """
    with _as_run_error(path):
        for leftover in _leftovers(path.parent, (path.name,)):
            if (lock := _lock(leftover)) is not None:
                _remove(leftover)
                os.close(lock)
        temporary = _temporary_path(path)
        create(temporary)
        lock = _lock(temporary, wait=True)
        if lock is not None and not temporary.exists():  # another process removed it in between
            create(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)
        if lock is not None:
            os.close(lock)


def _lock(path: Path, wait: bool = False) -> int | None:
    """Lock a file or folder until the descriptor is closed; None where another process has it or none can."""
    if fcntl is None:
        return None
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return descriptor


def make_folder(path: Path) -> Path:
    """Create the folder and its missing parents, readable only by their owner."""
    path = Path(path)
    with _as_run_error(path):
        # mkdir(parents=True) would leave the parents open to everyone
        for parent in [*reversed(path.parents), path]:
            if not parent.is_dir():
                before_operation("folder", parent)
                parent.mkdir(exist_ok=True, mode=0o700)
    return path


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read, not through a link (an `opener` for `open`)."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def write_with(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a temporary file that only its owner can read, fsync it and rename it to `path`."""
    path = Path(path)
    make_folder(path.parent)
    with _temporary(path, _create_file) as temporary, _as_run_error(path):
        write_in_folder(temporary, write)
        _sync(temporary)
        _rename(temporary, path)
        _sync(path.parent)
    return path


def _create_file(path: Path) -> None:
    os.close(open_private(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def write_in_folder(path: Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a file inside an `atomic_folder`, which syncs the file itself."""
    before_operation("write", path)
    write(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write text as UTF-8; lone surrogates become visible escapes."""
    data = text.encode("utf-8", "backslashreplace")
    return write_with(path, lambda temporary: temporary.write_bytes(data))


def write_json(path: Path, value: Any) -> Path:
    """Write JSON without NaN or infinity (they are not JSON)."""
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def load_json(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text. Raises: ValueError if it is none, or nested deeper than a reader follows."""
    try:
        value = json.loads(text, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _values_in(outer)]
        if not level:
            return value
    raise ValueError(f"lists and objects stand in each other more than {MAX_DEPTH} deep")


def _values_in(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_json(path: Path) -> Any:
    """The JSON value in the file. Raises: RunError if the file is missing or not JSON."""
    try:
        return load_json(Path(path).read_text("utf-8"), _refuse_constant)
    except FileNotFoundError:
        raise RunError(str(path), "does not exist.", do="Run the study again.") from None
    except ValueError as error:
        raise RunError(str(path), f"is not JSON: {error}.", do="Run the study again.") from None


def sha256_of_file(path: Path) -> str:
    """Hex digest of the file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_sample(path: Path) -> str:
    """Hex digest of the file's length and bytes; above 256 MB, of 64 KB in every 4 MB."""
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
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name complete, with a manifest of checksums, or not at all."""
    path = Path(path)
    make_folder(path.parent)
    with _temporary(path, _create_folder) as temporary:
        with _as_run_error(path):
            yield temporary
        with _as_run_error(path):
            files = sorted(p for p in temporary.rglob("*") if p.is_file())
            manifest = {str(p.relative_to(temporary)): sha256_of_file(p) for p in files}
            text = json.dumps(manifest, indent=1)
            write_in_folder(temporary / MANIFEST, lambda file: file.write_text(text))
            for file in [*files, temporary / MANIFEST, temporary]:
                file.chmod(0o700 if file.is_dir() else 0o600)
                _sync(file)
            _replace_folder(temporary, path)
            _sync(path.parent)


def _create_folder(path: Path) -> None:
    before_operation("folder", path)
    path.mkdir(mode=0o700)


def _replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`; remove the folder that was there only after that."""
    if not path.exists():
        _rename(new, path)
        return
    earlier = _temporary_path(path)
    _rename(path, earlier)
    try:
        _rename(new, path)
    except BaseException:
        os.replace(earlier, path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder: rename it first, so that no half of it keeps its name."""
    with _as_run_error(path):
        temporary = _temporary_path(path)
        _rename(path, temporary)
        before_operation("remove", temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def rename_folder(old: Path, new: Path) -> None:
    """Move a folder to another path on the same disk. Raises: RunError if the system refuses."""
    with _as_run_error(new):
        _rename(old, new)
        _sync(new.parent)
        _sync(old.parent)


def set_aside(path: Path, prefix: str) -> Path:
    """Rename a file or folder to `prefix` and its name (numbered if that exists); return the new path."""
    for number in range(1, 10_000):
        new = path.with_name(f"{prefix}{path.name}{'' if number == 1 else f'-{number}'}")
        if not os.path.lexists(new):
            break
    with _as_run_error(path):
        _rename(path, new)
        _sync(path.parent)
    return new


def remove_leftovers(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove the temporary files and folders of a killed process from a folder; of `names` only, if given."""
    for path in _leftovers(folder, names):
        _remove(path)


def _leftovers(folder: Path, names: Collection[str] | None) -> list[Path]:
    paths = sorted(folder.glob("*.tmp-*")) if folder.is_dir() else []
    is_ours = {path: names is None or path.name.rpartition(".tmp-")[0] in names for path in paths}
    return [path for path in paths if LEFTOVER.fullmatch(path.name) and is_ours[path]]


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it exists and the system lets us."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


class AppendFile:
    """A file that grows line by line. A last line without its end was cut off while it was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        with _as_run_error(path):
            before_operation("append", path)
            self._file = open(path, "ab", opener=open_private)  # noqa: SIM115 - closed by `close`

    def write(self, text: str, sync: bool = False) -> None:
        """Append `text`; with `sync` it is on the disk on return. Raises: RunError if the system refuses."""
        with _as_run_error(self.path):
            before_operation("append", self.path)
            self._file.write(text.encode())
            self._file.flush()
            if sync:
                before_operation("sync", self.path)
                os.fsync(self._file.fileno())

    def close(self, sync: bool = False) -> None:
        """Close the file; with `sync` all of it is on the disk first."""
        with _as_run_error(self.path):
            if sync:
                before_operation("sync", self.path)
                os.fsync(self._file.fileno())
            self._file.close()


def check_folder(path: Path) -> None:
    """Check a folder against its manifest. Raises: RunError naming a file that is missing or changed."""
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict):
        raise RunError(str(path / MANIFEST), "is not a manifest.", do="Run the arm again.")
    for name, digest in manifest.items():
        file = path / name
        if not file.is_file() or file.is_symlink() or path not in file.parents or ".." in file.parts:
            raise RunError(str(file), "is missing.", do="Run the arm again.")
        if sha256_of_file(file) != digest:
            problem = "has changed since it was saved (checksum differs)."
            raise RunError(str(file), problem, do="Run the arm again.")
