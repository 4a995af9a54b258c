"""The page on a free port of this machine, and requests to it."""

import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneproof.apply.http_requests import LOOPBACK

TOKEN = "a-token-of-the-tests"
MAX_UPLOAD_BYTES = 300_000


@dataclass(frozen=True)
class RunningPage:
    """The page's folder and address."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def ask(self, path: str, value: Any = None, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a GET, or of a POST where there is a value or a body."""
        status, answer, _ = self.fetch(path, value, body, **headers)
        return status, json.loads(answer)

    def fetch(self, path: str, value: Any = None, body: bytes | None = None, **headers: str):
        """Status, body and headers."""
        data = json.dumps(value).encode() if value is not None else body
        url = urllib.parse.urljoin(self.url, path) if path.startswith("../") else self.url + path
        url = path if path.startswith("http") else url
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, names), timeout=120) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def wait_for(self, study: str, *states: str, timeout_s: float = 90) -> dict[str, Any]:
        """The study's board once it is in one of the states."""
        end = time.monotonic() + timeout_s
        while True:
            status, board = self.ask(f"api/studies/{study}")
            if status == 200 and board["state"] in states:
                return board
            assert time.monotonic() < end, board
            time.sleep(0.1)


@contextmanager
def running_page(folder: Path, framed_by: str = "") -> Iterator[RunningPage]:
    """The page of a folder, served by this process."""
    import uvicorn

    from tuneproof.ui.app import Page, application
    from tuneproof.ui.routes import ROUTES

    page = Page(folder, TOKEN, LOOPBACK, MAX_UPLOAD_BYTES, framed_by)
    config = uvicorn.Config(
        application(page, ROUTES), log_level="error", http="h11", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield RunningPage(folder, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
