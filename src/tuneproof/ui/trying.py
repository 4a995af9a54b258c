"""Try a finished arm: its predictions of texts, and the training items that are most like them.

In: requests. Out: what can be tried, predictions, nearest items. Knows nothing of: how an arm predicts.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tuneproof.apply.finished_arm import prediction_kind, read_finished_arm, study_recipe
from tuneproof.apply.http_requests import HttpError, Limits, read_request
from tuneproof.errors import TuneproofError
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import read_recipe
from tuneproof.record.study_folder import ITEMS, RECIPE, read_study
from tuneproof.report.recommendation import recommend
from tuneproof.ui import correcting, delivering, waiting
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.arm_servers import ArmServers
from tuneproof.ui.board import read_board
from tuneproof.ui.delivering import ARM_PATH, finished_arm, text_of
from tuneproof.ui.nearest_items import NearestItems
from tuneproof.ui.studies import study_folder

JSON = "application/json"
INDEXED = 2  # studies whose train items stay in memory


async def _overview(page: Page, request: Request) -> Response:
    """What can be tried in a study: its arms, the best first, and what they predict."""
    folder = await asyncio.to_thread(study_folder, page, request.path_params["study"])
    return JSONResponse(await asyncio.to_thread(_read_overview, page, folder))


def _read_overview(page: Page, folder: Path) -> dict[str, Any]:
    board, recipe = read_board(folder), read_recipe(folder / RECIPE)
    return {
        "kind": prediction_kind(recipe.task),
        "text_column": getattr(recipe.task_options, "text", None),
        "max_items": Limits().items,
        "metric": board["metric"],
        "state": board["state"],
        "arms": _ordered(folder, board),
        "why_not_correctable": correcting.why_not_correctable(recipe.values()),
        **correcting.correction_links(page, folder.name),
    }


def _ordered(folder: Path, board: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished arms: the recommended one first, then by their score. Those on samples of train left no
    weights, and systems made elsewhere are not ours to run."""
    recommended = None
    with suppress(TuneproofError):
        recommended = recommend(read_study(folder))
    metric = METRICS.get(board["metric"] or "")
    sign = -1 if metric is None or metric.direction == "up" else 1
    arms = [
        {
            **{name: arm[name] for name in ("folder", "label", "score", "deliverable")},
            "recommended": recommended is not None
            and (arm["arm"], arm["model"]) == (recommended.arm, recommended.model),
        }
        for arm in board["arms"]
        if arm["status"] == "done" and not arm["train_size"] and arm["kind"] != "system"
    ]
    return sorted(arms, key=lambda arm: (not arm["recommended"], _rank(arm["score"], sign)))


def _rank(score: dict[str, Any] | None, sign: int) -> float:
    return float("inf") if score is None or score["value"] is None else sign * float(score["value"])


async def _predict(page: Page, request: Request) -> Response:
    """Predictions of texts, or of questions with contexts, as `tuneproof serve` gives them."""
    arm = await asyncio.to_thread(finished_arm, page, request)
    body = json.dumps(await read_body(request)).encode()
    await asyncio.to_thread(_check, arm, body)
    return JSONResponse(await arm_servers(page).predict(arm, body))


def _check(arm: Path, body: bytes) -> None:
    """Raises: HttpError or DataError where the arm's server would refuse, before one is started."""
    limits = Limits()
    if len(body) > limits.body_bytes:
        raise HttpError(413, f"The texts are larger than {limits.body_bytes:,} bytes. Label a file instead.")
    read_request(prediction_kind(study_recipe(read_finished_arm(arm)).task), JSON, body, limits)


def arm_servers(page: Page) -> ArmServers:
    """The page's servers of arms, which end when it closes."""
    if "arm_servers" not in page.own:
        page.own["arm_servers"] = servers = ArmServers()
        page.closing.append(servers.close)
    return page.own["arm_servers"]


async def _nearest(page: Page, request: Request) -> Response:
    """The train items that are most like a text."""
    folder = await asyncio.to_thread(study_folder, page, request.path_params["study"])
    text = text_of(await read_body(request), "text")
    if not text:
        raise HttpError(422, "text is empty.")
    items = await _indexed(page, folder)
    return JSONResponse(await asyncio.to_thread(items.nearest, text))


async def _indexed(page: Page, folder: Path) -> NearestItems:
    """The train items of a study, weighed once."""
    tasks: dict[Any, asyncio.Task[NearestItems]] = page.own.setdefault("nearest_items", {})
    path = folder / ITEMS
    key = (folder, path.stat().st_mtime_ns if path.is_file() else 0)
    if key not in tasks:
        _forget(tasks, list(tasks)[: max(0, len(tasks) - INDEXED + 1)])
        tasks[key] = asyncio.create_task(asyncio.to_thread(NearestItems, folder))
    try:
        return await asyncio.shield(tasks[key])
    except Exception:
        _forget(tasks, [key])
        raise


def _forget(tasks: dict[Any, Any], keys: Sequence[Any]) -> None:
    for key in keys:
        tasks.pop(key, None)


ROUTES: Routes = {
    ("GET", "/api/studies/{study}/trying"): _overview,
    ("POST", f"{ARM_PATH}/predict"): _predict,
    ("POST", "/api/studies/{study}/nearest"): _nearest,
    **delivering.ROUTES,
    **correcting.ROUTES,
    **waiting.ROUTES,
}
