"""The console on which everything is shown.

In: nothing. Out: a rich console. Knows nothing of: what is shown.
"""

import os
import sys

from rich.console import Console


class _Console(Console):
    """A console whose reader may leave, as `head` does: the rest is shown to nobody, and the work goes on."""

    def on_broken_pipe(self) -> None:
        """Rich would end the program."""
        self.quiet = True
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, (sys.stderr if self.stderr else sys.stdout).fileno())
        os.close(nobody)


def open_console(stderr: bool = False) -> Console:
    """In a notebook plain text: rich would put every line into an element of its own, and bars are no use."""
    is_terminal = False if Console().is_jupyter else None  # None: rich looks
    return _Console(stderr=stderr, soft_wrap=True, force_jupyter=False, force_terminal=is_terminal)
