"""How a study was produced: versions, hardware, git state, the command.

In: the command. Out: plain values for provenance.json. Knows nothing of: models, data, secrets.
"""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tuneproof.record.study_folder import FORMAT
from tuneproof.redact import redact

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "accelerate", "datasets")
_STATISTICS = ("safetensors", "numpy", "scipy", "scikit-learn", "pyarrow", "sacrebleu", "rouge-score", "nltk")
PACKAGES = ("tuneproof", *_LIBRARIES, *_STATISTICS)


@cache
def versions() -> dict[str, str]:
    """Installed versions of the packages that a result depends on."""
    installed = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit and whether there are uncommitted changes; None outside a checkout."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(folder), *arguments]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "changed": bool(git("status", "--porcelain"))} if commit else None


def hardware() -> dict[str, Any]:
    """Processor, cores and memory in bytes."""
    import psutil

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
    }


def provenance(command: str | None) -> dict[str, Any]:
    """Versions, hardware and git state, with the study's format and the time in UTC."""
    return {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redact(command or "python"),
        "executable": Path(sys.executable).name,
        "versions": versions(),
        "hardware": hardware(),
        "git": git_state(Path.cwd()),
    }
