"""Processes that tuneproof starts end with it, even where it is killed."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

import tuneproof.parent_process as parent_process
from tuneproof.data import chat_sandbox
from tuneproof.methods.fresh_process import WATCH

BUSY = "\nwhile True: pass"
PATIENCE_S = 30


def starter(command: list[str], text: str = "") -> str:
    """A program that starts a command, with its own process number for {parent}, and waits."""
    return (
        "import os, subprocess, time\n"
        f"words = [word.replace('{{parent}}', str(os.getpid())) for word in {command!r}]\n"
        "child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)\n"
        f"child.stdin.write({text!r}.replace('{{parent}}', str(os.getpid()))); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def endless_template() -> tuple[list[str], str]:
    template = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
    setup = {"path": [], "template": template, "memory": 1 << 30, "characters": 100}
    text = json.dumps(setup)[:-1] + ', "parent": {parent}}\n{}\n'
    return [sys.executable, chat_sandbox.__file__], text


CHILDREN = {
    "the gate's program": lambda folder: ([sys.executable, "-I", "-c", WATCH + BUSY, "{parent}"], ""),
    "a chat template": lambda folder: endless_template(),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_a_child_ends_when_its_parent_is_killed(name, tmp_path) -> None:
    command, text = CHILDREN[name](tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", starter(command, text)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.5)
    assert is_alive(child)
    parent.kill()
    parent.wait()
    until = time.monotonic() + PATIENCE_S
    while is_alive(child):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_worker_ends_with_its_launcher_and_no_other_process_does(monkeypatch) -> None:
    watched = []
    monkeypatch.setattr(parent_process, "end_with_parent", watched.append)
    parent_process.end_with_launcher()
    assert not watched
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    parent_process.end_with_launcher()
    assert watched == [os.getppid()]
