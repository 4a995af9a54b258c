"""Where a study reports to while it runs: progress, messages, and requests to stop.

In: what happens. Out: events for whoever listens; StoppedError where a stop was requested.
Knows nothing of: who listens, how anything is shown.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from tuneproof.errors import StoppedError


@dataclass(frozen=True)
class StageStarted:
    """A stage starts, or goes on after `done` of its `total` units. total None: unknown."""

    name: str
    total: int | None
    unit: str = "items"
    done: int = 0


@dataclass(frozen=True)
class Progress:
    """`done` more units of the current stage are finished; `note` is a short status (loss 0.31)."""

    done: int
    note: str = ""


@dataclass(frozen=True)
class StudyForecast:
    """What the study will cost, before its first arm: a sentence, and seconds by the label of each arm."""

    sentence: str
    predicted_s: Mapping[str, float]


@dataclass(frozen=True)
class ArmStarted:
    """An arm starts: its number (from 1), the number of arms, its label."""

    number: int
    total: int
    label: str


@dataclass(frozen=True)
class ArmFinished:
    """An arm finished: status done, skipped, failed or impossible, and a summary line."""

    label: str
    status: str
    line: str
    time_s: float


@dataclass(frozen=True)
class Message:
    """A sentence for the user.

    level: "detail" (shown on request), "note" or "warning". recorded: it belongs to the arm's record too.
    """

    text: str
    level: str = "note"
    recorded: bool = False


@dataclass(frozen=True)
class StudyFinished:
    """The study is finished: its verdict, folder and report."""

    verdict: dict[str, Any]
    folder: str
    report: str


Event = StageStarted | Progress | StudyForecast | ArmStarted | ArmFinished | Message | StudyFinished


@dataclass
class StopRequest:
    """A request to stop at the next event; `error` is raised there.

    deferrable: an event comes soon, so that the current work may be finished first.
    """

    error: StoppedError | None = None
    deferrable: bool = False


def ignore(event: Event) -> None:
    """Show nothing."""


_LISTENER: ContextVar[Callable[[Event], None]] = ContextVar("listener", default=ignore)


@contextmanager
def listening(on_event: Callable[[Event], None]) -> Iterator[None]:
    """Meanwhile monitors that nobody gave a listener report to this one."""
    token = _LISTENER.set(on_event)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@dataclass
class Monitor:
    """Receives the events of a study. Every call is a point where the study may stop.

    on_event: called with every event. notes: messages that belong to the record of the current arm.
    """

    on_event: Callable[[Event], None] = field(default_factory=_LISTENER.get)
    stop_request: StopRequest = field(default_factory=StopRequest)
    notes: list[str] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        """Report an event.

        Raises: StoppedError where a stop was requested.
        """
        if isinstance(event, Message) and event.recorded:
            self.notes.append(event.text)
        if isinstance(event, StageStarted):
            self.stop_request.deferrable = event.total is not None
        self.on_event(event)
        if self.stop_request.error is not None:
            error, self.stop_request.error = self.stop_request.error, None
            raise error

    def stage(self, name: str, total: int | None = None, unit: str = "items", done: int = 0) -> None:
        """A stage starts (see `StageStarted`)."""
        self.notify(StageStarted(name, total, unit, done))

    def progress(self, done: int, note: str = "") -> None:
        """`done` more units of the stage are finished."""
        self.notify(Progress(done, note))

    def message(self, text: str, level: str = "note", recorded: bool = False) -> None:
        """Tell the user something."""
        self.notify(Message(text, level, recorded))
