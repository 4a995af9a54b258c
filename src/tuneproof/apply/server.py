"""A loaded arm behind HTTP: POST /predict, /health, /metrics, and a page to try it in.

In: a LoadedArm, names by which the server may be called, limits. Out: a Starlette application.
Knows nothing of: sockets, signals, the command line. It needs the extra `serve`.
"""

import asyncio
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tuneproof.apply.abstaining import AbstainingPredictions
from tuneproof.apply.http_requests import (
    HttpError,
    Limits,
    PredictRequest,
    check_key,
    check_sender,
    read_limited,
    read_request,
)
from tuneproof.apply.http_server import HEADERS
from tuneproof.apply.loaded_arm import LoadedArm
from tuneproof.apply.request_batches import BusyError, RequestBatches
from tuneproof.errors import DataError, RecipeError, RunError, TuneproofError
from tuneproof.inference.prediction import Predictions
from tuneproof.redact import printable, redact

HERE = Path(__file__).parent
Handler = Callable[[Request], Awaitable[Response]]


class Service:
    """The handlers of one arm.

    names: by which the server may be called in the Host header. key: what the Authorization header must hold
    as "Bearer KEY"; None: nothing.
    """

    def __init__(
        self,
        model: LoadedArm,
        names: tuple[str, ...],
        limits: Limits,
        max_waiting: int,
        key: str | None = None,
    ) -> None:
        self.model, self.names, self.limits, self.key = model, names, limits, key
        self.batches = RequestBatches(self._predict, limits.items, max_waiting)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.seconds = 0.0
        self._page = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
        ).get_template("serve.html")

    def application(self) -> Starlette:
        """The application; its end predicts what waits and closes the queue."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            await asyncio.to_thread(self.batches.close)

        handlers: dict[str, tuple[str, Handler]] = {
            "/": ("GET", self.page),
            "/health": ("GET", self.health),
            "/metrics": ("GET", self.metrics),
            "/predict": ("POST", self.predict),
        }
        routes = [
            Route(path, self._guarded(path, handler), methods=[method])
            for path, (method, handler) in handlers.items()
        ]
        return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _plain_error})

    def _guarded(self, path: str, handler: Handler) -> Handler:
        """The handler for senders that may ask; its errors as JSON, its answers counted."""

        async def handle(request: Request) -> Response:
            try:
                check_sender(request.headers.get("host", ""), request.headers, self.names)
                check_key(request.headers, self.key)
                response = await handler(request)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:
                response = _error_response(error)
            self.answers[path, response.status_code] += 1
            response.headers.update(HEADERS)
            return response

        return handle

    async def page(self, request: Request) -> Response:
        """The page to try the arm in; it loads nothing from outside."""
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        html = self._page.render(
            name=self.model.name, kind=self.model.kind, nonce=nonce, study=self.model.study_name
        )
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    async def health(self, request: Request) -> Response:
        """What is served."""
        model = self.model
        return JSONResponse(
            {"status": "ok", "arm": model.name, "kind": model.kind, "labels": list(model.labels)}
        )

    async def metrics(self, request: Request) -> Response:
        """Counters in Prometheus's text format."""
        lines = ["# TYPE tuneproof_requests_total counter"]
        lines += [
            f'tuneproof_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.answers.items())
        ]
        values = {
            "items_total": ("counter", self.batches.predicted_items),
            "batches_total": ("counter", self.batches.batches),
            "predict_seconds_total": ("counter", round(self.seconds, 6)),
            "waiting_items": ("gauge", self.batches.waiting_items),
            "resident_memory_bytes": ("gauge", psutil.Process().memory_info().rss),
        }
        for name, (kind, value) in values.items():
            lines += [f"# TYPE tuneproof_{name} {kind}", f"tuneproof_{name} {value}"]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def predict(self, request: Request) -> Response:
        """Predictions of the items in the body, in their order."""
        limit, size = self.limits.body_bytes, int(request.headers.get("content-length") or 0)
        body = await read_limited(request.stream(), limit, "Send fewer texts at once.", size)
        content_type = request.headers.get("content-type", "")
        sent = read_request(self.model.kind, content_type, body, self.limits)
        if sent.abstain is not None:
            await asyncio.to_thread(self._check_share, sent.abstain)
        results = await asyncio.wrap_future(self.batches.submit(sent.items))
        return JSONResponse({"predictions": self._rows(sent, results)})

    def _check_share(self, abstain: float) -> None:
        """Raises: HttpError 422 where the arm cannot abstain so; no path is named."""
        try:
            self.model.abstaining(abstain)
        except RunError as error:
            raise HttpError(422, f"abstain {abstain:g} is not possible: {error.problem}") from None

    def _predict(self, items: list[Any]) -> list[Any]:
        """A result for each item; in the thread of the batches."""
        started = time.perf_counter()
        if self.model.kind != "labels":
            pairs = self.model.kind == "questions"
            answers = self.model.answer(*zip(*items, strict=True)) if pairs else self.model.answer(items)
            rows = zip(answers.texts, answers.null_N.tolist(), answers.score_N.tolist(), strict=True)
            names = ("answer", "null_score", "answer_score")
            results: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
        else:
            predictions = self.model.predict(items)
            results = [predictions.take([row]) for row in range(len(items))]
        self.seconds += time.perf_counter() - started
        return results

    def _rows(self, request: PredictRequest, results: list[Any]) -> list[dict[str, Any]]:
        if self.model.kind != "labels":
            return results
        return [self._label(predictions, request.abstain) for predictions in results]

    def _label(self, predictions: Predictions, abstain: float | None) -> dict[str, Any]:
        row: dict[str, Any] = {"label": predictions.predicted_label(0)}
        if abstain is not None:
            abstaining = AbstainingPredictions.of(predictions, self.model.abstaining(abstain))
            row = {"label": abstaining.predicted_label(0), "label_set": abstaining.label_sets[0]}
        if predictions.probabilities_NC is not None:
            shares = predictions.probabilities_NC[0].tolist()
            row["probabilities"] = dict(zip(predictions.labels, shares, strict=True))
        return {**row, "truncated": bool(predictions.truncated_N[0])}


def _error_response(error: Exception) -> Response:
    """An error as JSON; one of ours as its sentences, any other on standard error alone."""
    if isinstance(error, HttpError):
        status, message = error.status, error.message
    elif isinstance(error, DataError | RecipeError):
        status, message = 422, str(error)
    elif isinstance(error, BusyError):
        status, message = 503, str(error)
    elif isinstance(error, TuneproofError):
        status, message = 500, str(error)
    else:
        trace = "".join(traceback.format_exception(error))
        print(printable(redact(trace)), file=sys.stderr)
        status, message = 500, "The server failed; its standard error says why."
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"error": message}, status_code=status, headers=headers)


async def _plain_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors: no such path, another method."""
    assert isinstance(error, HTTPException)
    allowed = "GET /, GET /health, GET /metrics, POST /predict"
    message = f"{request.method} {request.url.path} is not served. Allowed: {allowed}."
    headers = {**HEADERS, **(error.headers or {})}
    return JSONResponse({"error": message}, status_code=error.status_code, headers=headers)
