"""Several studies in one pair of processes, which start once: `python -m tests.two_processes RECIPE...`.

In: recipes. Out: the studies' folders, as if `torchrun -m tuneproof run` had run each of them.
Knows nothing of: what is asserted.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from tuneproof.recipe.recipe import Recipe, read_recipe
from tuneproof.study.run import run_study

LIMIT_S = 600


def run_in_two(recipes: Sequence[Recipe], limit_s: float = LIMIT_S) -> None:
    """Run the studies, one after the other, in two processes; the output of one that fails is shown."""
    paths = [Path(recipe.out).with_suffix(".yaml") for recipe in recipes]
    for path, recipe in zip(paths, recipes, strict=True):
        path.write_text(recipe.text())
    processes = start_two("tests.two_processes", [str(path) for path in paths])
    try:
        until = time.monotonic() + limit_s
        outputs = [process.communicate(timeout=max(1, until - time.monotonic()))[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output


def start_two(
    module: str, arguments: Sequence[str], stderr: int = subprocess.STDOUT
) -> list[subprocess.Popen[str]]:
    """A module in two processes, as a launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
        )
        for rank in range(2)
    ]


def main(paths: Sequence[str]) -> None:
    """The studies of these recipes; what they time is left out."""
    from tests.monitoring import RecordingMonitor

    with mock.patch("tuneproof.study.run.announce_forecast"):
        for path in paths:
            run_study(read_recipe(path), RecordingMonitor())


if __name__ == "__main__":
    main(sys.argv[1:])
