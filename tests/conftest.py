"""What makes all tests quicker and changes none: the interpreter's heap at rest, no waiting; and Ctrl-C.

In: pytest's events. Out: nothing. Knows nothing of: the package.
"""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest

MANY_OBJECTS = 100_000
LONGEST = (  # of processes and browsers, by the CPU time of a file
    *("ui/test_browser.py", "reliability/test_kills.py", "contracts/test_methods.py", "memory/test_table.py"),
    *("ui/test_page.py", "test_processes.py", "arms/test_tuned.py", "publish/test_gate.py"),
    *("hub/test_download.py", "arms/test_frozen_layers.py", "reliability/test_programs.py", "test_docs.py"),
    *("cases/test_memory_of_files.py", "parameters/test_count.py", "cli/test_main.py"),
    *("reliability/test_disk.py", "study/test_forecast.py", "score/test_simulation.py"),
    *("contracts/test_extension.py", "test_own_data_page.py", "strangers/test_hub.py"),
    *("report/test_load_code.py", "cases/test_left_out_weights.py", "devices/test_windows.py"),
)


def rest_heap() -> None:
    """Take what imports have left out of later collections.

    Every arm collects garbage before it measures memory; walking through torch and transformers would take
    longer than a tiny study.
    """
    if len(gc.get_objects()) > MANY_OBJECTS:  # those at rest are not among them
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: a worker that begins one last works on when the others have ended."""
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.as_posix().rpartition("/tests/")[2], len(first)))


def pytest_collection_finish() -> None:
    rest_heap()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is not None and nextitem.path != item.path:
        rest_heap()


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Ctrl-C as a terminal has it; a shell's background command would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test cuts the power, so nothing written has to reach the disk before the test goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_forecasts() -> Iterator[None]:
    """To time the arms of a study of seconds would take as long; tests/study/test_forecast.py does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneproof.study.run.announce_forecast", lambda session, here: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_timing_of_arms() -> Iterator[None]:
    """To time every arm would take longer than a tiny study; tests/arms/test_serving_speed.py does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneproof.study.arm_session.time_serving", lambda serve, examples, timing: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_measuring_of_steps() -> Iterator[None]:
    """To count operations takes longer than a tiny step; tests/arms/test_training_speed.py does it."""
    tuned = sys.modules.get("tuneproof.arms.tuned")  # a session whose tests do not need torch imports none
    with pytest.MonkeyPatch.context() as patch:
        if tuned is not None:
            patch.setattr(tuned, "_training_speed", lambda context, training, sharded: {})
        yield
