"""Faults of a server: no item is lost, no request is paid twice, the key is nowhere."""

import random
import threading
import time

import pytest

from tests.server_stub import reply_with, running_stub
from tuneproof.errors import RecipeError, RunError, TuneproofError
from tuneproof.methods import endpoint_client
from tuneproof.methods.endpoint import EndpointOptions, reply_from_server
from tuneproof.methods.endpoint_log import REPLIES
from tuneproof.methods.system import SystemRequest
from tuneproof.tasks.task import Example, Prompt

KEY = "zq9-key-of-the-stub"  # no pattern of secrets matches it
PROMPT = Prompt("Label it.", "Text: {text}\nLabel:", ("negative", "positive"), "", ())
PASSING = ["429", "429 0", "503 0", "408", "409", "500", "502", "529", "cut", "gone", "html", "half", "nan"]
PASSING += ["deep", "list", "none", "null", "error"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 0.002)
    monkeypatch.setattr(endpoint_client, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setenv("STUB_ENTRY", KEY)


def request_of(folder, count=12, **more):
    opinions = ("very good", "bad")
    examples = [
        Example(f"row-{n}", f"Number {n} was {opinions[n % 2]}.", (n + 1) % 2, f"g{n}") for n in range(count)
    ]
    return SystemRequest(examples, ("negative", "positive"), PROMPT, folder=folder, **more)


def options_of(stub, **options):
    return EndpointOptions(
        **{"url": stub.url, "model": "stub", "allow": True, "key_env": "STUB_ENTRY", **options}
    )


def is_complete(replies, count=12):
    return list(replies.texts) == ["positive", "negative"] * (count // 2)


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_loses_nothing_and_is_paid_once(tmp_path, fault):
    with running_stub(faults=[fault] * 3) as stub:
        replies = reply_from_server(options_of(stub), request_of(tmp_path))
    assert is_complete(replies)
    assert set(stub.paid.values()) == {1}
    assert len(stub.bodies) == 12 + 3
    assert replies.about["endpoint"]["tries"] == 12 + 3


def test_a_request_that_takes_too_long_is_tried_again(tmp_path):
    with running_stub(faults=["slow 0.5"]) as stub:
        replies = reply_from_server(options_of(stub, timeout_s=0.2), request_of(tmp_path))
    assert is_complete(replies)


def test_a_reply_that_is_too_large_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_client, "MAX_REPLY_BYTES", 100_000)
    with running_stub(faults=["huge"]) as stub:
        assert is_complete(reply_from_server(options_of(stub), request_of(tmp_path)))


def test_the_server_says_how_long_all_wait(tmp_path):
    with running_stub(faults=["429 1"]) as stub:
        started = time.monotonic()
        reply_from_server(options_of(stub, concurrency=1), request_of(tmp_path, 2))
        assert time.monotonic() - started >= 1.0


def test_a_wait_of_hours_is_not_waited(tmp_path):
    with running_stub(faults=["429 86400"]) as stub, pytest.raises(RunError, match=r"wait 86,400 seconds"):
        reply_from_server(options_of(stub), request_of(tmp_path))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7", 7, 7),
        ("-3", 0, 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 1e9, 1e10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, low, high):
    assert low <= endpoint_client._retry_after(text) <= high


@pytest.mark.parametrize("text", ["", "soon", "nan", "1 2"])
def test_any_other_retry_after_says_nothing(text):
    assert endpoint_client._retry_after(text) is None


@pytest.mark.parametrize(
    ("fault", "words"), [("401 wrong", "wrong"), ("400 too_long", "400"), ("404", "404")]
)
def test_a_refusal_ends_the_arm_at_once(tmp_path, fault, words):
    with running_stub(faults=[fault]) as stub, pytest.raises(RunError, match=words):
        reply_from_server(options_of(stub), request_of(tmp_path))
    assert len(stub.bodies) == 1


def test_a_redirect_is_not_followed(tmp_path):
    with running_stub() as other, running_stub(faults=[f"307 {other.url}/chat/completions"]) as stub:
        with pytest.raises(RunError, match="Redirects are not followed"):
            reply_from_server(options_of(stub), request_of(tmp_path))
        assert other.bodies == []


def test_a_server_that_keeps_failing_ends_the_arm_and_what_is_paid_is_kept(tmp_path):
    with running_stub() as stub:
        stub.faults[:] = ["", "", "", *["500"] * 100]
        options = options_of(stub, retries=2, concurrency=1)
        with pytest.raises(RunError, match=r"failed 3 times; the last time the server answered 500"):
            reply_from_server(options, request_of(tmp_path))
        assert stub.paid.total() == 3
        stub.faults.clear()
        replies = reply_from_server(options, request_of(tmp_path))
    assert is_complete(replies)
    assert set(stub.paid.values()) == {1}


def test_a_server_that_does_not_run_is_given_up_soon(tmp_path):
    with running_stub() as stub:
        url = stub.url
    with pytest.raises(RunError, match=r"failed 3 times.*connection failed"):
        reply_from_server(EndpointOptions(url=url, model="m", allow=True), request_of(tmp_path))


def test_a_stop_waits_for_what_is_under_way_and_keeps_it(tmp_path):
    class StopError(Exception):
        pass

    with running_stub(slow_s=0.3) as stub:

        def stop(done):
            if stub.paid.total() > 1:
                raise StopError

        with pytest.raises(StopError):
            reply_from_server(options_of(stub, concurrency=3), request_of(tmp_path, report=stop))
        paid = stub.paid.total()
        assert paid < 12
        assert len((tmp_path / REPLIES).read_text().splitlines()) == paid
        assert is_complete(reply_from_server(options_of(stub), request_of(tmp_path)))
    assert set(stub.paid.values()) == {1}


def test_a_stop_does_not_wait_for_a_retry(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT_S", 60.0)
    monkeypatch.setattr(endpoint_client, "LONGEST_WAIT_S", 60.0)

    class StopError(Exception):
        pass

    with running_stub(faults=["500"]) as stub:

        def stop(done):
            if len(stub.bodies) == 1 and not stub.at_once and stub.faults == []:
                raise StopError

        started = time.monotonic()
        with pytest.raises(StopError):
            reply_from_server(options_of(stub), request_of(tmp_path, report=stop))
    assert time.monotonic() - started < 20


def test_requests_at_once_are_bounded(tmp_path):
    with running_stub(slow_s=0.05) as stub:
        reply_from_server(options_of(stub, concurrency=3), request_of(tmp_path))
    assert 2 <= stub.most_at_once <= 3


def test_the_key_is_in_one_header_and_nowhere_else(tmp_path, capfd):
    def leak(body):
        return reply_with("positive", **{KEY: [KEY], "model": f"stub {KEY}"})

    with running_stub(answer=leak) as stub:
        replies = reply_from_server(options_of(stub), request_of(tmp_path))
        assert {headers["Authorization"] for headers in stub.headers} == {f"Bearer {KEY}"}
        assert KEY not in repr(stub.bodies)
        stub.faults[:] = [f"401 key:{KEY}"]
        with pytest.raises(RunError, match="hidden") as refusal:
            reply_from_server(options_of(stub), request_of(None))
        stub.faults[:] = [f"500 {KEY}"] * 3
        with pytest.raises(RunError) as failure:
            reply_from_server(options_of(stub, retries=1), request_of(None))
    texts = [repr(replies), str(refusal.value), str(failure.value), *capfd.readouterr()]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(texts) > 5
    assert not [text for text in texts if KEY in text]


def test_without_a_key_no_header_is_sent_even_if_the_environment_has_one(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with running_stub() as stub:
        reply_from_server(options_of(stub, key_env=None), request_of(tmp_path))
    assert all("Authorization" not in headers for headers in stub.headers)


def test_a_key_is_not_sent_unencrypted_to_another_machine(tmp_path):
    options = EndpointOptions(url="http://models.example/v1", model="m", allow=True, key_env="STUB_ENTRY")
    with pytest.raises(RecipeError, match="unencrypted"):
        reply_from_server(options, request_of(tmp_path))


@pytest.mark.parametrize("value", ["", "  ", "two words", "ключ"])
def test_a_variable_without_a_key_is_refused_and_its_value_not_repeated(tmp_path, monkeypatch, value):
    monkeypatch.setenv("STUB_ENTRY", value)
    with running_stub() as stub, pytest.raises(RecipeError, match="key_env: names an environment") as error:
        reply_from_server(options_of(stub), request_of(tmp_path))
    assert not value.strip() or value not in str(error.value)
    assert stub.bodies == []


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:8000/v1", "ftp://host/v1", "file:///etc/passwd", "http://", "http://host:99999/v1"),
        *("https://user:pw@host/v1", "https://host/v1?api_key=abc", "https://host/v1/chat/completions"),
        "http://h\n/v1",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        EndpointOptions(url=url, model="m")


def test_one_hundred_faults_in_any_order(tmp_path):
    random_faults = random.Random(22).choices([*PASSING, ""], k=100)
    with running_stub(faults=list(random_faults)) as stub:
        for _ in range(200):
            try:
                replies = reply_from_server(
                    options_of(stub, retries=3, concurrency=8), request_of(tmp_path, 60)
                )
                break
            except TuneproofError:
                continue
        faults_left = len(stub.faults)
    assert is_complete(replies, 60)
    assert set(stub.paid.values()) == {1}
    assert faults_left == 0
    assert threading.active_count() < 20
