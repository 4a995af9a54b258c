"""Serve a finished arm over HTTP until a signal ends it.

In: an arm's folder, an address. Out: a server that stops when its last requests are answered.
Knows nothing of: requests, predictions.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tuneproof.apply.http_requests import LOOPBACK, Limits
from tuneproof.apply.http_server import address_of, check_packages, listen, names_of, serve_application
from tuneproof.apply.loaded_arm import LoadedArm

MAX_WAITING = 1024  # items
KEY = "TUNEPROOF_SERVE_KEY"  # the environment variable of a key that every request must send


def serve(
    arm_folder: Path | str, host: str = "127.0.0.1", port: int = 8000, ready: Callable[[str], None] = print
) -> None:
    """Load an arm and answer requests until SIGINT or SIGTERM; those that came before are answered.

    Where the environment has TUNEPROOF_SERVE_KEY, requests must send it: Authorization: Bearer KEY.

    ready: called with a sentence that names the address, once it answers.

    Raises: RecipeError where a package is missing or the address is not one; RunError where it is in use;
    otherwise as `load`.
    """
    check_packages("serve")
    from tuneproof.apply.server import Service

    with listen(host, port) as listener:
        model = LoadedArm(arm_folder)
        key = os.environ.get(KEY) or None
        service = Service(model, names_of(host), Limits(), MAX_WAITING, key)
        is_open = host not in LOOPBACK and key is None
        beware = " Whoever reaches this address can use it: there is no password." if is_open else ""
        ready(f"{model.name} answers at {address_of(host, listener)}. Ctrl-C stops it.{beware}")
        asyncio.run(serve_application(service.application(), listener))
