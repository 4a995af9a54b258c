"""Bad input 44: a hub, or a proxy before it, that sends something else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_stub import running_hub
from tests.strangers.workspace import OWN, Workspace
from tests.tiny_models import tiny_model


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    tiny_model(root / "evil" / "llama", "llama")
    return root


def asked(workspace: Workspace, url: str, *words: str, arms: str = "head") -> subprocess.CompletedProcess:
    """The program in a process of its own, with this hub and an empty cache."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": url,
        "HF_HOME": str(workspace / "home"),
        "HF_TOKEN": "hf_abcdefghijklmnopqrstuvwxyz",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DOWNLOAD_TIMEOUT": "5",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "tuneproof", *words, *OWN, "--models", "evil/llama", "--arms", arms],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        pytest.param("config.json", "html", marks=pytest.mark.slow),
        pytest.param("config.json", "503", marks=pytest.mark.slow),  # the hub is asked for half a minute
        pytest.param("config.json", "file:///etc/passwd", marks=pytest.mark.slow),
        ("model.safetensors", "html"),
        pytest.param("model.safetensors", "twin", marks=pytest.mark.slow),
        pytest.param("model.safetensors", "short", marks=pytest.mark.slow),
        pytest.param("tokenizer.json", "twin", marks=pytest.mark.slow),
    ],
)
def test_44_what_the_hub_did_not_announce_is_not_used(workspace: Workspace, served, file, wrong):
    run = ["run", "--quiet", "--out", "study", "--set", "predict.timing_s=0"]
    words = run if file == "model.safetensors" else ["check", "--no-cost"]
    with running_hub(served) as hub:
        hub.spoil[file] = wrong
        done = asked(workspace, hub.url, *words)
        assert done.returncode in (1, 2), done.stdout
        assert "Traceback" not in done.stderr
        assert "hf_abcdef" not in done.stdout + done.stderr
        assert "evil/llama" in done.stderr
        hub.spoil.clear()
        again = asked(workspace, hub.url, *words)
        assert again.returncode == 0, again.stderr  # nothing wrong stayed in the cache


@pytest.mark.slow
def test_44_a_blob_that_rots_in_the_cache_is_fetched_again(workspace: Workspace, served):
    with running_hub(served) as hub:
        assert asked(workspace, hub.url, "run", "--quiet", "--out", "study").returncode == 0
        blob = next((workspace / "home").rglob("model.safetensors")).resolve()
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(bytes(data))
        hub.asked.clear()
        done = asked(workspace, hub.url, "run", "--quiet", "--out", "other")
        assert done.returncode == 0, done.stderr
        assert any("model.safetensors" in line and "GET" in line for line in hub.asked)
