"""The studies of the page's folder: list, start, watch, stop, go on.

In: requests. Out: boards, once and as they change. Knows nothing of: how a study runs, what a board holds.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import read_json
from tuneproof.errors import TuneproofError
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import RECIPE, REPORT_HTML, refuse_foreign
from tuneproof.study.lock import is_held, lock_holder
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.board import read_board, read_curves, summary
from tuneproof.ui.commands import start

INTERVAL_S = 1.0
MAX_MORE_SEEDS = 10
MAX_STUDIES = 500  # in the list, the newest first
REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
EMPTY_BOARD: dict[str, Any] = {
    "arms": [],
    "metric": None,
    "metric_title": "Score",
    "progress": {},
    "findings": [],
    "sizes": {},
    "verdict": "",
    "diagnoses": [],
    "has_report": False,
}


def study_folder(page: Page, name: str) -> Path:
    """The folder of a study. Raises: HttpError where the page's folder has none of that name."""
    folder = page.folder / name
    is_name = name not in ("", ".", "..") and Path(name).name == name and not name.startswith(".")
    if is_name and folder.is_dir() and ((folder / RECIPE).is_file() or is_held(folder)):
        try:
            refuse_foreign(folder)
        except TuneproofError as error:
            raise HttpError(403, str(error)) from None
        return folder
    raise HttpError(404, f"There is no study {name} in {page.folder}.")


def record_of(page: Page, name: str) -> Path:
    """Where the page notes the command that runs a study."""
    return page.records / "runs" / f"{name}.json"


def start_study(page: Page, name: str, words: list[str]) -> None:
    """Start the command that runs a study. Raises: HttpError where one is running."""
    if is_held(page.folder / name) or _is_starting(page, name):
        raise HttpError(409, f"{name} is running.")
    start(words, record_of(page, name), {"study": name})


def read_study_board(page: Page, name: str) -> dict[str, Any]:
    """The board of a study, also of one that has just been started or could not start."""
    record = _record(page, name)
    try:
        board = read_board(study_folder(page, name))
    except HttpError:
        if not record:
            raise
        board = {"name": name, "state": "stopped", **EMPTY_BOARD}
    if board["state"] != "running" and _is_starting(page, name):
        board["state"] = "running"
    return {**board, "error": "" if board["state"] == "running" else _last_error(page, name, record)}


def _record(page: Page, name: str) -> dict[str, Any]:
    with suppress(TuneproofError, OSError):
        return dict(read_json(record_of(page, name)))
    return {}


def _is_starting(page: Page, name: str) -> bool:
    """Whether the command that runs the study has begun and not ended."""
    record = _record(page, name)
    return bool(record) and record.get("exit_code") is None and _is_alive(int(record.get("pid", 0)))


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "tuneproof" in " ".join(process.cmdline())
    except (psutil.Error, ValueError):
        return False


def _last_error(page: Page, name: str, record: dict[str, Any]) -> str:
    """The last line that a failed command printed."""
    if not record.get("exit_code"):
        return ""
    with suppress(OSError):
        lines = record_of(page, name).with_suffix(".log").read_text("utf-8", "replace").split("\n")
        errors = [line for line in lines if line.startswith("tuneproof: ")]
        return errors[-1].removeprefix("tuneproof: ") if errors else next(filter(None, reversed(lines)), "")
    return ""


async def _list(page: Page, request: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(_summaries, page))


def _summaries(page: Page) -> dict[str, Any]:
    names = {
        path.name for path in page.folder.iterdir() if (path / RECIPE).is_file() and not path.is_symlink()
    }
    if (page.records / "runs").is_dir():
        names |= {path.stem for path in (page.records / "runs").glob("*.json")}
    rows = []
    for name in names:
        with suppress(HttpError, TuneproofError):
            board = read_study_board(page, name)
            folder = page.folder / name
            row = summary(board)
            rows.append({**row, "changed_at": folder.stat().st_mtime if folder.exists() else 0.0})
    rows.sort(key=lambda row: -row["changed_at"])
    left_out = max(0, len(rows) - MAX_STUDIES)
    return {"folder": str(page.folder), "studies": rows[:MAX_STUDIES], "left_out": left_out}


async def _board(page: Page, request: Request) -> Response:
    return JSONResponse(await asyncio.to_thread(read_study_board, page, request.path_params["study"]))


async def _curves(page: Page, request: Request) -> Response:
    folder = study_folder(page, request.path_params["study"])
    arm = request.path_params["arm"]
    if Path(arm).name != arm or not (folder / "arms" / arm).is_dir():
        raise HttpError(404, f"There is no arm {arm}.")
    return JSONResponse(await asyncio.to_thread(read_curves, folder, arm))


async def _events(page: Page, request: Request) -> Response:
    """The board as server-sent events, whenever it changes; all tabs of a study share one reader."""
    name = request.path_params["study"]
    await asyncio.to_thread(read_study_board, page, name)  # refused before the stream begins
    boards = page.own.setdefault("boards", {})
    shared = boards.setdefault(name, SharedBoard(page, name))
    return StreamingResponse(shared.stream(), media_type="text/event-stream")


class SharedBoard:
    """One reader of a study's folder for all tabs that watch it. It reads while someone watches."""

    def __init__(self, page: Page, name: str) -> None:
        self.page, self.name, self.watchers = page, name, 0
        self.text, self.changed = "", asyncio.Condition()
        self.task: asyncio.Task[None] | None = None

    async def stream(self) -> AsyncIterator[str]:
        """Events for one tab."""
        self.watchers += 1
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._read())
        sent = ""
        try:
            while True:
                if self.text != sent:
                    sent = self.text
                    yield f"data: {sent}\n\n"
                async with self.changed:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.changed.wait(), 15)
                if self.text == sent:
                    yield ": alive\n\n"
        finally:
            self.watchers -= 1

    async def _read(self) -> None:
        while self.watchers:
            with suppress(HttpError, TuneproofError):
                text = json.dumps(await asyncio.to_thread(read_study_board, self.page, self.name))
                if text != self.text:
                    async with self.changed:
                        self.text = text
                        self.changed.notify_all()
            await asyncio.sleep(INTERVAL_S)


async def _report(page: Page, request: Request) -> Response:
    """The report as it is, in a sandbox without this page's origin."""
    path = study_folder(page, request.path_params["study"]) / REPORT_HTML
    if not path.is_file():
        raise HttpError(404, "The study has no report yet.")
    headers = {"Content-Security-Policy": REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return FileResponse(path, media_type="text/html", headers=headers)


async def _stop(page: Page, request: Request) -> Response:
    """Ask the running study to stop after its current step; a second time it stops at once."""
    name = request.path_params["study"]
    holder = lock_holder(page.folder / name) if is_held(page.folder / name) else {}
    if holder and holder["host"] != socket.gethostname():
        raise HttpError(409, f"The study runs on {holder['host']}. Stop it there.")
    pid = holder.get("pid") or (_record(page, name).get("pid") if _is_starting(page, name) else None)
    if not pid:
        raise HttpError(409, f"{name} is not running.")
    with suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGTERM)
    return JSONResponse({"stopping": name})


async def _go_on(page: Page, request: Request) -> Response:
    """Run the study's own recipe again: finished arms are skipped, the others resume."""
    name = request.path_params["study"]
    folder = page.folder / name
    words = (_record(page, name).get("words") or []) if not (folder / RECIPE).is_file() else []
    if not words:
        words = ["run", str(study_folder(page, name) / RECIPE)]
    start_study(page, name, words)
    return JSONResponse({"study": name})


async def _plan(page: Page, request: Request) -> Response:
    """What more seeds or items would do (`tuneproof plan`)."""
    folder = study_folder(page, request.path_params["study"])
    return JSONResponse(await page.commands.output("plan", ["plan", str(folder), "--json"]))


async def _compare(page: Page, request: Request) -> Response:
    """The study beside another one on the same items (`tuneproof compare`)."""
    folder = study_folder(page, request.path_params["study"])
    other = study_folder(page, str((await read_body(request)).get("with")))
    return JSONResponse(await page.commands.output("compare", ["compare", str(folder), str(other), "--json"]))


async def _add_seeds(page: Page, request: Request) -> Response:
    """Run the study's recipe with more seeds; its finished arms stay."""
    name = request.path_params["study"]
    recipe = study_folder(page, name) / RECIPE
    count = (await read_body(request)).get("seeds")
    seeds = list((await asyncio.to_thread(read_recipe, recipe)).seeds)
    if not isinstance(count, int) or not 0 < count <= MAX_MORE_SEEDS:
        raise HttpError(422, f"seeds must be a number from 1 to {MAX_MORE_SEEDS}.")
    seeds += [seed for seed in range(len(seeds) + count) if seed not in seeds][:count]
    start_study(page, name, ["run", str(recipe), "--set", f"seeds={json.dumps(seeds)}"])
    return JSONResponse({"study": name})


ROUTES: Routes = {
    ("GET", "/api/studies"): _list,
    ("GET", "/api/studies/{study}"): _board,
    ("GET", "/api/studies/{study}/events"): _events,
    ("GET", "/api/studies/{study}/curves/{arm}"): _curves,
    ("POST", "/api/studies/{study}/stop"): _stop,
    ("POST", "/api/studies/{study}/go-on"): _go_on,
    ("POST", "/api/studies/{study}/plan"): _plan,
    ("POST", "/api/studies/{study}/compare"): _compare,
    ("POST", "/api/studies/{study}/seeds"): _add_seeds,
    ("GET", "/studies/{study}/report.html"): _report,
}
