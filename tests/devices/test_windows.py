"""A study without `resource`, `fcntl`, O_NOFOLLOW, /proc and handles of folders: Windows, pretended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PRETEND = """
import fcntl, os, sys
import filelock, psutil  # theirs are other modules on Windows
flags, real_open, real_sync = fcntl.fcntl, os.open, os.fsync

def open_file(path, *rest, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return real_open(path, *rest, **named)

def sync(descriptor):
    if flags(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    real_sync(descriptor)

os.open, os.fsync = open_file, sync
del os.O_NOFOLLOW
sys.modules["resource"] = sys.modules["fcntl"] = None
import tuneproof
from pathlib import Path
from tuneproof import atomic
from tuneproof.memory import usage
assert atomic.fcntl is None and usage.resource is None
atomic.IS_WINDOWS, usage.STATUS = True, Path("no such file")
"""


SMALL = {
    "task": "demo",
    "models": ["demo"],
    "seeds": [0],
    "split": {"train_size": 12, "dev_size": 8, "test_size": 8},
    "train": {"epochs": 1, "batch_size": 6, "min_steps": 0},
    "predict": {"timing_s": 0},
    "encode": {"max_length": 64},
    "compute": {"device": "cpu", "threads": 1},
}


@pytest.mark.parametrize("trained", [pytest.param("lora", marks=pytest.mark.slow), ""])
def test_a_study_and_its_commands_run_where_windows_differs(tmp_path: Path, trained: str) -> None:
    arms = ["majority", "lexical", *filter(None, [trained])]
    values = {**SMALL, "arms": arms, "out": str(tmp_path / "study")}
    program = (
        f"{PRETEND}study = tuneproof.run({values!r})\nprint(study.verdict)\n"
        "[getattr(tuneproof, name) for name in tuneproof.__all__]\n"
        "from tuneproof.cli.main import main\n"
        f"commands = ['show', 'lora'], ['show', 'settings'], ['report', {values['out']!r}]\n"
        "assert [main(command) for command in commands] == [0, 0, 0]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert arms[-1] in done.stdout.splitlines()[0]
    assert "report.html" in done.stdout
    for name in arms:
        (file,) = (tmp_path / "study" / "arms").glob(f"*{name}*/arm.json")
        arm = json.loads(file.read_text())
        assert arm["status"] == "done"
        assert arm["peaks"]["process"] > 1_000_000
