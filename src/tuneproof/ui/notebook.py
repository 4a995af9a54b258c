"""The page in a cell of a notebook, or through Colab's proxy.

In: a folder of studies. Out: a frame in the cell; a process that ends with the notebook's kernel.
Knows nothing of: requests, studies.
"""

import subprocess
from importlib.util import find_spec
from pathlib import Path

from tuneproof.apply.http_server import check_packages
from tuneproof.errors import RunError
from tuneproof.ui.commands import PROGRAM, ends_with_this_process, environment

HEIGHT = 800  # pixels
JUPYTER = "http://localhost:* http://127.0.0.1:*"
COLAB = "https://*.googleusercontent.com https://colab.research.google.com"


class NotebookPage:
    """A page that a notebook has started. `address` holds its token; `close` ends it."""

    def __init__(self, folder: Path | str = "studies", framed_by: str = JUPYTER) -> None:
        check_packages("ui")
        words = ["ui", str(folder), "--port", "0", "--no-browser", "--framed-by", framed_by]
        command = [*ends_with_this_process(PROGRAM), *words]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.address = line.rpartition(" ")[2].strip()
        if not self.address.startswith("http://"):
            rest = line + self._process.stdout.read()
            raise RunError("ui", f"the page did not start: {rest.strip().removeprefix('tuneproof: ')}")

    def close(self) -> None:
        """End the page; studies that it started go on."""
        self._process.terminate()
        self._process.wait()


def show_ui(folder: Path | str = "studies", height: int = HEIGHT) -> NotebookPage:
    """Start the page for the studies in a folder and show it in the cell. It ends with the kernel.

    In Jupyter the browser must reach this machine's loopback addresses, so that the kernel runs where the
    browser does, or its port is forwarded.

    Raises: RecipeError where a package is missing; RunError where the page does not start.
    """
    in_colab = find_spec("google") is not None and find_spec("google.colab") is not None
    page = NotebookPage(folder, COLAB if in_colab else JUPYTER)
    if in_colab:
        from google.colab import output

        port, _, path = page.address.removeprefix("http://127.0.0.1:").partition("/")
        output.serve_kernel_port_as_iframe(int(port), path=f"/{path}", height=height)
        return page
    from IPython.display import IFrame, display

    display(IFrame(page.address, width="100%", height=height))
    return page
