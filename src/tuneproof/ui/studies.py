"""The studies of the page's folder: list, start, watch, stop, go on.

In: requests. Out: boards, once and as they change. Knows nothing of: how a study runs, what a board holds.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import write_text
from tuneproof.errors import RecipeError, TuneproofError
from tuneproof.recipe.recipe import read_recipe
from tuneproof.recipe.yaml import dump_yaml
from tuneproof.record.study_folder import (
    ARMS,
    COMPARISONS,
    FORECAST,
    PROGRESS,
    RECIPE,
    REPORT_HTML,
    refuse_foreign,
)
from tuneproof.study.lock import LOCK, is_held
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.board import read_board, read_curves, summary
from tuneproof.ui.processes import (
    is_busy,
    is_stopping,
    last_error,
    read_record,
    recipe_of,
    record_of,
    start_study,
    stop_study,
    words_to_go_on,
)

INTERVAL_S = 1.0
ALIVE_S = 15  # after which a silent stream says that it is alive
AT_REST = ("finished", "failed", "stopped")  # states that last until a file of the study changes
MAX_MORE_SEEDS = 10
MAX_STUDIES = 500  # in the list, the newest first
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
EMPTY_BOARD: dict[str, Any] = {
    "arms": [],
    "metric": None,
    "metric_title": "Score",
    "level": None,
    "progress": {},
    "findings": [],
    "sizes": {},
    "verdict": "",
    "diagnoses": [],
    "recommendation": [],
    "has_report": False,
}


def study_folder(page: Page, name: str) -> Path:
    """The folder of a study. Raises: HttpError where the page's folder has none of that name."""
    folder = page.folder / name
    if is_name(name) and folder.is_dir() and ((folder / RECIPE).is_file() or is_held(folder)):
        try:
            refuse_foreign(folder)
        except TuneproofError as error:
            raise HttpError(403, str(error)) from None
        return folder
    raise HttpError(404, f"There is no study {name} in {page.folder}.")


def is_name(name: str) -> bool:
    """Whether a study can have that name: it is one part of a path, and not hidden."""
    return bool(name) and Path(name).name == name and not name.startswith(".")


def read_study_board(page: Page, name: str) -> dict[str, Any]:
    """The board of a study, also of one that has just been started, could not start or cannot be read.

    report: the address of its report, relative to the page's.

    Raises: HttpError where there is no such study.
    """
    return {**_board_of(page, name), "report": f"../{page.report_token}/studies/{quote(name)}/{REPORT_HTML}"}


def _board_of(page: Page, name: str) -> dict[str, Any]:
    try:
        board = read_board(study_folder(page, name))
    except HttpError as error:
        if error.status != 404 or not _is_recorded(page, name):
            raise
        board = {"name": name, "state": "stopped", **EMPTY_BOARD}
    except Exception as error:  # any file of a study may be damaged: the page still lists it
        return unreadable_board(name, error)
    if board["state"] == "running" or is_busy(page, name):
        return {**board, "state": "running", "stopping": is_stopping(page, name), "error": ""}
    error_line = "" if board["state"] == "finished" else last_error(page, name)
    return {**board, "stopping": False, "error": error_line}


def _is_recorded(page: Page, name: str) -> bool:
    """Whether the page has started a study of that name."""
    return is_name(name) and bool(read_record(page, name))


def unreadable_board(name: str, error: Exception) -> dict[str, Any]:
    """The board of a study that cannot be read, with the reason."""
    is_ours = isinstance(error, (HttpError, TuneproofError))
    reason = str(error) if is_ours else f"{type(error).__name__}: {error}"
    values = {"stopping": False, "error": f"{name} cannot be read. {reason}"}
    return {"name": name, "state": "unreadable", **EMPTY_BOARD, **values}


async def _list(page: Page, request: Request) -> Response:
    """The list; tabs that ask at the same time share one reader."""
    task = page.own.get("list")
    if task is None or task.done():
        task = page.own["list"] = asyncio.create_task(asyncio.to_thread(_summaries, page))
    return JSONResponse(await asyncio.shield(task))


def _summaries(page: Page) -> dict[str, Any]:
    names = {path.name for path in page.folder.iterdir() if _is_study(path)}
    names |= {path.stem for path in (page.records / "runs").glob("*.json")}
    newest = sorted(names, key=lambda name: -_changed_at(page, name))[:MAX_STUDIES]
    before: dict[str, tuple[Any, dict[str, Any]]] = page.own.get("rows", {})
    rows: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name in newest:
        key = _times(page, name)
        if name in before and before[name][0] == key:
            rows[name] = before[name]
        else:
            rows[name] = key, _row(page, name)
    page.own["rows"] = {name: row for name, row in rows.items() if row[1]["state"] in AT_REST}
    studies = [{**rows[name][1], "changed_at": _changed_at(page, name)} for name in newest]
    return {"folder": str(page.folder), "studies": studies, "left_out": len(names) - len(newest)}


def _is_study(path: Path) -> bool:
    """Whether the folder is a study's, or may be but cannot be read."""
    try:
        return not path.name.startswith(".") and not path.is_symlink() and (path / RECIPE).is_file()
    except OSError:
        return True


def _row(page: Page, name: str) -> dict[str, Any]:
    try:
        return summary(read_study_board(page, name))
    except HttpError as error:
        return summary(unreadable_board(name, error))


def _times(page: Page, name: str) -> list[int]:
    """When the files on which a study's row depends were changed; of a study that runs, more would count."""
    folder, record = page.folder / name, record_of(page, name)
    parts = (COMPARISONS, PROGRESS, LOCK, ARMS, FORECAST, RECIPE, REPORT_HTML)
    paths = [folder, *(folder / part for part in parts), record, record.with_suffix(".log")]
    return [_mtime_ns(path) for path in paths]


def _changed_at(page: Page, name: str) -> float:
    return max(_mtime_ns(page.folder / name), _mtime_ns(record_of(page, name))) / 1e9


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


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
        sent = ""

        def has_news() -> bool:
            return self.text not in ("", sent)

        try:
            while True:
                if self.task is None or self.task.done():
                    self.text, self.task = "", asyncio.create_task(self._read())
                if has_news():
                    sent = self.text
                    yield f"data: {sent}\n\n"
                is_new = False
                async with self.changed:
                    with suppress(TimeoutError):
                        is_new = await asyncio.wait_for(self.changed.wait_for(has_news), ALIVE_S)
                if not is_new:
                    yield ": alive\n\n"
        finally:
            self.watchers -= 1

    async def _read(self) -> None:
        board, before = EMPTY_BOARD, [0]
        while self.watchers:
            times = await asyncio.to_thread(_times, self.page, self.name)
            if board.get("state") not in AT_REST or times != before:
                before = times
                try:
                    board = await asyncio.to_thread(read_study_board, self.page, self.name)
                except HttpError as error:  # the study was removed
                    board = unreadable_board(self.name, error)
            if (text := json.dumps(board)) != self.text:
                async with self.changed:
                    self.text = text
                    self.changed.notify_all()
            await asyncio.sleep(INTERVAL_S)


async def _report(page: Page, request: Request) -> Response:
    """The report as it is, in a sandbox without this page's origin."""
    path = study_folder(page, request.path_params["study"]) / REPORT_HTML
    if path.is_symlink():
        raise HttpError(403, f"{path} is a link.")
    if not path.is_file():
        raise HttpError(404, "The study has no report yet.")
    policy = f"{REPORT_POLICY} {page.framed_by}".strip()
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"}
    return FileResponse(path, media_type="text/html", headers=headers)


async def _stop(page: Page, request: Request) -> Response:
    name = request.path_params["study"]
    await asyncio.to_thread(stop_study, page, name)
    return JSONResponse({"stopping": name})


async def _go_on(page: Page, request: Request) -> Response:
    """Run the study's own recipe again: finished arms are skipped, the others resume."""
    name = request.path_params["study"]
    try:
        study_folder(page, name)
    except HttpError as error:
        if error.status != 404 or not _is_recorded(page, name):
            raise
    return await _start(page, name, [])


async def start_recipe(page: Page, values: dict[str, Any]) -> str:
    """Write the recipe of a new study and start it; returns its name, that of the recipe's folder.

    Raises: RecipeError where a study has the name.
    """
    name = Path(values["out"]).name
    async with _starting(page):
        if (page.folder / name).exists() or is_busy(page, name):
            raise RecipeError("name", f"there is a study {name} already.", do="Choose another name.")
        path = await asyncio.to_thread(write_text, recipe_of(page, name), dump_yaml(values))
        await asyncio.to_thread(start_study, page, name, ["run", str(path)])
    return name


def _starting(page: Page) -> asyncio.Lock:
    """Held while a study is started, so that two tabs do not start one."""
    lock: asyncio.Lock = page.own.setdefault("starting", asyncio.Lock())
    return lock


async def _start(page: Page, name: str, more: list[str]) -> Response:
    words = await asyncio.to_thread(words_to_go_on, page, name)
    async with _starting(page):
        await asyncio.to_thread(start_study, page, name, [*words, *more])
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
    return await _start(page, name, ["--set", f"seeds={json.dumps(seeds)}"])


async def _extend(page: Page, request: Request) -> Response:
    """Train an under-trained arm further, for as many epochs again (`--extend`)."""
    name = request.path_params["study"]
    board = await asyncio.to_thread(read_study_board, page, name)
    arm = (await read_body(request)).get("arm")
    if arm not in {entry["arm"] for entry in board["arms"] if entry["under_trained"]}:
        raise HttpError(422, "arm must be one that is under-trained.")
    return await _start(page, name, ["--extend", str(arm)])


ROUTES: Routes = {
    ("GET", "/api/studies"): _list,
    ("GET", "/api/studies/{study}"): _board,
    ("GET", "/api/studies/{study}/events"): _events,
    ("GET", "/api/studies/{study}/curves/{arm}"): _curves,
    ("POST", "/api/studies/{study}/stop"): _stop,
    ("POST", "/api/studies/{study}/go-on"): _go_on,
    ("POST", "/api/studies/{study}/extend"): _extend,
    ("POST", "/api/studies/{study}/plan"): _plan,
    ("POST", "/api/studies/{study}/compare"): _compare,
    ("POST", "/api/studies/{study}/seeds"): _add_seeds,
    ("GET", "/studies/{study}/report.html"): _report,
}
