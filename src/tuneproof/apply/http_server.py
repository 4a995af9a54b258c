"""A web application on an address of this machine, until a signal ends it.

In: an application, a host and a port. Out: a server that stops when its last requests are answered.
Knows nothing of: requests, predictions, studies.
"""

import importlib.util
import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tuneproof.apply.http_requests import LOOPBACK
from tuneproof.errors import RecipeError, RunError

PACKAGES = ("starlette", "uvicorn")
MAX_CONNECTIONS = 512
STOP_S = 30
KEEP_ALIVE_S = 15
MAX_HEADER_BYTES = 16 << 10
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_packages(command: str) -> None:
    """Raises: RecipeError where the packages of a server are missing. command: also the name of the extra."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"needs {' and '.join(missing)}."
        raise RecipeError(command, problem, do=f"Install them: pip install 'tuneproof[{command}]'.")


def listen(host: str, port: int) -> socket.socket:
    """A socket at the address. Raises: RecipeError or RunError where there is none."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise RecipeError("--host", f"{host!r} is no IP address.", do="Leave it out: 127.0.0.1.") from None
    if address.is_unspecified:
        problem = f"{host} is every address of this machine, so no page of another site could be refused."
        raise RecipeError("--host", problem, do="Name the one address by which clients call the server.")
    if not 0 <= port < 1 << 16:
        raise RecipeError("--port", f"{port} is no port.", "Allowed: 0 (any free one) to 65535.")
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        listener.listen()
    except OSError as error:
        listener.close()
        problem = f"the server cannot listen there: {error.strerror or error}."
        raise RunError(f"{host}:{port}", problem, do="Name another port with --port.") from None
    return listener


def names_of(host: str) -> tuple[str, ...]:
    """The names by which a server at this host may be called."""
    return LOOPBACK if host in LOOPBACK else (host, *LOOPBACK)


def address_of(host: str, listener: socket.socket) -> str:
    """The URL of a listening socket."""
    url_host = f"[{host}]" if ":" in host else host
    return f"http://{url_host}:{listener.getsockname()[1]}"


async def serve_application(
    application: Any, listener: socket.socket, stop_s: int = STOP_S, log_level: str = "error"
) -> None:
    """Answer requests until SIGINT or SIGTERM; those that came before are answered, within `stop_s`."""
    import uvicorn

    config = uvicorn.Config(
        application,
        log_level=log_level,
        access_log=False,
        http="h11",
        ws="none",
        lifespan="on",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=stop_s,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    server.capture_signals = lambda: _stop_on_signals(server)  # type: ignore[method-assign]
    await server.serve(sockets=[listener])


@contextmanager
def _stop_on_signals(server: Any) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM let the server answer what came before, and end it."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, server.handle_exit) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
