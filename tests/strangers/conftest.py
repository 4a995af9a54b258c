"""What all bad inputs begin with."""

from pathlib import Path

import pytest

from tests.strangers.workspace import workspace
from tests.tiny_models import tiny_model

__all__ = ["workspace"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A whole tiny decoder with a chat template."""
    return tiny_model(tmp_path_factory.mktemp("tiny") / "llama", "llama", chat=True)
