"""In a notebook the page is a frame, and its process ends with the kernel."""

import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from tuneproof.errors import RunError
from tuneproof.ui.notebook import NotebookPage, show_ui


def test_the_page_is_shown_in_a_frame_and_answers(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    page = show_ui(tmp_path)
    try:
        assert shown[0].src == page.address
        with urllib.request.urlopen(f"{page.address}api/studies") as answer:
            assert answer.status == 200
    finally:
        page.close()


def test_a_page_that_cannot_start_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="did not start"):
        NotebookPage(tmp_path / "file")


def test_it_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "import os, sys; from tuneproof.ui.notebook import NotebookPage;"
        "page = NotebookPage(sys.argv[1]); print(page._process.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    pid, end = int(done.stdout), time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.1)
