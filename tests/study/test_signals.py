"""Stop requests by signals, and the command that resumes."""

import os
import signal

import pytest

from tests.monitoring import RecordingMonitor
from tuneproof.context.monitor import StopRequest
from tuneproof.errors import StoppedError
from tuneproof.study.signals import resume_command, stop_on_signals


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["run", "a b.yaml"], "tuneproof run 'a b.yaml'"),
        (["run", "r.yaml", "--restart", "head", "--quiet"], "tuneproof run r.yaml --quiet"),
        (["run", "r.yaml", "--restart=all", "--accept-change"], "tuneproof run r.yaml"),
    ],
)
def test_the_command_that_resumes_repeats_nothing_that_was_to_be_done_once(argv, command) -> None:
    assert resume_command(argv) == command


@pytest.mark.parametrize(("world", "launcher"), [(4, ""), (8, "--nnodes 2 ")])
def test_the_command_that_resumes_names_the_nodes_and_their_processes(monkeypatch, world, launcher) -> None:
    for name, value in {"RANK": 0, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": 4}.items():
        monkeypatch.setenv(name, str(value))
    command = f"torchrun {launcher}--nproc-per-node 4 -m tuneproof run r.yaml"
    assert resume_command(["run", "r.yaml"]) == command


def test_a_signal_stops_a_stage_at_its_next_event(keyboard) -> None:
    monitor = RecordingMonitor()
    with stop_on_signals(monitor.stop_request, "tuneproof run r.yaml"):
        monitor.stage("train", 3, "steps")
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StoppedError, match=r"Resume with: tuneproof run r\.yaml"):
            monitor.progress(1)
        monitor.progress(1)  # asked once, stopped once


def test_a_signal_stops_at_once_where_no_event_comes_soon() -> None:
    request = StopRequest()
    with pytest.raises(StoppedError, match="SIGTERM: stopped"), stop_on_signals(request, "tuneproof run"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
