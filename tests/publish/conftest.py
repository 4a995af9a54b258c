"""Studies that run once for all tests of publishing."""

from pathlib import Path

import huggingface_hub.constants as constants
import pytest

from tests.publish import made
from tests.publish.upload_stub import WRITES, Repository, running_hub
from tuneproof.publish import gate


@pytest.fixture(scope="session")
def decoder(tmp_path_factory) -> Path:
    return made.decoder_study(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    return made.encoder_study(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def questions(tmp_path_factory) -> Path:
    return made.question_study(tmp_path_factory.mktemp("questions"))


@pytest.fixture
def quick(monkeypatch) -> None:
    """Run the card's code in this process, where a fresh one is not what is tested."""
    monkeypatch.setattr(gate, "predict_in_fresh_process", made.predict_here)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stub with a base in it, and a token with write access."""
    with running_hub() as running:
        running.repositories["someone/base"] = Repository(False, card={"license": "cc-by-4.0"})
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stub speaks LFS
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", WRITES)
        yield running
