"""Code in a new process that starts with the package and torch imported: a copy of one that imported them.

The import of torch takes seconds of a new process; a test that does not ask how it is imported needs none.
"""

import io
import sys
import textwrap
import traceback
from contextlib import redirect_stdout
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext

PATIENCE_S = 300.0


@cache
def _server() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(["tuneproof", "torch"])
    return context


def run_forked(code: str, *arguments: str) -> str:
    """What the code prints. Raises: AssertionError with its errors where it fails."""
    receive, send = _server().Pipe(duplex=False)
    process = _server().Process(target=_execute, args=(textwrap.dedent(code), arguments, send))
    process.start()
    send.close()
    printed, errors = "", "the process ended without an answer"
    try:
        if receive.poll(PATIENCE_S):
            printed, errors = receive.recv()
    except EOFError:
        pass
    finally:
        process.kill()
        process.join()
    assert not errors, errors
    return printed.strip()


def _execute(code: str, arguments: tuple[str, ...], send) -> None:
    sys.argv = ["-c", *arguments]
    printed, errors = io.StringIO(), ""
    try:
        with redirect_stdout(printed):
            exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
    except BaseException:
        errors = traceback.format_exc()
    send.send((printed.getvalue(), errors))
