"""Whether the hub could not be reached, judging by its client's error; and working from its cache.

In: an exception. Out: true or false; a context in which only the hub's cache is used.
Knows nothing of: models, data sets, what was requested.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Names from httpx, httpx2 and requests: which client the hub's library uses depends on its version.
UNREACHABLE_ERRORS = {"ConnectError", "ConnectTimeout", "ReadTimeout", "OfflineModeIsEnabled"}


def is_unreachable(error: BaseException) -> bool:
    """Whether the hub gave no response at all: no network, a timeout, or HF_HUB_OFFLINE."""
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    chain = causes(error)
    if any(isinstance(link, HfHubHTTPError) for link in chain):
        return False
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    if UNREACHABLE_ERRORS & names or any(isinstance(link, ConnectionError) for link in chain):
        return True
    return isinstance(error, LocalEntryNotFoundError) and is_offline_mode()


def causes(error: BaseException) -> list[BaseException]:
    """An error and what caused it, in order."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


@contextmanager
def cache_only() -> Iterator[None]:
    """Inside this context only the hub's cache is used, never the network."""
    import datasets
    from huggingface_hub import constants

    modules: tuple[Any, ...] = (constants, datasets.config)
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value
