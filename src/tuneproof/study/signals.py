"""Ctrl-C and SIGTERM: the first signal finishes and keeps the current work, the second stops at once.

In: a stop request. Out: the request set by a signal; the command that resumes.
Knows nothing of: what is kept, how anything is shown.
"""

import os
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from tuneproof.context.monitor import StopRequest
from tuneproof.errors import StoppedError
from tuneproof.process_group import launched

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def preserved_signals() -> Iterator[Sequence[signal.Signals]]:
    """The signals that are handled; afterwards they do what they did before, whoever changed them.

    Outside the main thread there are none. A signal that is ignored, as a shell has it for a command in
    the background, stays ignored.
    """
    in_main = current_thread() is main_thread()
    before = {each: signal.getsignal(each) for each in SIGNALS if in_main}
    try:
        yield [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    finally:
        for each, handler in before.items():
            if handler is not None:  # not Python's: it cannot be restored
                signal.signal(each, handler)


@contextmanager
def stop_on_signals(request: StopRequest, command: str) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set the stop request; command: what resumes the study.

    Where no event comes soon, a signal stops at once, since nothing is lost.

    Raises: StoppedError where a signal stopped at once.
    """

    def stopped(name: str) -> StoppedError:
        return StoppedError(
            name,
            "stopped. Finished arms, checkpoints and finished predictions are kept.",
            do=f"Resume with: {command}",
        )

    def handle(number: int, frame: FrameType | None) -> None:
        request.error = stopped(signal.Signals(number).name)
        for each in SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, signal.SIG_DFL)
        if not request.deferrable:
            raise KeyboardInterrupt

    with preserved_signals() as handled:
        for each in handled:
            signal.signal(each, handle)
        try:
            yield
        except KeyboardInterrupt:
            raise (request.error or stopped("Ctrl-C")) from None


def resume_command(argv: Sequence[str]) -> str:
    """The command with these arguments that resumes: without what was to be done once."""
    arguments = [word for i, word in enumerate(argv) if "--restart" not in argv[max(0, i - 1) : i + 1]]
    once = ("--restart=", "--accept-change")
    program = "tuneproof"
    if launched():
        count = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        nodes = int(os.environ["WORLD_SIZE"]) // count
        program = f"torchrun {f'--nnodes {nodes} ' * (nodes > 1)}--nproc-per-node {count} -m tuneproof"
    return f"{program} " + shlex.join(word for word in arguments if not word.startswith(once))
