"""The hub's cache is what its names say, or is fetched again."""

import hashlib
from pathlib import Path

import pytest

from tuneproof.hub.verify_cache import find_damaged, remove_from_cache

DATA = b"weights" * 1000
NAMES = {
    "sha256": hashlib.sha256(DATA).hexdigest(),
    "git": hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest(),
    "sha1": hashlib.sha1(DATA).hexdigest(),
}


def snapshot(folder: Path, name: str, data: bytes) -> Path:
    """A snapshot of one file, whose blob has this name."""
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "blobs" / name).write_bytes(data)
    (folder / "snapshots" / "abc" / "model.safetensors").symlink_to(f"../../blobs/{name}")
    return folder / "snapshots" / "abc"


@pytest.mark.parametrize("kind", NAMES)
def test_a_blob_under_its_checksum_is_whole(tmp_path, kind):
    assert find_damaged(snapshot(tmp_path, NAMES[kind], DATA)) == []


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("data", [DATA[:-1], DATA[:-1] + b"x", b"", b"<!doctype html>"])
def test_another_content_is_found_and_dropped(tmp_path, kind, data):
    place = snapshot(tmp_path, NAMES[kind], data)
    found = find_damaged(place)
    assert [file.name for file in found] == ["model.safetensors"]
    remove_from_cache(found)
    assert list(place.iterdir()) == []
    assert list((tmp_path / "blobs").iterdir()) == []


def test_weights_are_read_only_where_they_are_asked_for(tmp_path):
    assert find_damaged(snapshot(tmp_path, NAMES["sha256"], b""), weights=False) == []


def test_a_blob_that_changes_is_looked_at_again(tmp_path):
    place = snapshot(tmp_path, NAMES["sha256"], DATA)
    assert find_damaged(place) == []
    (tmp_path / "blobs" / NAMES["sha256"]).write_bytes(DATA + b"x")
    assert len(find_damaged(place)) == 1


def test_names_that_are_no_checksums_say_nothing(tmp_path):
    assert find_damaged(snapshot(tmp_path, "W-etag-of-a-mirror", b"anything")) == []
