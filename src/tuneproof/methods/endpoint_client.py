"""Requests to a server that speaks the OpenAI protocol: bounded in time, size and tries.

In: where the server is, a request. Out: the server's reply as plain values, or an error.
Knows nothing of: items, labels, files. The key leaves it in one header alone.
"""

import ipaddress
import json
import os
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from tuneproof.errors import RecipeError, RunError
from tuneproof.redact import HIDDEN, is_secret, printable, redact

MAX_REPLY_BYTES = 16_000_000
MAX_MESSAGE = 300  # characters of a server's message in an error
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
MAX_RETRY_AFTER_S = 600.0
RETRIED = {408, 409, 425, 429}
UNREACHED_TRIES = 3  # while no reply has come yet
JITTER = random.SystemRandom()  # no draw of a study depends on it


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is and how it is spoken to. key_env: the environment variable of its key."""

    url: str
    key_env: str | None = None
    timeout_s: float = 120.0
    retries: int = 6

    @property
    def is_loopback(self) -> bool:
        """Whether it runs on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def shown(self) -> str:
        """The address without a query."""
        return self.url.partition("?")[0]

    def url_of(self, path: str) -> str:
        """The address of a path below the base."""
        base, mark, query = self.url.partition("?")
        return f"{base.rstrip('/')}/{path}{mark}{query}"

    def key(self) -> str:
        """The key; "" where none is needed.

        Raises: RecipeError where the variable is empty, its value cannot be a key, or it would be readable.
        """
        if self.key_env is None:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            problem = "names an environment variable that is not set."
            raise RecipeError("key_env", problem, do="Export the key in that variable, or leave key_env out.")
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise RecipeError("key_env", "names an environment variable that holds no key.")
        if urlsplit(self.url).scheme == "http" and not self.is_loopback:
            problem = f"{self.shown} would be sent the key unencrypted."
            raise RecipeError("url", problem, do="Use https://, or leave key_env out.")
        return key


def check_url(url: str) -> None:
    """Raises: ValueError, in words for a user, where this cannot be the base address of a server."""
    parts = _split(url)
    if parts is None:
        raise ValueError(
            "it should begin with http:// or https:// and a host, such as http://localhost:8000/v1"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user or a password: name an environment variable with key_env instead")
    if any(is_secret(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError("it holds a key: name an environment variable with key_env instead")
    if parts.path.rstrip("/").endswith("/completions"):
        raise ValueError("it should be the base address, without /chat/completions or /completions")


def _split(url: str) -> SplitResult | None:
    """The parts of an address; None where it is none of a web server."""
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return None
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return parts if is_web and has_port and url.isprintable() else None


class _TransientError(Exception):
    """A failure that may pass. wait_s: how long the server asks to wait."""

    def __init__(self, reason: str, wait_s: float | None = None, unreached: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait_s, self.unreached = reason, wait_s, unreached


class RequestsEndedError(Exception):
    """No request is sent any more."""


class Server:
    """A connection that threads share. `stop` ends the waiting between tries."""

    def __init__(self, address: ServerAddress) -> None:
        self.address, self.key = address, address.key()
        self.stop = threading.Event()
        self._pause_until, self._reached = 0.0, False
        self._http = _import_http()
        self._client = self._http.Client(
            headers=self._headers(),
            timeout=address.timeout_s,
            follow_redirects=False,
            trust_env=not address.is_loopback,  # of proxies; this machine is reached without one
            limits=self._http.Limits(max_connections=None),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "tuneproof"}
        return {**headers, "Authorization": f"Bearer {self.key}"} if self.key else headers

    def post(self, path: str, body: Mapping[str, Any], what: str) -> tuple[dict[str, Any], float, int]:
        """The reply, the seconds that it took, and the tries.

        Raises: RunError where the server refuses, or fails at every try; RequestsEndedError after `stop`.
        """
        data = json.dumps(body, ensure_ascii=True).encode()
        for attempt in range(1, self.address.retries + 2):
            self._wait_for_turn()
            started = time.monotonic()
            try:
                reply = self._attempt(path, data, what)
            except _TransientError as failure:
                tries = self.address.retries + 1
                if failure.unreached and not self._reached:
                    tries = min(tries, UNREACHED_TRIES)
                if attempt >= tries:
                    problem = f"{what} failed {attempt} times; the last time {failure.reason}."
                    raise self._error(problem, "Replies so far are kept: the same command resumes.") from None
                self._pause(failure, attempt)
            else:
                self._reached = True
                return reply, time.monotonic() - started, attempt
        raise AssertionError("unreachable")

    def _wait_for_turn(self) -> None:
        wait_s = max(0.0, self._pause_until - time.monotonic())
        if self.stop.wait(wait_s) if wait_s else self.stop.is_set():
            raise RequestsEndedError

    def _pause(self, failure: _TransientError, attempt: int) -> None:
        """Wait with jitter, each time twice as long; where the server says how long, all threads wait."""
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1)) * JITTER.uniform(0.5, 1.0)
        if failure.wait_s is not None:
            if failure.wait_s > MAX_RETRY_AFTER_S:
                problem = f"{failure.reason}, and asks to wait {failure.wait_s:,.0f} seconds."
                raise self._error(problem, "Replies so far are kept: the same command resumes.")
            self._pause_until = max(self._pause_until, time.monotonic() + failure.wait_s)
        if self.stop.wait(wait_s):
            raise RequestsEndedError

    def _attempt(self, path: str, data: bytes, what: str) -> dict[str, Any]:
        http = self._http
        try:
            status, headers, content = self._send(path, data)
        except http.TimeoutException:
            raise _TransientError(f"it took longer than {self.address.timeout_s:g} seconds") from None
        except (http.UnsupportedProtocol, http.LocalProtocolError, http.InvalidURL) as error:
            raise self._error(f"{what} cannot be sent ({type(error).__name__}).") from None
        except http.RequestError as error:
            reason = f"the connection failed: {self._clean(f'{type(error).__name__}: {error}')}"
            raise _TransientError(reason, unreached=isinstance(error, http.ConnectError)) from None
        if 200 <= status < 300:
            return self._read(content)
        message = f"the server answered {status}: {self._clean(_message(content))}".rstrip(": ")
        if status in RETRIED or status >= 500:
            raise _TransientError(message, _retry_after(headers.get("Retry-After", "")))
        if 300 <= status < 400:
            raise self._error(f"{message} (a redirect).", "Redirects are not followed: set the final url.")
        raise self._error(f"{what}: {message}.", "Fix the settings of this arm; the same command resumes.")

    def _send(self, path: str, data: bytes) -> tuple[int, Mapping[str, str], bytes]:
        deadline = time.monotonic() + self.address.timeout_s
        chunks, size = [], 0
        url, headers = self.address.url_of(path), {"Content-Type": "application/json"}
        with self._client.stream("POST", url, content=data, headers=headers) as response:
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > MAX_REPLY_BYTES:
                    raise _TransientError(f"its reply had more than {MAX_REPLY_BYTES:,} bytes")
                if time.monotonic() > deadline:
                    raise _TransientError(f"it took longer than {self.address.timeout_s:g} seconds")
                chunks.append(chunk)
            return response.status_code, response.headers, b"".join(chunks)

    def _read(self, content: bytes) -> dict[str, Any]:
        """The reply without the key, should the server repeat it."""
        try:
            reply = json.loads(content, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise _TransientError("its reply was not JSON") from None
        choices = reply.get("choices") if isinstance(reply, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            message = self._clean(_message(content)) if isinstance(reply, dict) and "error" in reply else ""
            raise _TransientError(f"its reply held no choice {message}".rstrip())
        cleaned: dict[str, Any] = self._without_key(reply)
        return cleaned

    def _without_key(self, value: Any) -> Any:
        if not self.key:
            return value
        if isinstance(value, str):
            return value.replace(self.key, HIDDEN)
        if isinstance(value, list):
            return [self._without_key(entry) for entry in value]
        if isinstance(value, dict):
            return {self._without_key(name): self._without_key(entry) for name, entry in value.items()}
        return value

    def _clean(self, text: str) -> str:
        """A stranger's text, short, printable and without secrets."""
        text = text.replace(self.key, HIDDEN) if self.key else text
        text = printable(redact(" ".join(text.split())))
        return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]} …"

    def _error(self, problem: str, do: str = "") -> RunError:
        return RunError(self.address.shown, problem, do=do)


def _import_http() -> Any:
    """httpx2 or httpx: whichever the installed huggingface_hub has brought."""
    try:
        import httpx2 as http
    except ImportError:
        try:
            import httpx as http  # type: ignore[no-redef]
        except ImportError:
            problem = "needs the package httpx2."
            raise RecipeError("endpoint", problem, do="pip install httpx2") from None
    return http


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _message(content: bytes) -> str:
    """The server's own words, from the usual forms of an error."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content[: 4 * MAX_MESSAGE].decode("utf-8", "replace")
    for name in ("error", "detail", "message"):
        while isinstance(value, dict) and name in value:
            value = value[name]
    return value if isinstance(value, str) else json.dumps(value)[: 4 * MAX_MESSAGE]


def _retry_after(text: str) -> float | None:
    """Seconds, from seconds or a date; None where it says neither."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if seconds == seconds else None
