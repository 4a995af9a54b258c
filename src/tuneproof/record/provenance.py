"""Where a study was made: versions, hardware, git state, the command.

In: nothing. Out: plain values for provenance.json. Knows nothing of: models, data, secrets.
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

from tuneproof.redact import redacted

PACKAGES = (
    "tuneproof",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "sacrebleu",
    "rouge-score",
    "nltk",
)


@cache
def versions() -> dict[str, str]:
    """Installed versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether there are changes, or None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return {"commit": commit, "changed": bool(git("status", "--porcelain"))} if commit else None


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in bytes."""
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
    """All of it, with the time of day in UTC."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": redacted(command or "python"),
        "executable": Path(sys.executable).name,
        "versions": versions(),
        "hardware": hardware(),
        "git": git_state(Path.cwd()),
    }
