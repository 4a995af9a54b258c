"""Serve the page on this machine until a signal ends it; studies that it started go on.

In: a folder of studies, an address. Out: a server, and the address to open.
Knows nothing of: requests, studies.
"""

import asyncio
import atexit
import os
import secrets
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuneproof.apply.http_requests import LOOPBACK
from tuneproof.apply.http_server import address_of, check_packages, listen, names_of, serve_application
from tuneproof.atomic import make_folder
from tuneproof.errors import RecipeError
from tuneproof.record.study_folder import refuse_foreign

MAX_UPLOAD_BYTES = 4 << 30
STOP_S = 3  # open event streams are not waited for


@dataclass(frozen=True)
class Address:
    """Where the page listens. framed_by: origins, * for any part, of pages that may frame it (a notebook)."""

    host: str = "127.0.0.1"
    port: int = 7860
    framed_by: str = ""


def serve_ui(folder: Path | str, at: Address, ready: Callable[[str], None] = print) -> None:
    """Serve the page for the studies in a folder until SIGINT or SIGTERM.

    ready: called with the address, which holds the token, once the page answers.

    Raises: RecipeError where a package is missing, the address is not one of this machine alone, or the
    folder is a link or another user's; RunError where the address is in use.
    """
    check_packages("ui")
    from tuneproof.ui.app import Page, application
    from tuneproof.ui.routes import ROUTES

    if at.host not in LOOPBACK:
        allowed = f"Allowed: {', '.join(LOOPBACK)}."
        do = "From afar, forward the port: ssh -L 7860:127.0.0.1:7860 MACHINE."
        raise RecipeError("--host", "the page is for this machine alone.", allowed, do)
    root = Path(folder).absolute()
    refuse_foreign(root)
    make_folder(root)
    token = secrets.token_urlsafe(18)
    page = Page(root, token, names_of(at.host), MAX_UPLOAD_BYTES, at.framed_by)
    with listen(at.host, at.port) as listener:
        ready(f"{address_of(at.host, listener)}/{token}/")
        # open streams end with an error that uvicorn would log
        asyncio.run(serve_application(application(page, ROUTES), listener, STOP_S, "critical"))


def open_browser(address: str) -> None:
    """Open the page. Other users can read the browser's command line: it names a file of this user alone."""
    file, path = tempfile.mkstemp(".html", "tuneproof-")
    with os.fdopen(file, "w", encoding="utf-8") as opened:
        opened.write(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><title>tuneproof</title>'
        )
    atexit.register(Path(path).unlink, missing_ok=True)
    webbrowser.open(Path(path).as_uri())
