"""Files are complete or absent, whatever fails while they are written."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from tuneproof import atomic as files
from tuneproof.atomic import (
    MANIFEST,
    atomic_folder,
    check_folder,
    make_folder,
    read_json,
    sha256_of_sample,
    write_json,
    write_text,
    write_with,
)
from tuneproof.errors import RunError


def broken(code: int):
    def fail(*given, **named):
        raise OSError(code, os.strerror(code))

    return fail


def listing(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def old(tmp_path):
    """A file and a folder that were there before."""
    write_text(tmp_path / "file.txt", "old")
    with atomic_folder(tmp_path / "folder") as inside:
        (inside / "a.bin").write_bytes(bytes(100))
        (inside / "deep").mkdir()
        (inside / "deep" / "b.bin").write_bytes(b"b" * 10)
    return tmp_path


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_file_is_the_old_one_where_the_system_fails(old, monkeypatch, name) -> None:
    before = listing(old)
    monkeypatch.setattr(files.os, name, broken(errno.EIO))
    with pytest.raises(RunError, match=r"file\.txt: could not be written: Input/output error\."):
        write_text(old / "file.txt", "new")
    monkeypatch.undo()
    assert (old / "file.txt").read_text() == "old"
    assert listing(old) == before


def test_a_full_disk_names_the_path_and_leaves_the_old_file(old) -> None:
    before = listing(old)

    def half(path) -> None:
        path.write_text("half of the new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match="No space left on device") as caught:
        write_with(old / "file.txt", half)
    assert caught.value.exit_code == 1
    assert str(old / "file.txt") in str(caught.value)
    assert (old / "file.txt").read_text() == "old"
    assert listing(old) == before


def test_an_interrupted_write_leaves_the_old_file(old) -> None:
    before = listing(old)

    def stopped(path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(old / "file.txt", stopped)
    assert (old / "file.txt").read_text() == "old"
    assert listing(old) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_is_not_json_is_not_written(tmp_path, value) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", value)
    assert listing(tmp_path) == []


def test_lone_surrogates_become_visible(tmp_path) -> None:
    assert write_text(tmp_path / "a.txt", "a\ud800b").read_text("utf-8") == "a\\ud800b"


def test_a_json_file_is_read_back_or_named(tmp_path) -> None:
    path = write_json(tmp_path / "a.json", {"ä": [1, None, 0.1]})
    assert read_json(path) == {"ä": [1, None, 0.1]}
    path.write_text('{"cut')
    with pytest.raises(RunError, match=r"a\.json: is not JSON"):
        read_json(path)
    with pytest.raises(RunError, match=r"b\.json: does not exist"):
        read_json(tmp_path / "b.json")


def test_a_sample_of_a_file_tells_files_apart(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(5_000_000))
    first = sha256_of_sample(path)
    assert sha256_of_sample(path) == first
    for place in (0, 4_500_000, 4_999_999):
        data = bytearray(5_000_000)
        data[place] = 1
        path.write_bytes(bytes(data))
        assert sha256_of_sample(path) != first
    path.write_bytes(bytes(5_000_001))
    assert sha256_of_sample(path) != first
    with open(path, "wb") as file:
        file.truncate(300_000_000)  # sparse
    large = sha256_of_sample(path)
    with open(path, "r+b") as file:
        file.seek(8 << 22)
        file.write(b"x")
    assert sha256_of_sample(path) != large


def test_a_whole_folder_has_a_manifest_of_every_file(old) -> None:
    manifest = json.loads((old / "folder" / MANIFEST).read_text())
    assert sorted(manifest) == ["a.bin", "deep/b.bin"]
    check_folder(old / "folder")


@pytest.mark.parametrize("name", ["a.bin", "deep/b.bin"])
def test_one_flipped_bit_is_found(old, name) -> None:
    path = old / "folder" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match="checksum differs") as caught:
        check_folder(old / "folder")
    assert name in str(caught.value)


def test_a_missing_file_is_found(old) -> None:
    (old / "folder" / "a.bin").unlink()
    with pytest.raises(RunError, match=r"a\.bin: is missing"):
        check_folder(old / "folder")
    (old / "folder" / MANIFEST).unlink()
    with pytest.raises(RunError, match=r"MANIFEST\.json: does not exist"):
        check_folder(old / "folder")


@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_folder_is_the_old_one_where_the_system_fails(old, monkeypatch, name) -> None:
    before = listing(old)

    def write_new() -> None:
        with atomic_folder(old / "folder") as inside:
            (inside / "c.bin").write_bytes(b"new")

    monkeypatch.setattr(files.os, name, broken(errno.EIO))
    with pytest.raises(RunError, match="could not be written"):
        write_new()
    monkeypatch.undo()
    assert listing(old) == before
    check_folder(old / "folder")


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(old, monkeypatch) -> None:
    before, replace, calls = listing(old), os.replace, []

    def second_fails(source, target) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", second_fails)
    with pytest.raises(RunError, match="could not be written"), atomic_folder(old / "folder"):
        pass
    assert listing(old) == before
    check_folder(old / "folder")


def test_a_folder_is_replaced_whole(old) -> None:
    with atomic_folder(old / "folder") as inside:
        (inside / "c.bin").write_bytes(b"new")
    assert listing(old / "folder") == [MANIFEST, "c.bin"]
    assert listing(old) == ["file.txt", "folder", f"folder/{MANIFEST}", "folder/c.bin"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RunError("x", "y"), KeyboardInterrupt()]
)
def test_a_folder_whose_filling_fails_is_absent(tmp_path, error) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "weights") as inside:
            (inside / "half.bin").write_bytes(b"half")
            raise error

    with pytest.raises(RunError if isinstance(error, OSError) else type(error)):
        fill()
    assert listing(tmp_path) == []


def test_every_new_folder_is_the_owners_alone(tmp_path) -> None:
    old_mask = os.umask(0o022)
    try:
        make_folder(tmp_path / "a" / "b" / "c")
        with atomic_folder(tmp_path / "d" / "e"):
            pass
        write_text(tmp_path / "f" / "g.txt", "")
    finally:
        os.umask(old_mask)
    for folder in ("a", "a/b", "a/b/c", "d", "d/e", "f"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700, folder


def test_a_folder_that_was_there_keeps_its_mode(tmp_path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    make_folder(tmp_path / "shared")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RunError, match="Permission denied"):
        write_text(tmp_path / "locked" / "a.txt", "a")


def test_a_file_in_the_folders_place_is_named(tmp_path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match="taken"):
        make_folder(tmp_path / "taken")
    with pytest.raises(RunError, match="taken"):
        write_text(tmp_path / "taken" / "a.txt", "a")


@pytest.mark.parametrize("kind", ["file.txt", "folder"])
def test_what_a_killed_process_left_is_removed_by_the_next_write_of_that_path_alone(old, kind) -> None:
    def write() -> None:
        if kind == "folder":
            with atomic_folder(old / kind) as inside:
                (inside / "a.bin").write_bytes(b"new")
        else:
            write_text(old / kind, "new")

    child = os.fork()
    if child == 0:  # dies while it writes
        files.before_operation = lambda operation, path: (
            os._exit(9) if operation in ("write", "sync") else None
        )
        write()
    os.waitpid(child, 0)
    (left,) = old.glob(f"{kind}.tmp-*")
    other, named_alike = old / f"{kind}-2.tmp-0123abcd", old / f"{kind}.tmp-mine"
    other.write_text("other's")
    named_alike.write_text("not ours")
    write()
    assert not left.exists()
    assert other.exists()
    assert named_alike.exists()


def test_what_another_process_still_writes_stays(old) -> None:
    code = (
        "import sys, pathlib; from tuneproof.atomic import write_with\n"
        "def wait(path):\n"
        "    print('writing', flush=True); sys.stdin.readline(); path.write_text('first')\n"
        f"write_with(pathlib.Path({str(old / 'file.txt')!r}), wait)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "writing\n"
        write_text(old / "file.txt", "second")
        assert len(list(old.glob("file.txt.tmp-*"))) == 1
        other.communicate("\n")
    assert other.returncode == 0
    assert (old / "file.txt").read_text() == "first"
    assert not list(old.glob("file.txt.tmp-*"))
