"""How fast the page answers to a large file, and what ten tabs cost a study that they watch.

In: a number of rows, steps of the watched study. Out: seconds, and a ratio. Knows nothing of: browsers.

    python -m benchmarks page [--rows 500000] [--times 3]

Upload: the demo's reviews repeated to so many rows as CSV; seconds from the last byte to the preview, and to
the list of studies while the audit of the file runs. Tabs: the training time of a study on the demo's reviews
(all weights of the demo model, one thread), alone and with ten tabs that watch it, in turn.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

TABS = 10
REVIEWS = Path(__file__).parents[1] / "src/tuneproof/tasks/demo/reviews.jsonl"
SETTINGS = {"compute.threads": "1", "train.epochs": "2", "arms.full.learning_rate": "1e-4"}


@contextmanager
def _page(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tuneproof", "ui", str(folder), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    match = re.search(r"http://\S+", process.stdout.readline())
    assert match is not None, "the page did not start"
    try:
        yield match[0]
    finally:
        process.terminate()
        process.wait()


def _ask(address: str, path: str, body: bytes | None = None) -> Any:
    at = urlsplit(address)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=600)
    connection.request("GET" if body is None else "POST", at.path + path, body)
    answer = connection.getresponse()
    value = json.loads(answer.read())
    assert answer.status == 200, value
    return value


def _rows(count: int) -> bytes:
    lines = [json.loads(line) for line in REVIEWS.read_text("utf-8").splitlines()]
    rows = [f'"{row["text"].replace(chr(34), "")} {{}}",{row["label"]}' for row in lines]
    numbered = (rows[n % len(rows)].format(n) for n in range(count))
    return ("text,label\n" + "\n".join(numbered) + "\n").encode()


def measure_upload(address: str, count: int) -> None:
    """Print how long the preview of a large file takes, and how the page answers during its audit."""
    data = _rows(count)
    started = time.perf_counter()
    file = _ask(address, f"api/files?name={quote('large.csv')}", data)
    preview_s = time.perf_counter() - started
    columns = {"text": "text", "label": "label"}
    design = {"name": "audit", "kind": "labels", "path": file["path"], "columns": columns, "audit": True}
    body = json.dumps({**design, "arms": ["majority"]}).encode()
    audit = threading.Thread(target=_ask, args=(address, "api/check", body))
    audit.start()
    started_audit, waits = time.perf_counter(), []
    while audit.is_alive():
        started = time.perf_counter()
        _ask(address, "api/studies")
        waits.append(time.perf_counter() - started)
        time.sleep(0.2)
    audit_s = time.perf_counter() - started_audit
    print(f"{count:,} rows, {len(data) / 1e6:.0f} MB: preview {preview_s:.2f} s, audit {audit_s:.1f} s")
    print(f"meanwhile the list of studies took {statistics.median(waits):.3f} s, at most {max(waits):.3f} s")


def _train_s(address: str, folder: Path, name: str, tabs: int) -> float:
    """Seconds of training of a study that so many tabs watch."""
    design = {"name": name, "kind": "demo", "models": ["demo"], "arms": ["full"], "seeds": [0]}
    _ask(address, "api/studies", json.dumps({**design, "settings": SETTINGS}).encode())
    for _ in range(tabs):
        threading.Thread(target=_watch, args=(address, name), daemon=True).start()
    while (board := _ask(address, f"api/studies/{name}"))["state"] == "running":
        time.sleep(1)
    assert board["state"] == "finished", board["error"]
    arm = json.loads((folder / name / "arms/demo.full.seed0/arm.json").read_text())
    return float(arm["time_s"]["train"])


def _watch(address: str, name: str) -> None:
    at = urlsplit(address)
    connection = http.client.HTTPConnection(str(at.hostname), at.port)
    connection.request("GET", f"{at.path}api/studies/{name}/events")
    answer = connection.getresponse()
    while answer.readline():
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both measurements; 0."""
    parser = argparse.ArgumentParser(prog="benchmarks page")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home, _page(Path(home)) as address:
        measure_upload(address, args.rows)
        seconds: dict[int, list[float]] = {0: [], TABS: []}
        for turn in range(args.times):
            for tabs in (0, TABS):
                seconds[tabs].append(_train_s(address, Path(home), f"turn{turn}-{tabs}", tabs))
        alone, watched = (statistics.median(seconds[tabs]) for tabs in (0, TABS))
        print(f"training alone {alone:.1f} s, with {TABS} tabs {watched:.1f} s: {watched / alone:.3f} times")
        print({tabs: [round(value, 1) for value in values] for tabs, values in seconds.items()})
    return 0
