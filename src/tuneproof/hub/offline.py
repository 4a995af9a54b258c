"""Whether the hub was not reached at all, told from what its client raised.

In: an exception. Out: yes or no; and a way to ask the hub's cache alone.
Knows nothing of: models, data sets, what was asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# The clients' own names: httpx, httpx2 and requests each have theirs, and which one is used changes.
NOT_REACHED = {"ConnectError", "ConnectTimeout", "ReadTimeout", "OfflineModeIsEnabled"}


def never_reached(error: BaseException) -> bool:
    """Whether no answer came: no network, no such host, none in time, or HF_HUB_OFFLINE.

    An answer is an answer: missing, gated, of another form or "service unavailable" is False.
    """
    from huggingface_hub import is_offline_mode
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    if any(isinstance(link, HfHubHTTPError) for link in chain):
        return False
    names = {kind.__name__ for link in chain for kind in type(link).__mro__}
    if NOT_REACHED & names or any(isinstance(link, ConnectionError) for link in chain):
        return True
    return isinstance(error, LocalEntryNotFoundError) and is_offline_mode()


@contextmanager
def cache_alone() -> Iterator[None]:
    """While it lasts, the hub's cache answers and the network is not asked."""
    import datasets
    from huggingface_hub import constants

    places: tuple[Any, ...] = (constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
