"""One cache of the hub's files: on a disk that fills, and for several processes of which one is killed."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from tests.hub_stub import Hub, running_hub
from tests.reliability.test_full_disk import disk  # noqa: F401  a fixture
from tests.tiny_models import tiny_model
from tuneproof.errors import ModelError, RunError
from tuneproof.families.models import resolve_model
from tuneproof.hub.download import download_model

DOWNLOAD = """
from tuneproof.errors import TuneproofError
from tuneproof.families.models import resolve_model
from tuneproof.hub.download import download_model
try:
    print(download_model(resolve_model("tiny/llama"), True))
except TuneproofError as error:
    print(error)
"""
DO = "or set HF_HOME to another folder, and give the same command again: what was downloaded whole is used."


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    tiny_model(root / "tiny" / "llama", "llama")
    return root


def start(hub: Hub, home: Path) -> subprocess.Popen:
    """A process that downloads the model into this cache, or prints the error."""
    about = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **about},
    )


def last_line(process: subprocess.Popen) -> str:
    return process.communicate(timeout=60)[0].strip().splitlines()[-1]


def is_whole(folder: str, served: Path) -> bool:
    wanted = {file.name: file.read_bytes() for file in (served / "tiny" / "llama").iterdir()}
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()} == wanted


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "could not be written: No space left on device."),
        (errno.EDQUOT, "could not be written: Disk quota exceeded."),
        (errno.EROFS, "could not be written: Read-only file system."),
    ],
)
def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(monkeypatch, number, reason) -> None:
    def fail(*_names, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(RunError) as caught:
        download_model(resolve_model("tiny/llama"), True)
    assert reason in str(caught.value)
    assert str(caught.value).endswith(DO)


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EACCES, errno.EPERM])
def test_a_network_that_refuses_is_no_disk_that_is_full(monkeypatch, number) -> None:
    def fail(*_names, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match="Connect to the network"):
        download_model(resolve_model("tiny/llama"), True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["size=16k", "size=100k", "size=20m,nr_inodes=6", "size=20m,nr_inodes=20"]
)
def test_a_disk_that_fills_while_a_model_is_downloaded_keeps_no_half_file(served, disk, options) -> None:  # noqa: F811
    home = disk(options)
    with running_hub(served) as hub:
        line = last_line(start(hub, home))
        assert line.startswith(f"{home}/hub: could not be written: No ")
        assert line.endswith(DO)
        disk("size=20m,nr_inodes=1000")
        assert is_whole(last_line(start(hub, home)), served)


def test_two_processes_share_a_cache_though_one_is_killed_in_the_middle(served, tmp_path) -> None:
    with running_hub(served) as hub:
        hub.spoil["model.safetensors"] = "halt"
        first = start(hub, tmp_path)
        assert hub.halted.wait(60)
        second = start(hub, tmp_path)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        del hub.spoil["model.safetensors"]
        assert is_whole(last_line(second), served)
        assert is_whole(last_line(start(hub, tmp_path)), served)


def test_a_download_that_was_killed_is_not_read_as_whole_without_a_network(served, tmp_path) -> None:
    with running_hub(served) as hub:
        hub.spoil["model.safetensors"] = "halt"
        first = start(hub, tmp_path)
        assert hub.halted.wait(60)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        hub.spoil.clear()
    assert "could not be downloaded" in last_line(start(Hub("http://127.0.0.1:9"), tmp_path))
