"""The page's application: who may ask, where each request goes, and errors as JSON.

In: a folder of studies, a token, names of the server. Out: a Starlette application.
Knows nothing of: sockets, what a study is.

Every address begins with the token, so a page of another site, or another user of this machine, that does
not know it gets nothing. It needs the extra `ui`.
"""

import asyncio
import secrets
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tuneproof.apply.http_requests import HttpError, check_sender, read_limited
from tuneproof.apply.http_server import HEADERS
from tuneproof.atomic import load_json
from tuneproof.errors import DataError, ModelError, RecipeError, TuneproofError
from tuneproof.record.study_folder import REPORT_HTML
from tuneproof.redact import printable, redact
from tuneproof.report.page import styles
from tuneproof.ui.commands import CommandError, Commands, SupersededError

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
MAX_BODY_BYTES = 4 << 20  # of JSON; files have their own limit
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {}"
)
WRONG_TOKEN = "The address lacks this page's token. Open the address that `tuneproof ui` printed."
Handler = Callable[["Page", Request], Awaitable[Response]]
Routes = dict[tuple[str, str], Handler]


@dataclass
class Page:
    """What the handlers share.

    folder: of the studies. framed_by: as in `serve_ui.Address`. report_token: opens reports alone, since a
    report's scripts can read the address that they came from.
    """

    folder: Path
    token: str
    names: tuple[str, ...]
    max_upload_bytes: int
    framed_by: str = ""
    commands: Commands = field(default_factory=Commands)
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    own: dict[str, Any] = field(default_factory=dict)  # of the rooms of the page, by their name
    report_token: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def uploads(self) -> Path:
        """The folder of the files that were dropped on the page."""
        return self.folder / "uploads"

    @property
    def records(self) -> Path:
        """The folder of recipes, logs and other things of the page itself."""
        return self.folder / ".ui"

    def check(self, request: Request) -> None:
        """Raises: HttpError where the sender may not ask. Reports have a token that opens nothing else."""
        token = request.path_params.get("token", "")
        expected = self.report_token if request.url.path.endswith(f"/{REPORT_HTML}") else self.token
        if not secrets.compare_digest(token.encode(), expected.encode()):
            raise HttpError(403, WRONG_TOKEN)
        origin = request.headers.get("origin")
        if not self._may_frame(origin):
            check_sender(request.headers.get("host", ""), request.headers, self.names)
        elif not self._is_named(request) and "https://" not in self.framed_by:
            raise HttpError(421, "The Host header is not a name of this server.")  # no proxy stands between

    def _is_named(self, request: Request) -> bool:
        """Whether the Host header is a name of this server, as it is without a proxy between."""
        return (urlsplit(f"//{request.headers.get('host', '')}").hostname or "") in self.names

    def _may_frame(self, origin: str | None) -> bool:
        """Whether the page is framed, and a request with this Origin header comes from there or from it."""
        patterns = self.framed_by.split()
        return bool(patterns) and (origin is None or any(fnmatch(origin, each) for each in patterns))


def application(page: Page, routes: Routes) -> Starlette:
    """The page with these handlers; `page.closing` is called at the end."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        page.commands.end()
        for close in page.closing:
            await close()

    every: Routes = {("GET", "/"): _shell, ("GET", "/static/{name}"): _static, **routes}
    return Starlette(
        routes=[
            Route(f"/{{token}}{path}", _guarded(page, handler), methods=[method])
            for (method, path), handler in every.items()
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_such_page},
    )


def _guarded(page: Page, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            page.check(request)
            response = await handler(page, request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            response = error_response(error)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if page.framed_by and "X-Frame-Options" in response.headers:
            del response.headers["X-Frame-Options"]
        return response

    return handle


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises: HttpError where there is none, or a larger one."""
    body = await read_limited(request.stream(), MAX_BODY_BYTES, "Drop a file on the page instead.")
    try:
        value = load_json(body.decode("utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HttpError(422, "The body must be a JSON object.")
    return value


def error_response(error: Exception) -> Response:
    """An error as JSON: {"error": {where, problem, allowed, do}}; of an unforeseen one no more than that."""
    status, values = 422, {"where": "", "problem": str(error), "allowed": "", "do": ""}
    if isinstance(error, HttpError):
        status = error.status
    elif isinstance(error, SupersededError):
        status, values = 409, {**values, "problem": "A newer request took its place.", "code": "superseded"}
    elif isinstance(error, TuneproofError):
        expected = isinstance(error, (DataError, RecipeError, ModelError, CommandError))
        status = 422 if expected else 500
        parts = ("where", "problem", "allowed", "do")
        values = {name: printable(getattr(error, name)) for name in parts} | getattr(error, "more", {})
    elif isinstance(error, OSError):
        values |= {"where": str(error.filename or ""), "problem": f"{error.strerror or error}."}
    else:
        print(printable(redact("".join(traceback.format_exception(error)))), file=sys.stderr)
        status, values["problem"] = 500, "The page's server failed; its standard error says why."
    return JSONResponse({"error": values}, status_code=status)


async def _shell(page: Page, request: Request) -> Response:
    html = await asyncio.to_thread((STATIC / "index.html").read_text, "utf-8")
    policy = POLICY.format(page.framed_by or "'none'")
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


async def _static(page: Page, request: Request) -> Response:
    name = request.path_params["name"]
    if name == "report.css":  # the report's own style sheet, which the page shares
        return Response(str(styles()), media_type="text/css")
    path = STATIC / name
    if path.suffix not in TYPES or path.name not in {file.name for file in STATIC.iterdir()}:
        raise HttpError(404, "There is no such file.")
    return FileResponse(path, media_type=TYPES[path.suffix])


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = f"{request.method} {request.url.path} is not served. {WRONG_TOKEN}"
    return JSONResponse(
        {"error": {"where": "", "problem": problem, "allowed": "", "do": ""}},
        status_code=error.status_code,
        headers=HEADERS,
    )
