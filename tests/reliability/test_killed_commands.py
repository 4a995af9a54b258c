"""Commands, and studies in several processes, that are killed and given again (R3, R21)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.killed_commands import COMMANDS, LAUNCHERS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="orphans are found as Linux has them")
@pytest.mark.parametrize("name", [*COMMANDS, *LAUNCHERS])
def test_r03_r21_twenty_kills_of_a_command_leave_nothing_and_change_nothing(tmp_path, name) -> None:
    if name == "ray":
        pytest.importorskip("ray", reason="the extra ray is not installed")
    file = tmp_path / "counts.json"
    command = [sys.executable, "-m", "benchmarks", "commands", "--only", name, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.is_file(), done.stdout + done.stderr
    (count,) = json.loads(file.read_text()).values()
    assert not count["wrong"], count["wrong"]
    assert count["kills"] >= 20
    assert count["trials"] == count["recovered"] == count["identical"]
