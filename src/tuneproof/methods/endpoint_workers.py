"""Several requests at once, each reply on disk before the next one is used.

In: a server's options, requests, a log. Out: a log that holds every reply.
Knows nothing of: what a reply says of an item.
"""

import datetime
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from tuneproof.methods.endpoint_client import Server
from tuneproof.methods.endpoint_log import ReplyLog, Row
from tuneproof.methods.endpoint_replies import check_first
from tuneproof.methods.endpoint_requests import ServerRequest
from tuneproof.methods.system import SystemRequest

POLL_S = 0.2  # how often a request to stop is looked for


def pending_requests(requests: Iterable[Sequence[ServerRequest]], log: ReplyLog) -> list[ServerRequest]:
    """The requests without a reply, equal ones once."""
    unique = {entry.key: entry for item in requests for entry in item}
    return [entry for key, entry in unique.items() if key not in log.rows]


def fetch_replies(
    options: Any, log: ReplyLog, requests: Sequence[Sequence[ServerRequest]], request: SystemRequest
) -> None:
    """Request what the log does not hold. The first reply is checked before any other is requested.

    Raises: RunError where the server refuses or keeps failing. Replies that are under way are waited for and
    logged in any case.
    """
    progress = _Progress(log, requests, request)
    pending = pending_requests(requests, log)
    progress.report()
    if not pending:
        return
    server = Server(options.address)
    items = {
        entry.key: item for item, group in zip(request.examples, requests, strict=True) for entry in group
    }

    def fetch(entry: ServerRequest) -> None:
        reply, seconds, tries = server.post(
            entry.path, entry.body, f"the request for item {items[entry.key].id}"
        )
        log.add(entry.key, _row(reply, seconds, tries))

    try:
        if not log.rows:
            _run(server, [pending.pop(0)], fetch, 1, progress)
        check_first(options, requests, log)
        _run(server, pending, fetch, options.concurrency, progress)
    finally:
        server.close()


def _run(
    server: Server, entries: Sequence[ServerRequest], fetch: Any, width: int, progress: "_Progress"
) -> None:
    with ThreadPoolExecutor(width, "requests") as pool:
        futures: set[Future[None]] = {pool.submit(partial(fetch, entry)) for entry in entries}
        try:
            while futures:
                done, futures = wait(futures, POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                progress.report()
        except BaseException:
            server.stop.set()
            for future in futures:
                future.cancel()
            raise


def _row(reply: dict[str, Any], seconds: float, tries: int) -> Row:
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"date": date, "seconds": seconds, "tries": tries, "reply": reply}


class _Progress:
    """How many items have all their replies."""

    def __init__(
        self, log: ReplyLog, requests: Sequence[Sequence[ServerRequest]], request: SystemRequest
    ) -> None:
        self._log, self._request = log, request
        self._open = [[entry.key for entry in item] for item in requests]

    def report(self) -> None:
        """Report the items that were completed since the last call."""
        rows = self._log.rows
        left = [keys for keys in self._open if any(key not in rows for key in keys)]
        self._request.report(len(self._open) - len(left))
        self._open = left
