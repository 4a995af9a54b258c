"""A monitor for tests: it records every event and can stop a study at one of them.

In: a recipe, an event to stop at. Out: the events that happened. Knows nothing of: what is asserted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tuneproof.context.monitor import Event, Message, Monitor, StageStarted
from tuneproof.errors import StoppedError
from tuneproof.recipe.recipe import Recipe
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import RESUME, run_study


@dataclass
class RecordingMonitor(Monitor):
    """Records every event; requests a stop at the first one for which `stop_at` is true."""

    stop_at: Callable[[Event], bool] | None = None
    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        """Record the event, then report it.

        Raises: StoppedError where a stop was requested.
        """
        self.events.append(event)
        if self.stop_at is not None and self.stop_at(event):
            self.stop_request.error = StoppedError("study", "was asked to stop.")
        super().notify(event)

    @property
    def messages(self) -> list[Message]:
        """Every message to the user."""
        return [event for event in self.events if isinstance(event, Message)]

    @property
    def text(self) -> str:
        """The sentences of all messages, a line each."""
        return "\n".join(message.text for message in self.messages)

    @property
    def stages(self) -> list[StageStarted]:
        """Every stage that started."""
        return [event for event in self.events if isinstance(event, StageStarted)]


def run_recorded(recipe: Recipe, resume: ResumePolicy = RESUME) -> RecordingMonitor:
    """Run a study, recording what happens."""
    monitor = RecordingMonitor()
    run_study(recipe, monitor, resume)
    return monitor


def run_until(recipe: Recipe, stop_at: Callable[[Event], bool]) -> RecordingMonitor:
    """Run a study that is stopped at the first event for which `stop_at` is true."""
    monitor = RecordingMonitor(stop_at=stop_at)
    try:
        run_study(recipe, monitor)
    except StoppedError:
        return monitor
    raise AssertionError("the study finished before the event to stop at")
