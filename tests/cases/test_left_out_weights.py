"""The given models with experts in one tensor and with an unread contact head: trained, or said."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arms.small import arm_of, small_recipe
from tests.monitoring import run_recorded
from tests.open_model import SHARED

CASES = SHARED / "cases"
pytestmark = pytest.mark.skipif(
    not (CASES / "models-12-moe-experts").is_dir(), reason="the shared cases are not here"
)


@pytest.mark.parametrize(
    ("case", "folder", "method", "note"),
    [
        ("models-12-moe-experts", "qwen2moe", "lora", "Without an adapter: 256 weights (mlp.gate.weight"),
        pytest.param(
            *("models-11-esm-full", "esm", "full", "Not trained: 9 weights (esm.contact_head 9)"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_arm_runs_and_says_what_it_leaves_out(tmp_path, case, folder, method, note) -> None:
    shutil.copyfile(CASES / case / "make.py", tmp_path / "make.py")
    project = {"PROJECT": str(Path(__file__).parents[2]), "PYTHONPATH": str(CASES)}
    subprocess.run(
        [sys.executable, "make.py"], cwd=tmp_path, env=os.environ | project, check=True, capture_output=True
    )
    recipe = small_recipe(tmp_path, [tmp_path / folder], [method])
    run_recorded(recipe)
    about = arm_of(recipe, method)
    assert any(note in sentence for sentence in about["notes"])
