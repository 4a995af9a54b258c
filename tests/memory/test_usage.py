"""Peak memory is measured from a given moment on."""

import sys

import numpy as np
import pytest

from tuneproof.memory.usage import STATUS, peak_bytes, reset_peak

MEGABYTE = 1_000_000


def test_the_peak_is_at_least_what_was_allocated() -> None:
    reset_peak()
    before = peak_bytes()["process"]
    array = np.ones(100 * MEGABYTE // 8)
    assert array.sum() > 0
    assert peak_bytes()["process"] >= before + 50 * MEGABYTE


@pytest.mark.skipif(sys.platform != "linux" or not STATUS.exists(), reason="needs Linux's high-water marks")
def test_an_earlier_peak_is_forgotten() -> None:
    array = np.ones(200 * MEGABYTE // 8)
    high = peak_bytes()["process"]
    del array
    reset_peak()
    if peak_bytes()["process"] == high:
        pytest.skip("this system does not let a process set its mark back")
    assert peak_bytes()["process"] < high - 100 * MEGABYTE
