"""RoBERTa's positions are counted as in the checkpoint whatever its tokenizer pads with."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.open_model import SHARED, open_model

CASE = SHARED / "cases" / "models-02-roberta-pad-id"
pytestmark = pytest.mark.skipif(not CASE.is_dir(), reason="the shared cases are not here")


def test_the_padding_index_is_the_checkpoints(tmp_path) -> None:
    folder = tmp_path / "case"
    shutil.copytree(CASE, folder)
    shutil.copyfile(CASE.parent / "sst160.csv", tmp_path / "sst160.csv")
    subprocess.run([sys.executable, "make.py"], cwd=folder, check=True, capture_output=True)
    opened = open_model(folder / "rob-a", "base")
    assert json.loads((folder / "rob-a" / "config.json").read_text())["pad_token_id"] == 1
    assert opened.model.embeddings.padding_idx == opened.model.config.pad_token_id == 1
    assert opened.tokenizer.pad_token_id == 0
