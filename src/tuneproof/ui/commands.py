"""The page's work is done by commands of the command line, each in a process of its own.

In: arguments. Out: the JSON that a command prints, or its error; long commands that outlive the page.
Knows nothing of: what a command means, HTTP.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tuneproof.atomic import make_folder, write_json
from tuneproof.errors import RunError, TuneproofError
from tuneproof.redact import redact

PROGRAM = (sys.executable, "-m", "tuneproof")
MAX_OUTPUT_BYTES = 32 << 20
AT_ONCE = 2  # commands that a person waits for, and as many that take minutes
LONG = ("predict", "label-errors", "export", "publish")
WATCHED = """import runpy, sys
from tuneproof.parent_process import end_with_parent
end_with_parent(int(sys.argv.pop(1)))
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)"""


class CommandError(TuneproofError):
    """The error that a command ended with, as its sentences. more: what else its answer holds."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        names = ("where", "problem", "allowed", "do")
        super().__init__(*(str(values.get(name) or "") for name in names))
        self.more: dict[str, Any] = {}


class SupersededError(Exception):
    """A newer command of the same purpose has begun."""


@dataclass
class Commands:
    """Runs commands that end with this process. One of a purpose at a time: a newer one ends the older."""

    newest: dict[str, object] = field(default_factory=dict)
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _free: dict[bool, asyncio.Semaphore] = field(
        default_factory=lambda: {is_long: asyncio.Semaphore(AT_ONCE) for is_long in (False, True)}
    )

    async def output(self, purpose: str, words: Sequence[str], program: Sequence[str] = PROGRAM) -> Any:
        """What the command prints as JSON.

        Raises: CommandError with its error; SupersededError where a newer one of the purpose has begun.
        """
        turn = self.newest[purpose] = object()
        if (older := self.running.pop(purpose, None)) is not None:
            _end(older)
        async with self._free[words[0] in LONG]:
            if self.newest[purpose] is not turn:
                raise SupersededError(purpose)
            process = await asyncio.create_subprocess_exec(
                *ends_with_this_process(program),
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_OUTPUT_BYTES,
                env=environment(),
            )
            self.running[purpose] = process
            try:
                printed, errors = await process.communicate()
            except asyncio.CancelledError:
                _end(process)
                raise
            if self.newest[purpose] is not turn:
                raise SupersededError(purpose)
            self.running.pop(purpose, None)
        return _read_output(printed, errors, process.returncode)

    def end(self) -> None:
        """End the commands that still run; studies, which outlive the page, go on."""
        for process in self.running.values():
            _end(process)


def ends_with_this_process(program: Sequence[str]) -> list[str]:
    """The program (python -m MODULE), ended when this process dies, even by SIGKILL."""
    python, _, module = program
    return [python, "-c", WATCHED, str(os.getpid()), module]


def start(words: Sequence[str], record: Path, about: Mapping[str, Any]) -> int:
    """Start a command that outlives this process; returns its number.

    record: a JSON file of `about`, pid, when it started, and in the end exit_code; what the command prints
    goes to the same name with the ending .log.

    Raises: RunError where it cannot be started.
    """
    make_folder(record.parent)
    command = [*PROGRAM, *words]
    try:
        with open(record.with_suffix(".log"), "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(str(record), f"the command cannot be started: {error.strerror}.") from error
    with suppress(psutil.Error):  # it has ended already
        about = {**about, "started": psutil.Process(process.pid).create_time()}
    values = {**about, "pid": process.pid, "words": list(words), "exit_code": None}
    write_json(record, values)
    threading.Thread(target=_note_end, args=(process, record, values), daemon=True).start()
    return process.pid


def _note_end(process: "subprocess.Popen[bytes]", record: Path, values: Mapping[str, Any]) -> None:
    exit_code = process.wait()
    with suppress(TuneproofError):
        if record.exists():
            write_json(record, {**values, "exit_code": exit_code})


def environment() -> dict[str, str]:
    """The environment of a command: this one, and its output comes as it is printed."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _read_output(printed: bytes, errors: bytes, exit_code: int | None) -> Any:
    try:
        values = json.loads(printed)
    except ValueError:
        lines = redact(errors.decode("utf-8", "replace")).strip().splitlines()
        problem = f"ended with code {exit_code}: {lines[-1] if lines else 'it printed nothing'}"
        raise CommandError({"where": "tuneproof", "problem": problem}) from None
    if isinstance(values, dict) and isinstance(values.get("error"), dict):
        raise CommandError(values["error"])
    return values
