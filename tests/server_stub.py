"""A loopback stub of a server that speaks the OpenAI protocol, with the faults that real ones have.

In: how it answers, faults in order. Out: a server on 127.0.0.1 that counts what it answered well.
Knows nothing of: the package under test.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WELL = ""


def reply_with(text: str, model: str = "stub", **more: Any) -> dict[str, Any]:
    """A reply of the chat protocol."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {
        "id": "1",
        "object": "chat.completion",
        "model": model,
        "choices": [choice],
        "usage": usage,
    } | more


def label_by_opinion(body: dict[str, Any]) -> dict[str, Any]:
    """The right label of the small study's items, from the last turn or the end of the prompt."""
    text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return reply_with("positive" if "very good" in text.rpartition("\n\n")[2] else "negative")


@dataclass
class Stub:
    """The running stub. `faults`: what is wrong with the next requests, one each; then all are answered well.

    paid: how often each body was answered well. bodies, headers: of every request.
    """

    url: str = ""
    answer: Callable[[dict[str, Any]], dict[str, Any]] = label_by_opinion
    faults: list[str] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    slow_s: float = 0.0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def handler_for(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(content)
            with stub.lock:
                stub.bodies.append(body)
                stub.headers.append(dict(self.headers))
                fault = stub.faults.pop(0) if stub.faults else WELL
                stub.at_once += 1
                stub.most_at_once = max(stub.most_at_once, stub.at_once)
            try:
                self.spoil(fault, body) if fault else self.send_well(content, body)
            finally:
                with stub.lock:
                    stub.at_once -= 1

        def send_well(self, content: bytes, body: dict[str, Any]) -> None:
            time.sleep(stub.slow_s)
            with stub.lock:
                stub.paid[content.decode()] += 1
            self.send(200, json.dumps(stub.answer(body)).encode())

        def send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content_Type": "application/json", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def spoil(self, fault: str, body: dict[str, Any]) -> None:
            name, _, value = fault.partition(" ")
            whole = json.dumps(stub.answer(body)).encode()
            if name.isdigit():
                headers = {"Retry_After": value} if value and name in ("429", "503") else {}
                headers |= {"Location": value} if value and name.startswith("3") else {}
                message = json.dumps({"error": {"message": value or "a fault", "type": "stub"}}).encode()
                self.send(int(name), message, **headers)
            elif name == "cut":
                self.send_response(200)
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole[: len(whole) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
            elif name == "gone":
                self.close_connection = True
                self.connection.close()
            elif name == "slow":
                time.sleep(float(value))
                self.close_connection = True
            else:
                self.send(200, self.spoiled(name, whole))

        def spoiled(self, name: str, whole: bytes) -> bytes:
            return {
                "html": b"<html>Bad gateway</html>",
                "half": whole[: len(whole) // 2],
                "nan": b'{"choices": [{"message": {"content": "positive"}, "x": NaN}]}',
                "deep": b"[" * 50_000,
                "list": b"[]",
                "none": json.dumps({**json.loads(whole), "choices": []}).encode(),
                "null": json.dumps({**json.loads(whole), "choices": None}).encode(),
                "error": b'{"error": {"message": "overloaded"}}',
                "huge": whole + b" " * 20_000_000,
            }[name]

    return Handler


@contextmanager
def running_stub(**settings: Any) -> Iterator[Stub]:
    """The stub, while it runs."""
    stub = Stub(**settings)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(stub))
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
