"""Answers that take longer than a request should: the browser asks again until there is one.

In: work, requests. Out: its result, or the number under which to ask again. Knows nothing of: the work.
"""

import asyncio
import secrets
from collections.abc import Coroutine, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tuneproof.apply.http_requests import HttpError
from tuneproof.ui.app import Page, Routes

WAIT_S = 20.0
MAX_RESULTS = 32  # that nobody has fetched


async def answer_when_ready(page: Page, work: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """The result of the work; after 20 s {"waiting": NUMBER}, and the work goes on."""
    tasks = _tasks(page)
    unfetched = [number for number, task in tasks.items() if task.done()]
    for number in unfetched[: max(0, len(unfetched) - MAX_RESULTS + 1)]:
        del tasks[number]
    number = secrets.token_hex(8)
    tasks[number] = asyncio.create_task(work)
    return await _result(page, number)


def _tasks(page: Page) -> "dict[str, asyncio.Task[dict[str, Any]]]":
    if "waiting" not in page.own:
        page.own["waiting"] = {}
        page.closing.append(lambda: _cancel(page.own["waiting"].values()))
    tasks: dict[str, asyncio.Task[dict[str, Any]]] = page.own["waiting"]
    return tasks


async def _cancel(tasks: "Iterable[asyncio.Task[dict[str, Any]]]") -> None:
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def _result(page: Page, number: str) -> Response:
    tasks = _tasks(page)
    if number not in tasks:
        raise HttpError(404, "There is no such work. Begin again.")
    done, _ = await asyncio.wait([tasks[number]], timeout=WAIT_S)
    if not done:
        return JSONResponse({"waiting": number}, status_code=202)
    task = tasks.pop(number, None) or done.pop()
    return JSONResponse(task.result())


async def _ask_again(page: Page, request: Request) -> Response:
    return await _result(page, request.path_params["number"])


ROUTES: Routes = {("GET", "/api/waiting/{number}"): _ask_again}
