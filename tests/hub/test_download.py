"""Models from the hub, against a stub of its API on this machine."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_stub import running_hub
from tests.tiny_models import tiny_model


def tuneproof(hub_url: str, home: Path, *words: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", "tuneproof", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    (root / "tiny").mkdir()
    tiny_model(root / "tiny" / "llama", "llama")
    return root


@pytest.fixture
def reviews(tmp_path):
    file = tmp_path / "reviews.csv"
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for place in range(60):
            how = "great" if place % 2 else "bad"
            writer.writerow([f"the film number {place} was {how}", how])
    return file


def quick(reviews: Path, model: str, out: Path) -> list[str]:
    return [
        str(reviews),
        "--text",
        "text",
        "--label",
        "label",
        "--models",
        model,
        "--arms",
        "majority,zero-shot,head",
        "--out",
        str(out),
        "--set",
        "predict.timing_s=0",
    ]


def test_a_hub_model_is_counted_without_its_weights(served, tmp_path):
    with running_hub(served) as hub:
        done = tuneproof(hub.url, tmp_path / "home", "count", "tiny/llama", "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert json.loads(done.stdout)["architecture"]["num_layers"] == 2
        assert any("config.json" in line for line in hub.asked)
        assert not any("safetensors" in line and "resolve" in line for line in hub.asked)


def test_a_hub_model_is_checked_without_its_weights_and_run_from_them(served, reviews, tmp_path):
    home = tmp_path / "home"
    with running_hub(served) as hub:
        checked = tuneproof(hub.url, home, "check", *quick(reviews, "tiny/llama", tmp_path / "s"))
        assert checked.returncode == 0, checked.stderr
        assert not list(home.rglob("model.safetensors")), "check fetched the weights"
        ran = tuneproof(hub.url, home, "run", *quick(reviews, "tiny/llama", tmp_path / "s"))
        assert ran.returncode == 0, ran.stderr
        assert list(home.rglob("model.safetensors"))
        assert not any(".bin" in line for line in hub.asked)
    assert (tmp_path / "s" / "report.html").is_file()


def test_a_model_that_the_hub_does_not_have_is_named(served, reviews, tmp_path):
    with running_hub(served) as hub:
        words = "check", "--no-cost", *quick(reviews, "tiny/nothing", tmp_path / "s")
        done = tuneproof(hub.url, tmp_path / "home", *words)
    assert done.returncode == 2
    assert "tiny/nothing: the hub has no such model" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_hub_the_error_says_what_to_do(reviews, tmp_path):
    words = "check", "--no-cost", *quick(reviews, "tiny/llama", tmp_path / "s")
    done = tuneproof("http://127.0.0.1:9", tmp_path / "home", *words)
    assert done.returncode == 2
    assert "could not be downloaded" in done.stderr
    assert "name a folder that holds the model" in done.stderr
    assert "Traceback" not in done.stderr
