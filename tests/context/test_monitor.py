"""A monitor passes events on, keeps what belongs to the record, and raises where a stop was requested."""

import pytest

from tests.monitoring import RecordingMonitor
from tuneproof.context.monitor import Message, Monitor, Progress, StageStarted
from tuneproof.errors import StoppedError


def test_every_call_is_one_event_in_order() -> None:
    events = []
    monitor = Monitor(events.append)
    monitor.stage("train", 10, "steps", done=4)
    monitor.progress(1, "loss 0.31")
    monitor.message("Out of memory.", "warning", recorded=True)
    assert events == [
        StageStarted("train", 10, "steps", 4),
        Progress(1, "loss 0.31"),
        Message("Out of memory.", "warning", True),
    ]


def test_only_recorded_messages_are_notes() -> None:
    monitor = Monitor()
    monitor.message("shown")
    monitor.message("recorded", recorded=True)
    assert monitor.notes == ["recorded"]


def test_a_requested_stop_is_raised_once_at_the_next_event_which_is_reported_before() -> None:
    monitor = RecordingMonitor()
    monitor.stage("train", 2)
    error = StoppedError("study", "was asked to stop.")
    monitor.stop_request.error = error
    with pytest.raises(StoppedError) as raised:
        monitor.progress(1)
    assert raised.value is error
    assert monitor.events[-1] == Progress(1)
    monitor.progress(1)
    assert len(monitor.events) == 3


def test_a_stop_can_wait_in_a_stage_of_known_length_alone() -> None:
    monitor = Monitor()
    assert not monitor.stop_request.deferrable
    monitor.stage("train", 2)
    assert monitor.stop_request.deferrable
    monitor.stage("load")
    assert not monitor.stop_request.deferrable
