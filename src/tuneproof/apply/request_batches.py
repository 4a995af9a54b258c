"""Requests of several clients as batches: those that wait together are predicted together.

In: a function of many items; items of requests. Out: a future of each request's results.
Knows nothing of: models, HTTP.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from tuneproof.errors import TuneproofError


class BusyError(TuneproofError):
    """Too many items wait already, or no more are taken."""


@dataclass(frozen=True)
class _Request:
    items: Sequence[Any]
    future: "Future[list[Any]]" = field(default_factory=Future)


class RequestBatches:
    """One thread predicts what waits, a batch at a time. A request that fails alone fails nobody else's."""

    def __init__(self, predict: Callable[[list[Any]], list[Any]], batch_items: int, max_waiting: int) -> None:
        """predict: items → a result each. batch_items: predicted at once; a larger request goes alone.

        max_waiting: items that wait at most, besides those that are being predicted.
        """
        self._predict, self._batch_items, self._max_waiting = predict, batch_items, max_waiting
        self._waiting: deque[_Request] = deque()
        self._changed = Condition()
        self._closed = False
        self.waiting_items = self.batches = self.predicted_items = 0
        self._thread = Thread(target=self._work, name="tuneproof-batches", daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Any]) -> "Future[list[Any]]":
        """The results to come. Raises: BusyError where too many items wait."""
        request = _Request(items)
        with self._changed:
            if self._closed:
                raise BusyError("", "The server is stopping.")
            if self.waiting_items + len(items) > self._max_waiting:
                problem = f"{self.waiting_items:,} items wait already, of at most {self._max_waiting:,}."
                raise BusyError("", problem, do="Send it again later.")
            self._waiting.append(request)
            self.waiting_items += len(items)
            self._changed.notify()
        return request.future

    def close(self) -> None:
        """Predict what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            requests = [request for request in batch if request.future.set_running_or_notify_cancel()]
            if requests:
                self._run(requests)

    def _next_batch(self) -> list[_Request]:
        """The next requests, as many as fit into a batch but one at least; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            batch: list[_Request] = []
            room = self._batch_items
            while self._waiting and (not batch or len(self._waiting[0].items) <= room):
                batch.append(self._waiting.popleft())
                room -= len(batch[-1].items)
            self.waiting_items -= sum(len(request.items) for request in batch)
            return batch

    def _run(self, requests: list[_Request]) -> None:
        try:
            results = self._predict([item for request in requests for item in request.items])
        except BaseException as error:  # it belongs to a request, not to this thread
            if len(requests) == 1:
                requests[0].future.set_exception(error)
                return
            for request in requests:  # so that the error reaches the request at fault alone
                self._run([request])
            return
        self.batches += 1
        self.predicted_items += len(results)
        for request in requests:
            request.future.set_result(results[: len(request.items)])
            del results[: len(request.items)]
