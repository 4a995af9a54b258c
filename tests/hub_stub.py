"""A loopback stub of the model hub's API: enough for snapshots and safetensors headers.

In: a folder owner/name/files. Out: a server on 127.0.0.1 that counts requests.
Knows nothing of: the package under test.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The running stub: its address and what was asked of it.

    `spoil` says of a file's name what is wrong with it: html, short, other, twin (one changed bit),
    halt (half of it, until that is no longer so), a status (503) or an address to which it is redirected.
    """

    url: str
    asked: list[str] = field(default_factory=list)
    spoil: dict[str, str] = field(default_factory=dict)
    halted: threading.Event = field(default_factory=threading.Event)


def handler_for(root: Path, hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def answer(self, code: int, body: bytes, **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                self.model(found[1])
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                self.tree(root / found[1])
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                self.file(root / found[1] / found[2])
            else:
                self.missing("EntryNotFound")

        def model(self, name: str) -> None:
            folder = root / name
            if not folder.is_dir():
                return self.missing("RepoNotFound")
            siblings = [{"rfilename": p.name} for p in sorted(folder.iterdir())]
            value = {
                "id": name,
                "modelId": name,
                "sha": COMMIT,
                "siblings": siblings,
                "private": False,
                "gated": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def tree(self, folder: Path) -> None:
            if not folder.is_dir():
                return self.missing("RepoNotFound")
            rows = [
                {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40}
                for p in sorted(folder.iterdir())
            ]
            self.answer(200, json.dumps(rows).encode(), Content_Type="application/json")

        def file(self, file: Path) -> None:
            if not file.is_file():
                return self.missing("EntryNotFound")
            body = file.read_bytes()
            wrong = hub.spoil.get(file.name, "")
            if wrong.isdecimal():
                return self.answer(int(wrong), b"{}")
            if ":" in wrong:
                return self.answer(302, b"", Location=wrong)
            tag = hashlib.sha256(body).hexdigest()
            if wrong == "html":
                body = b"<!doctype html><title>Sign in</title>".ljust(len(body))
            elif wrong == "twin":
                body = body[:-1] + bytes([body[-1] ^ 1])
            elif wrong == "short" and self.command == "GET":
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return None
            elif wrong == "halt" and self.command == "GET":
                return self.halt(file.name, body, tag)
            code, headers = 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                code, body = 206, body[first : last + 1]
            self.answer(code, body, **headers)

        def halt(self, name: str, body: bytes, tag: str) -> None:
            self.send_response(200)
            self.send_header("ETag", f'"{tag}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            hub.halted.set()
            while hub.spoil.get(name) == "halt":
                time.sleep(0.02)
            with contextlib.suppress(OSError):  # who asked may be dead
                self.wfile.write(body[len(body) // 2 :])

        def missing(self, what: str) -> None:
            self.answer(404, b"{}", X_Error_Code=what, X_Error_Message="not here")

    return Handler


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server on a free port of 127.0.0.1 while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def running_hub(root: Path) -> Iterator[Hub]:
    """Serve `root` while the context lasts."""
    hub = Hub("")
    with served(handler_for(root, hub)) as hub.url:
        yield hub
