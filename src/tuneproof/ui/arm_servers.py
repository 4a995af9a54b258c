"""Finished arms that answer requests: a process each, started at the first request, ended when idle.

In: an arm's folder, a request as `tuneproof serve` takes it. Out: the server's answer.
Knows nothing of: studies, what is predicted, the page.

A process ends with this one, even where that is killed. A server of an arm that was run again is replaced.
"""

import asyncio
import http.client
import json
import re
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.apply.http_requests import HttpError
from tuneproof.apply.serve import KEY
from tuneproof.record.study_folder import ARM
from tuneproof.redact import redact
from tuneproof.ui.commands import PROGRAM, CommandError, ends_with_this_process, environment

AT_ONCE = 2
IDLE_S = 600.0
ANSWER_S = 600.0
STOP_S = 10.0
READY = re.compile(r".* answers at http://127\.0\.0\.1:(\d+)\. Ctrl-C stops it\.")
Key = tuple[Path, int]  # an arm's folder, and when the arm was finished


@dataclass
class _Server:
    process: asyncio.subprocess.Process
    port: int
    key: str
    requests: int = 0  # that wait for its answer
    timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None


class ArmServers:
    """Processes that serve arms, at most `at_once`: for another arm the least recently used one ends."""

    def __init__(self, at_once: int = AT_ONCE, idle_s: float = IDLE_S) -> None:
        self.at_once, self.idle_s = at_once, idle_s
        self._servers: dict[Key, asyncio.Task[_Server]] = {}  # the least recently used first
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> dict[str, int]:
        """The processes of the servers that are ready, by the arm's folder name."""
        ready = {key: task.result() for key, task in self._servers.items() if _is_ready(task)}
        return {arm.name: server.process.pid for (arm, _), server in ready.items()}

    async def predict(self, arm: Path, body: bytes) -> Any:
        """The answer to a body of /predict.

        Raises: HttpError with the server's status, or 503 and 504 where it does not answer; CommandError
        where the arm cannot be served.
        """
        key = (arm, (arm / ARM).stat().st_mtime_ns)
        task = await self._ready(key)
        server = task.result()
        server.requests += 1
        if server.timer is not None:
            server.timer.cancel()
        try:
            status, value = await asyncio.to_thread(_post, server, body)
        except TimeoutError:
            raise HttpError(504, f"The arm has not answered for {ANSWER_S:.0f} s.") from None
        except (OSError, http.client.HTTPException, ValueError):
            await self._remove(key, task)
            raise HttpError(503, "The arm's server ended before it answered. Try again.") from None
        finally:
            server.requests -= 1
            if not server.requests:
                loop = asyncio.get_running_loop()
                server.timer = loop.call_later(self.idle_s, self._end_idle, key, task)
        if status != 200:
            raise HttpError(status, str(value.get("error")))
        return value

    async def close(self) -> None:
        """End all servers at once."""
        tasks = list(self._servers.values())
        self._servers.clear()
        await asyncio.gather(*(_end(task, wait_s=0) for task in tasks), *self._ending)

    async def _ready(self, key: Key) -> "asyncio.Task[_Server]":
        """The task, done, that started the server of an arm."""
        task = self._servers.pop(key, None)
        if task is None or (task.done() and not _is_ready(task)):
            replaced = [other for other in self._servers if other[0] == key[0]]
            others = [other for other in self._servers if other[0] != key[0]]
            ending = [*replaced, *others[: max(0, len(others) - self.at_once + 1)]]
            task = asyncio.create_task(_start(key[0], [self._servers.pop(other) for other in ending]))
        self._servers[key] = task
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise HttpError(503, "Another arm took the place of this one. Try again.") from None
            raise
        return task

    def _end_idle(self, key: Key, task: "asyncio.Task[_Server]") -> None:
        if not task.result().requests:
            ending = asyncio.create_task(self._remove(key, task))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _remove(self, key: Key, task: "asyncio.Task[_Server]") -> None:
        if self._servers.get(key) is task:
            del self._servers[key]
        await _end(task, wait_s=0)


def _is_ready(task: "asyncio.Task[_Server]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result().is_running


async def _start(arm: Path, ending: "Sequence[asyncio.Task[_Server]]") -> _Server:
    """Serve an arm once these servers have ended. Raises: CommandError where it cannot be served."""
    await asyncio.gather(*(_end(task) for task in ending))
    words = ["serve", str(arm), "--port", "0"]
    key = secrets.token_urlsafe(18)  # other users of the machine do not have it
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *ends_with_this_process(PROGRAM),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**environment(), KEY: key},
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                if ready := READY.fullmatch(line.decode("utf-8", "replace").rstrip()):
                    return _Server(process, int(ready[1]), key)
            code = await process.wait()
        except BaseException:  # cancelled, or a line that is too long
            _kill(process)
            raise
        errors.seek(0)
        lines = redact(errors.read().decode("utf-8", "replace")).strip().splitlines()
    last = lines[-1].removeprefix("tuneproof: ") if lines else f"the server ended with code {code}."
    raise CommandError({"where": arm.name, "problem": last})


async def _end(task: "asyncio.Task[_Server]", wait_s: float = STOP_S) -> None:
    """End a server, also one that is starting; it may first answer what it was sent, for `wait_s`."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        server = await task
        if server.timer is not None:
            server.timer.cancel()
        if wait_s and server.is_running:
            server.process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(server.process.wait(), wait_s)
        _kill(server.process)
        await server.process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _post(server: _Server, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
    try:
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
