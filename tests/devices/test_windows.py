"""A study without `resource`, `fcntl`, O_NOFOLLOW, /proc and handles of folders: Windows, pretended."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_a_study_runs_where_windows_differs(tmp_path: Path) -> None:
    values = {"task": "demo", "arms": ["majority", "lexical"], "out": str(tmp_path / "study")}
    program = f"{PRETEND}study = tuneproof.run({values!r})\nprint(study.verdict)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "lexical" in done.stdout
    arm = json.loads((tmp_path / "study" / "arms" / "lexical" / "arm.json").read_text())
    assert arm["status"] == "done"
    assert arm["peaks"]["process"] > 1_000_000
