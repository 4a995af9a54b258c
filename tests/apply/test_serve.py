"""A served arm answers programs and its own page, refuses what it must, and stops when it has answered."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

import tuneproof
from tests.arms.small import small_recipe
from tests.monitoring import run_recorded
from tuneproof.apply.http_requests import LOOPBACK, Limits
from tuneproof.apply.request_batches import BusyError, RequestBatches
from tuneproof.apply.serve import serve
from tuneproof.apply.server import Service
from tuneproof.cli.main import main
from tuneproof.errors import RecipeError, RunError
from tuneproof.record.study_folder import read_items

JSON = {"Content-Type": "application/json"}
LIMITS = Limits(body_bytes=4_000, items=8)
MINUTE_S = 60


@pytest.fixture(scope="module")
def arm(tmp_path_factory) -> Path:
    recipe = small_recipe(tmp_path_factory.mktemp("served"), [], ["majority", "lexical"])
    run_recorded(recipe)
    return Path(recipe.out) / "arms" / "lexical"


@pytest.fixture(scope="module")
def port(arm) -> int:
    """The port of a server in this process."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    service = Service(tuneproof.load(arm), LOOPBACK, LIMITS, max_waiting=16)
    server = uvicorn.Server(uvicorn.Config(service.application(), log_level="error", http="h11"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """The status and the body; `headers` with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, named)
        response = connection.getresponse()
        return response.status, response.read().decode()


def post(port: int, value: object, **headers: str) -> tuple[int, dict]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    status, text = ask(port, "POST", "/predict", body, **{"Content_Type": "application/json", **headers})
    return status, json.loads(text)


def test_it_predicts_what_the_loaded_arm_predicts(port, arm):
    texts = read_items(arm.parent.parent, "test").texts[:5]
    status, value = post(port, {"texts": texts})
    expected = tuneproof.load(arm).predict(texts)
    assert status == 200
    assert [row["label"] for row in value["predictions"]] == expected.predicted_labels
    shares = [list(row["probabilities"].values()) for row in value["predictions"]]
    assert shares == expected.probabilities_NC.tolist()


BAD = [
    (b"{", 422, "The body is no JSON"),
    (b"[" * 3000, 422, "The body is no JSON"),
    (b'{"texts": [NaN]}', 422, "NaN is no number of JSON"),
    (b"\xff\xfe", 422, "The body is no JSON"),
    ([], 422, "allowed keys: texts, abstain"),
    ({"text": ["a"]}, 422, "allowed keys: texts, abstain"),
    ({"texts": ["a"], "top": 1}, 422, "allowed keys: texts, abstain"),
    ({"texts": "a"}, 422, "must be a list"),
    ({"texts": []}, 422, "holds no text"),
    ({"texts": ["a", 1]}, 422, "row 2: is a value of the type int"),
    ({"texts": ["a", "\t"]}, 422, "row 2: the text is empty"),
    ({"texts": ["\ud83d"]}, 422, "half of a character"),
    ({"texts": ["a"] * 9}, 422, "holds 9 items, of at most 8"),
    ({"texts": ["a"], "abstain": 2}, 422, "abstain must be a share between 0 and 1"),
    ({"texts": ["a"], "abstain": True}, 422, "abstain must be a share between 0 and 1"),
    ({"texts": ["a"], "abstain": 0.0001}, 422, "dev items cannot show an error"),
    ({"texts": ["a" * 5_000]}, 413, "larger than 4,000 bytes"),
]


@pytest.mark.parametrize(("value", "status", "message"), BAD)
def test_a_bad_request_gets_one_sentence_and_no_path_of_this_machine(port, arm, value, status, message):
    got_status, got = post(port, value)
    assert (got_status, message in got["error"]) == (status, True), got
    assert str(arm.parent) not in got["error"]


def test_a_body_without_a_length_is_cut_off_at_the_limit(port):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/predict", (b"x" * 1000 for _ in range(6)), JSON, encode_chunked=True)
        assert connection.getresponse().status == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_pages_of_other_sites_are_refused(port, headers, status):
    assert post(port, {"texts": ["good"]}, **headers)[0] == status


def test_other_paths_name_those_that_are_served(port):
    for method, path, status in (("GET", "/docs", 404), ("GET", "/predict", 405), ("DELETE", "/", 405)):
        code, text = ask(port, method, path)
        assert (code, "POST /predict" in text) == (status, True)


def test_health_and_metrics_say_what_happened(port):
    assert json.loads(ask(port, "GET", "/health")[1])["labels"]
    post(port, {"texts": ["good"]})
    text = ask(port, "GET", "/metrics")[1]
    assert 'tuneproof_requests_total{path="/predict",status="200"}' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ (counter|gauge)|\w+(\{[^}]*\})? [\d.e+-]+", line), line


def test_the_page_loads_nothing_from_outside_and_escapes_names(arm):
    from starlette.requests import Request

    model = tuneproof.load(arm)
    model.name = "<script>alert(1)</script>"
    service = Service(model, LOOPBACK, LIMITS, max_waiting=16)
    import asyncio

    response = asyncio.run(service.page(Request({"type": "http"})))
    html, policy = response.body.decode(), response.headers["content-security-policy"]
    service.batches.close()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'nonce-([\w-]+)'", policy)[1] in html
    assert "innerHTML" not in html


def test_requests_that_wait_together_are_predicted_together_and_an_error_reaches_one_of_them():
    sizes, started, go_on = [], threading.Event(), threading.Event()

    def predict(items):
        sizes.append(len(items))
        started.set()
        go_on.wait(10)
        if "bad" in items:
            raise ValueError("bad")
        return [item * 2 for item in items]

    batches = RequestBatches(predict, batch_items=4, max_waiting=6)
    first = batches.submit(["a"])
    started.wait(10)
    others = [batches.submit([name]) for name in ("b", "bad", "c")]
    large = batches.submit(["x"] * 3)
    with pytest.raises(BusyError, match="6 items wait already"):
        batches.submit(["d"])
    go_on.set()
    assert first.result(10) == ["aa"]
    assert [others[0].result(10), others[2].result(10)] == [["bb"], ["cc"]]
    with pytest.raises(ValueError, match="bad"):
        others[1].result(10)
    assert large.result(10) == ["xx"] * 3
    batches.close()
    assert sizes == [1, 3, 1, 1, 1, 3]
    with pytest.raises(BusyError, match="stopping"):
        batches.submit(["e"])


def test_a_full_queue_is_503_with_when_to_come_again(arm):
    from starlette.responses import JSONResponse

    from tuneproof.apply.server import _error_response

    response = _error_response(BusyError("", "16 items wait already."))
    assert isinstance(response, JSONResponse)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "is every address of this machine"),
        (["--host", "::"], "is every address of this machine"),
        (["--host", "example"], "'example' is no IP address"),
        (["--port", "70000"], "70000 is no port"),
        (["--port", "x"], "invalid int value: 'x'"),
    ],
)
def test_a_bad_address_is_refused_before_anything_loads(options, message, capsys):
    assert main(["serve", "nowhere", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_port_in_use_and_a_missing_package_are_named(arm, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(RunError, match="another port"):
        serve(arm, port=other.getsockname()[1])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"pip install 'tuneproof\[serve\]'"):
        serve(arm)


def started_server(arm: Path) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-m", "tuneproof", "serve", str(arm), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(re.search(r":(\d+)\.", process.stdout.readline())[1])


def test_a_signal_ends_it_with_success(arm):
    process, port = started_server(arm)
    assert post(port, {"texts": ["good"]})[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.slow
def test_50_clients_for_a_minute_see_no_error_and_memory_stays_bounded(tmp_path):
    recipe = small_recipe(tmp_path, ["demo"], ["majority", "head"])
    run_recorded(recipe)
    arm = Path(recipe.out) / "arms" / "demo.head"
    process, port = started_server(arm)
    resident = psutil.Process(process.pid).memory_info
    end = time.monotonic() + MINUTE_S
    memory: list[int] = []

    def client(number: int) -> list[int]:
        statuses = []
        while time.monotonic() < end:
            texts = [f"text {number} of {len(statuses)} {'good ' * (len(statuses) % 40)}"] * (1 + number % 4)
            statuses.append(post(port, {"texts": texts})[0])
            if number == 0:
                memory.append(resident().rss)
        return statuses

    with ThreadPoolExecutor(50) as clients:
        statuses = [status for answers in clients.map(client, range(50)) for status in answers]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    early = max(memory[: max(1, len(memory) // 4)])
    print(f"{len(statuses):,} requests; {early / 2**20:.0f} MiB early, {max(memory) / 2**20:.0f} MiB at most")
    assert set(statuses) == {200}
    assert len(statuses) > 200 or os.getloadavg()[0] > 4
    assert max(memory) < early + 200 * 2**20


@pytest.mark.parametrize(("sent", "status"), [(None, 401), ("Bearer wrong", 401), ("Bearer a-key", 200)])
def test_a_server_with_a_key_answers_who_sends_it(arm, sent, status):
    from starlette.testclient import TestClient

    service = Service(tuneproof.load(arm), LOOPBACK, LIMITS, max_waiting=16, key="a-key")
    with TestClient(service.application(), "http://127.0.0.1") as client:
        headers = {} if sent is None else {"Authorization": sent}
        assert client.post("/predict", json={"texts": ["good"]}, headers=headers).status_code == status
