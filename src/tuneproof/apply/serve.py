"""Serve a finished arm over HTTP until a signal ends it.

In: an arm's folder, an address. Out: a server that stops when its last requests are answered.
Knows nothing of: requests, predictions.
"""

import asyncio
import importlib.util
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuneproof.apply.http_requests import LOOPBACK, Limits
from tuneproof.apply.loaded_arm import LoadedArm
from tuneproof.errors import RecipeError, RunError

PACKAGES = ("starlette", "uvicorn")
MAX_WAITING = 1024  # items
MAX_CONNECTIONS = 512
STOP_S = 30
KEEP_ALIVE_S = 15
MAX_HEADER_BYTES = 16 << 10


def serve(
    arm_folder: Path | str, host: str = "127.0.0.1", port: int = 8000, ready: Callable[[str], None] = print
) -> None:
    """Load an arm and answer requests until SIGINT or SIGTERM; those that came before are answered.

    ready: called with a sentence that names the address, once it answers.

    Raises: RecipeError where a package is missing or the address is not one; RunError where it is in use;
    otherwise as `load`.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"needs {' and '.join(missing)}."
        raise RecipeError("serve", problem, do="Install them: pip install 'tuneproof[serve]'.")
    with _listen(host, port) as listener:
        model = LoadedArm(arm_folder)
        asyncio.run(_serve(model, host, listener, ready))


def _listen(host: str, port: int) -> socket.socket:
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


async def _serve(model: LoadedArm, host: str, listener: socket.socket, ready: Callable[[str], None]) -> None:
    import uvicorn

    from tuneproof.apply.server import Service

    names = (host, *(name for name in LOOPBACK if name != host)) if host not in LOOPBACK else LOOPBACK
    service = Service(model, names, Limits(), MAX_WAITING)
    config = uvicorn.Config(
        service.application(),
        log_level="error",
        access_log=False,
        http="h11",
        ws="none",
        lifespan="on",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    server.capture_signals = lambda: _stop_on_signals(server)  # type: ignore[method-assign]
    port = listener.getsockname()[1]
    url_host = f"[{host}]" if ":" in host else host
    beware = "" if host in LOOPBACK else " Whoever reaches this address can use it: there is no password."
    ready(f"{model.name} answers at http://{url_host}:{port}. Ctrl-C stops it.{beware}")
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
