"""A loopback stub of the model hub's API for writing: create, preupload, LFS, commit, read back.

In: what tokens may do. Out: a server on 127.0.0.1 whose repositories lie in memory.
Knows nothing of: the package under test.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.hub_stub import served

WRITES, READS = "hf_" + "w" * 34, "hf_" + "r" * 34  # tokens that the stub knows
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


@dataclass
class Repository:
    """Files by path, with those that came as LFS by their SHA-256; a commit for each change.

    `card` is the metadata of its card, as the hub tells it.
    """

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": ATTRIBUTES})
    large: dict[str, str] = field(default_factory=dict)
    commits: int = 1
    card: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The newest commit."""
        return f"{self.commits:040x}"


@dataclass
class Hub:
    """The running stub. `spoil` says of a step (lfs, commit) how it goes wrong: a status, or change."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    spoil: dict[str, str] = field(default_factory=dict)


def blob_id(body: bytes) -> str:
    """What git calls a blob."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def handler_for(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, value: Any, code: int = 200, error: str = "") -> None:
            body = json.dumps(value).encode()
            self.send_response(code)
            if error:
                self.send_header("X-Error-Code", error)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def token(self) -> str:
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def allowed(self) -> bool:
            if self.token() == WRITES:
                return True
            self.answer({"error": "no"}, 403 if self.token() == READS else 401)
            return False

        def repository(self, name: str) -> Repository | None:
            repository = hub.repositories.get(name)
            if repository is None or (repository.private and self.token() not in (WRITES, READS)):
                self.answer({"error": "not here"}, 404, "RepoNotFound")
                return None
            return repository

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.requests.append(f"GET {path}")
            if self.token() not in (WRITES, READS, ""):
                return self.answer({"error": "who?"}, 401)
            match = re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/tree/[^/]+)?", path)
            repository = self.repository(match[1]) if match else None
            if not match or repository is None:
                return None
            if match[2]:
                return self.answer([self.entry(repository, name) for name in repository.files])
            self.answer(
                {
                    "id": match[1],
                    "modelId": match[1],
                    "sha": repository.head,
                    "tags": [],
                    "private": repository.private,
                    "siblings": [],
                    "likes": 0,
                    "cardData": repository.card,
                }
            )

        def entry(self, repository: Repository, name: str) -> dict[str, Any]:
            body = repository.files[name]
            row = {"type": "file", "path": name, "size": len(body), "oid": blob_id(body)}
            if name in repository.large:
                pointer = {"oid": repository.large[name], "size": len(body), "pointerSize": 134}
                row |= {"lfs": pointer, "oid": blob_id(b"pointer to " + repository.large[name].encode())}
            return row

        def do_PUT(self) -> None:
            match = re.fullmatch(r"/blobs/([0-9a-f]{64})", self.path)
            hub.requests.append(f"PUT {self.path[:7]}")
            body = self.body()
            if hub.spoil.get("lfs", "").isdecimal():
                return self.answer({}, int(hub.spoil["lfs"]))
            if not match or hashlib.sha256(body).hexdigest() != match[1]:
                return self.answer({"error": "another checksum"}, 400)
            hub.blobs[match[1]] = body
            self.answer({})

        def do_POST(self) -> None:
            hub.requests.append(f"POST {self.path}")
            body = self.body()
            if self.path == "/api/validate-yaml":
                return self.answer({"errors": [], "warnings": []})
            if not self.allowed():
                return None
            if self.path == "/api/repos/create":
                return self.create(json.loads(body))
            if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
                return self.batch(json.loads(body))
            match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
            repository = self.repository(match[1]) if match else None
            if not match or repository is None:
                return None
            if match[2] == "preupload":
                return self.preupload(repository, json.loads(body))
            self.commit(match[1], repository, [json.loads(line) for line in body.splitlines()])

        def create(self, request: dict[str, Any]) -> None:
            name = f"{request['organization']}/{request['name']}"
            if name in hub.repositories:
                return self.answer({"error": "there"}, 409)
            private = request.get("private") or request.get("visibility") == "private"
            hub.repositories[name] = Repository(bool(private))
            self.answer({"url": f"{hub.url}/{name}", "name": name})

        def preupload(self, repository: Repository, request: dict[str, Any]) -> None:
            rows = []
            for file in request["files"]:
                body = repository.files.get(file["path"])
                large = file["path"].endswith(".safetensors")
                oid = blob_id(body) if body is not None else None
                rows.append(
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if large else "regular",
                        "shouldIgnore": False,
                        "oid": oid,
                    }
                )
            self.answer({"files": rows})

        def batch(self, request: dict[str, Any]) -> None:
            objects = []
            for entry in request["objects"]:
                row = {"oid": entry["oid"], "size": entry["size"]}
                if entry["oid"] not in hub.blobs:
                    row["actions"] = {"upload": {"href": f"{hub.url}/blobs/{entry['oid']}"}}
                objects.append(row)
            self.answer({"transfer": "basic", "objects": objects})

        def commit(self, name: str, repository: Repository, lines: list[dict[str, Any]]) -> None:
            if hub.spoil.get("commit", "").isdecimal():
                return self.answer({"error": "no"}, int(hub.spoil["commit"]))
            parent = lines[0]["value"].get("parentCommit")
            if parent not in (None, repository.head):
                return self.answer({"error": "moved"}, 412)
            for line in lines[1:]:
                value = line["value"]
                path = value["path"]
                if line["key"] == "deletedFile":
                    repository.files.pop(path)
                    repository.large.pop(path, None)
                elif line["key"] == "lfsFile":
                    repository.files[path] = hub.blobs[value["oid"]]
                    repository.large[path] = value["oid"]
                else:
                    repository.files[path] = base64.b64decode(value["content"])
            if hub.spoil.get("commit") == "change":
                repository.files["README.md"] += b"\n"
            repository.commits += 1
            self.answer(
                {
                    "commitUrl": f"{hub.url}/{name}/commit/{repository.head}",
                    "commitOid": repository.head,
                    "hookOutput": "",
                    "success": True,
                }
            )

    return Handler


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The stub while the context lasts."""
    hub = Hub()
    with served(handler_for(hub)) as hub.url:
        yield hub
