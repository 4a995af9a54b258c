"""A headless Chromium that tests drive over a pipe.

In: a file and a few commands. Out: what the page says, its errors, the addresses it asked for,
screenshots. Knows nothing of: reports.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
TIMEOUT_S = 60


class Browser:
    """One page of a Chromium that reads commands on descriptor 3 and answers on 4."""

    def __init__(self, write: int, read: int) -> None:
        self.write, self.read = write, read
        self.buffer, self.last = b"", 0
        self.session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.seen: set[str] = set()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self.buffer:
            if not select.select([self.read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            self.buffer += os.read(self.read, 1 << 20)
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, message: dict[str, Any]) -> None:
        method, about = message.get("method", ""), message.get("params", {})
        self.seen.add(method)
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning"):
            self.errors.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])

    def ask(self, method: str, **about: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        self.last += 1
        sent = {"id": self.last, "method": method, "params": about}
        if self.session:
            sent["sessionId"] = self.session
        os.write(self.write, json.dumps(sent).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self.last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def open(self, path: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.seen.discard("Page.loadEventFired")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self.seen:
            self._note(self._message())

    def look(self, width: int, dark: bool = False, script: bool = True, mobile: bool = False) -> None:
        """The window's width in pixels and the reader's taste."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression says."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self, path: Path) -> Path:
        """A screenshot of the whole page."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def paper(self, path: Path) -> Path:
        """The page as a PDF."""
        answer = self.ask("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium with a profile of its own, ended when the block ends."""
    to_it, ours = os.pipe()
    theirs, from_it = os.pipe()[::-1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [PROGRAM or "", *FLAGS, f"--user-data-dir={profile}", "about:blank"]

        def place_ends() -> None:
            """The program finds its ends on descriptors 3 and 4, whatever they are here."""
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (to_it, theirs)]
            for end, wanted in zip(ends, (3, 4), strict=True):
                os.dup2(end, wanted)

        process = subprocess.Popen(
            words,
            pass_fds=(3, 4),
            preexec_fn=place_ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(theirs)
        try:
            yield Browser(ours, from_it)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
            os.close(ours)
            os.close(from_it)
