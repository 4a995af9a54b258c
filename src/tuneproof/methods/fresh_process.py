"""A program in a fresh process: without token, without network, and with nothing of tuneproof in it.

In: a program's text, a value. Out: the value that its last line prints as JSON.
Knows nothing of: what the program does.
"""

import json
import os
import subprocess
import sys
from typing import Any

import tuneproof.parent_process as parent_process
from tuneproof.redact import is_secret

TIMEOUT_S = 3600.0
WATCH = f"import runpy, sys\nrunpy.run_path({parent_process.__file__!r})['end_with_parent'](int(sys.argv[1]))"


class ProgramError(Exception):
    """Why a program gave no value, as the end of a sentence."""


def run_program(program: str, value: Any) -> Any:
    """Run a Python program that reads `value` as JSON from standard input.

    Raises: ProgramError if it fails, takes too long or ends without a line of JSON.
    """
    try:
        process = subprocess.run(
            [sys.executable, "-I", "-c", f"{WATCH}\n{program}", str(os.getpid())],
            input=json.dumps(value),
            text=True,
            capture_output=True,
            env=_environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"its process ran for more than {TIMEOUT_S / 60:g} minutes") from None
    if process.returncode:
        message = (process.stderr.strip().splitlines() or ["it was killed"])[-1].rstrip(".")
        raise ProgramError(f"a fresh process cannot load it and predict: {message}")
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise ProgramError("its process printed no predictions") from None


def _environment() -> dict[str, str]:
    """The environment without secrets, and with the hub's libraries offline."""
    environment = {name: value for name, value in os.environ.items() if not is_secret(name)}
    for name in ("OFFLINE", "DISABLE_IMPLICIT_TOKEN", "DISABLE_PROGRESS_BARS", "DISABLE_TELEMETRY"):
        environment[f"HF_HUB_{name}"] = "1"
    environment |= {"TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return {**environment, "TOKENIZERS_PARALLELISM": "false"}
