"""What a client of `tuneproof serve` may send: whose page it comes from, its size, its JSON.

In: headers and a body. Out: the items to predict, or an error with its status.
Knows nothing of: models, predictions, Starlette.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tuneproof.apply.loaded_arm import check_texts
from tuneproof.errors import DataError
from tuneproof.tasks.whole_characters import check_whole_characters

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FIELDS = {"labels": ("texts",), "questions": ("questions", "contexts"), "answers": ("texts",)}


class HttpError(Exception):
    """An answer other than 200: its status and one sentence or two."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients send. body_bytes: of a request. items: of a request, in texts or questions."""

    body_bytes: int = 1 << 20
    items: int = 256


@dataclass(frozen=True)
class PredictRequest:
    """Items to predict: texts, or pairs of question and context. abstain: as in `LoadedArm.predict`."""

    items: list[Any]
    abstain: float | None


def check_sender(host: str, headers: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Refuse what another site's page sends, through its own name for this machine or from afar.

    host: the Host header. names: by which this server may be called.

    Raises: HttpError 421 or 403.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in names:
        allowed = ", ".join(names)
        raise HttpError(421, f"The Host header is not a name of this server. Allowed: {allowed}.")
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "none")
    if (origin is not None and origin != f"http://{host}") or site not in ("none", "same-origin"):
        raise HttpError(403, "The request comes from the page of another site.")


async def read_limited(stream: AsyncIterator[bytes], limit: int, advice: str, announced: int = 0) -> bytes:
    """A body of at most `limit` bytes. announced: its size by the Content-Length header, where that counts.

    Raises: HttpError 413 as soon as it is larger.
    """
    too_large = HttpError(413, f"The body is larger than {limit:,} bytes. {advice}")
    if announced > limit:
        raise too_large
    body = bytearray()
    async for part in stream:
        body += part
        if len(body) > limit:
            raise too_large
    return bytes(body)


def check_key(headers: Mapping[str, str], key: str | None) -> None:
    """Refuse who does not send the key of a server that has one. Raises: HttpError 401."""
    if key is not None:
        sent = headers.get("authorization", "").encode()
        if not secrets.compare_digest(sent, f"Bearer {key}".encode()):
            raise HttpError(401, "The server has a key. Send it: Authorization: Bearer KEY.")


def read_request(kind: str, content_type: str, body: bytes, limits: Limits) -> PredictRequest:
    """The request in a body. Raises: HttpError 415 or 422; DataError where a text is no text."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HttpError(415, "The body must be JSON: set Content-Type: application/json.")
    fields = FIELDS[kind]
    example = ", ".join(f'"{name}": ["…"]' for name in fields)
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise HttpError(422, f"The body is no JSON: {error}. Send {{{example}}}.") from None
    allowed = (*fields, *(("abstain",) if kind == "labels" else ()))
    if not isinstance(value, dict) or not set(fields) <= set(value) <= set(allowed):
        raise HttpError(422, f"The body must be {{{example}}}; allowed keys: {', '.join(allowed)}.")
    return PredictRequest(_read_items(value, fields, limits), _read_share(value.get("abstain")))


def _read_items(value: Mapping[str, Any], fields: tuple[str, ...], limits: Limits) -> list[Any]:
    columns = [value[name] for name in fields]
    for name, column in zip(fields, columns, strict=True):
        if not isinstance(column, list):
            raise HttpError(422, f"{name} must be a list of texts.")
        if len(column) > limits.items:
            raise HttpError(422, f"{name} holds {len(column):,} items, of at most {limits.items:,}.")
        check_texts(name, column)
        for row, text in enumerate(column, 1):
            if not text.strip():
                raise DataError(f"{name}, row {row}", "the text is empty.", do="Fill it in, or remove it.")
            check_whole_characters(f"{name}, row {row}", text)
    if len({len(column) for column in columns}) > 1:
        raise HttpError(422, f"{' and '.join(fields)} must be of one length.")
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _read_share(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < 1):
        raise HttpError(422, "abstain must be a share between 0 and 1, or null.")
    return None if value is None else float(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
