"""Ctrl-C and SIGTERM: the first finishes what is begun and keeps it, the second stops at once.

In: the events of a study. Out: the same, with StoppedError thrown in where a stop was asked for.
Knows nothing of: what is kept, how anything is shown.
"""

import os
import shlex
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from tuneproof.context.monitor import Event, StageBegun
from tuneproof.errors import StoppedError
from tuneproof.process_group import launched

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Asked:
    """Whether a stop was asked for, and by which signal.

    `patient`: what is going on comes to an event soon, so that it may be finished; else a signal
    stops at once, since nothing is lost by it.
    """

    def __init__(self) -> None:
        self.by: str | None = None
        self.patient = False

    def heard(self, number: int, frame: FrameType | None) -> None:
        """A signal came."""
        self.by = signal.Signals(number).name
        for each in SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, signal.SIG_DFL)
        if not self.patient:
            raise KeyboardInterrupt

    def error(self, again: str) -> StoppedError:
        """What is raised in the end; `again` is the command that goes on."""
        return StoppedError(
            self.by or "Ctrl-C",
            "stopped. Finished arms, checkpoints and finished predictions are kept.",
            do=f"Go on with: {again}",
        )


@contextmanager
def signals_put_back() -> Iterator[Sequence[signal.Signals]]:
    """The signals that are heeded; whoever takes them meanwhile, they do afterwards what they did before.

    Outside the main thread there are none. A signal that is ignored, as a shell has it for a command in
    the background, stays ignored.
    """
    in_main = current_thread() is main_thread()
    before = {each: signal.getsignal(each) for each in SIGNALS if in_main}
    try:
        yield [each for each, handler in before.items() if handler is not signal.SIG_IGN]
    finally:
        for each, handler in before.items():
            if handler is not None:  # not Python's: it cannot be put back
                signal.signal(each, handler)


@contextmanager
def listening() -> Iterator[Asked]:
    """Handlers for the signals that are heeded (see `signals_put_back`) while this lasts."""
    asked = Asked()
    with signals_put_back() as heeded:
        for each in heeded:
            signal.signal(each, asked.heard)
        yield asked


def until_asked(events: Generator[Event, Any, None], asked: Asked, again: str) -> Iterator[Event]:
    """The events, until a stop is asked for.

    again: the command that goes on. Raises: StoppedError when the study has kept what it has.
    """
    for event in events:
        if isinstance(event, StageBegun):
            asked.patient = event.total is not None
        yield event
        if asked.by is not None:
            events.throw(asked.error(again))


def goes_on(words: Sequence[str]) -> str:
    """The command of these words that goes on: without what was to be done once."""
    kept = [word for at, word in enumerate(words) if "--restart" not in words[max(0, at - 1) : at + 1]]
    once = ("--restart=", "--accept-change")
    program = "tuneproof"
    if launched():
        count = os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
        program = f"torchrun --nproc-per-node {count} -m tuneproof"
    return f"{program} " + shlex.join(word for word in kept if not word.startswith(once))
