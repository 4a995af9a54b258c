"""A tokenizer.json is tried in a process of its own before this process reads it.

In: the file. Out: nothing, or an error that says why it cannot be used.
Knows nothing of: configurations, texts of a study, how the file is read afterwards.
"""

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from tuneproof.errors import ModelError

TIME_S = 120.0  # the largest real one takes a few seconds
MEMORY_BYTES = 6 << 30
CHILD = Path(__file__).with_name("tokenizer_sandbox.py")


def try_tokenizer(path: Path, name: str) -> None:
    """Raises ModelError, naming the model, where the file breaks its process or grows texts."""
    status = path.stat()
    error = _try_file(str(path.resolve()), status.st_mtime_ns, status.st_size)
    if error:
        raise ModelError(name, f"its tokenizer cannot be read: {error}.")


@lru_cache(maxsize=64)
def _try_file(path: str, changed_ns: int, size: int) -> str:
    environment = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    command = [sys.executable, "-I", str(CHILD), path, str(MEMORY_BYTES), str(os.getpid())]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            env=environment,
            timeout=TIME_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"reading it takes more than {TIME_S:g} seconds"
    if result.returncode:
        return f"it ended the process that tried it (status {result.returncode})"
    return str(json.loads(result.stdout).get("error", ""))
