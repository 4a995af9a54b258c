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


def rest_heap() -> None:
    """Take what imports have left out of later collections.

    Every arm collects garbage before it measures memory; walking through torch and transformers would take
    longer than a tiny study.
    """
    if len(gc.get_objects()) > MANY_OBJECTS:  # those at rest are not among them
        gc.collect()
        gc.freeze()


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
