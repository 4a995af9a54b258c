"""A new study: receive a file, show what is in it, check what was chosen, start it.

In: requests. Out: previews, recipes, plans; a started study. Knows nothing of: how a plan is made.
"""

import asyncio
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import make_folder, write_error, write_text
from tuneproof.errors import DataError, RecipeError
from tuneproof.families.models import MODELS
from tuneproof.methods import METHODS
from tuneproof.recipe.yaml import dump_yaml
from tuneproof.record.study_folder import slug
from tuneproof.score.power import smallest_detectable_mcnemar
from tuneproof.tasks import TASKS
from tuneproof.tasks.tables import EXTENSIONS
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.commands import CommandError
from tuneproof.ui.design import checked_recipe, command_line, study_name
from tuneproof.ui.processes import recipe_of
from tuneproof.ui.studies import start_recipe

PREVIEW = (sys.executable, "-m", "tuneproof.ui.preview")
DISCORDANCE = 0.2  # assumed share of items on which two arms differ, before any has run
MAX_NAME = 60  # characters of at most four bytes, in a name of 255
CHECKED = ".checked-"  # the name of no study
READING = ("encoding", "delimiter", "quotes", "sheet")
NAME = re.compile(r"[^\w.+ -]+")
OPTIONS_OF_ITS_OWN = (
    "given",
    "tuned-model",
    "endpoint",
    "exported",
    "nli",
)  # need settings that the page lacks


async def _catalog(page: Page, request: Request) -> Response:
    """The models, methods and tasks that can be chosen."""
    models = [
        {
            "name": name,
            "hub_id": entry.hub_id,
            "licence": entry.licence,
            "gated": entry.gated,
            "parameters": entry.published.parameters.count
            if entry.published and entry.published.parameters
            else None,
        }
        for name, entry in MODELS.items()
    ]
    methods = [
        {"name": name, "title": method.title, "kind": method.kind}
        for name, method in METHODS.items()
        if name not in OPTIONS_OF_ITS_OWN
    ]
    own = ("labels", "questions", "answers")
    tasks = [{"name": name, "title": task.title} for name, task in TASKS.items() if name not in own]
    choices = {"models": models, "methods": methods, "tasks": tasks, "endings": EXTENSIONS}
    return JSONResponse({**choices, "memory_bytes": psutil.virtual_memory().available})


async def _upload(page: Page, request: Request) -> Response:
    """Receive the body as a file in the folder of uploads; then its preview."""
    name = _file_name(unquote(request.query_params.get("name", "")))
    folder = make_folder(page.uploads / secrets.token_hex(4))
    path = folder / name
    try:
        with path.open("xb") as file:
            async for part in request.stream():
                if file.tell() + len(part) > page.max_upload_bytes:
                    limit = f"{page.max_upload_bytes / (1 << 30):,.0f} GiB"
                    raise HttpError(413, f"The file is larger than {limit}. Name its path instead.")
                await asyncio.to_thread(file.write, part)
    except BaseException as error:
        path.unlink(missing_ok=True)
        folder.rmdir()
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise
    return await _previewed(page, path, {})


def _file_name(name: str) -> str:
    """A file name of this system from that of the sender's. Raises: DataError without a known ending."""
    plain = NAME.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" .")[-MAX_NAME:]
    if not plain.lower().endswith((*EXTENSIONS, ".json.gz")):
        problem = "is not a supported file type."
        raise DataError(plain or "the file", problem, f"Supported: {', '.join(EXTENSIONS)}.")
    return plain


async def _read_path(page: Page, request: Request) -> Response:
    """The preview of a file of this machine; the body also says how to read it (encoding, delimiter, …)."""
    body = await read_body(request)
    if body.get("hub"):
        return await _preview_of_hub(page, body)
    wish = str(body.get("path", ""))
    try:
        path = Path(wish).expanduser()
        is_file = path.is_file()
    except (OSError, RuntimeError):  # too long; no such user
        is_file = False
    if not is_file:
        raise DataError(wish[:200], "is not a file of this machine.", do="Drop the file on the page instead.")
    return await _previewed(page, path.resolve(), {name: body[name] for name in READING if body.get(name)})


async def _previewed(page: Page, path: Path, reading: dict[str, Any]) -> Response:
    """The preview of a file; an error carries its path, so that it can be read in another way."""
    about = {"path": str(path), "name": path.name, "bytes": path.stat().st_size}
    try:
        values = await page.commands.output(f"preview {path}", [str(path), json.dumps(reading)], PREVIEW)
    except CommandError as error:
        error.more = about
        raise
    return JSONResponse(
        {**about, **values, "suggested_name": study_name(page.folder, path.name.partition(".")[0])}
    )


async def _preview_of_hub(page: Page, body: dict[str, Any]) -> Response:
    """The preview of a data set on the hub at a commit; it is downloaded."""
    about = {name: str(body[name]) for name in ("hub", "revision", "config") if body.get(name)}
    if not about.get("revision"):
        do = "Give the commit, so that the rows stay the same."
        raise RecipeError("revision", "is missing.", do=do)
    values = await page.commands.output(f"preview {about['hub']}", ["-", json.dumps(about)], PREVIEW)
    name = about["hub"]
    return JSONResponse(
        {**values, **about, "path": "", "name": name, "suggested_name": study_name(page.folder, name)}
    )


async def _recipe(page: Page, request: Request) -> Response:
    """The recipe and the command of what was chosen, checked without reading data."""
    design = await read_body(request)
    _, values = await asyncio.to_thread(checked_recipe, page.folder, design)
    return JSONResponse({"yaml": dump_yaml(values), "command": command_line(page.folder, design)})


async def _check(page: Page, request: Request) -> Response:
    """What a run would do (`tuneproof check`); where `audit` is set without its cost, which takes longest."""
    design = await read_body(request)
    audit_only = bool(design.pop("audit", False))
    recipe, values = await asyncio.to_thread(checked_recipe, page.folder, design)
    tab = slug(str(design.get("tab") or "tab"))
    path = recipe_of(page, f"{CHECKED}{secrets.token_hex(4)}")
    await asyncio.to_thread(write_text, path, dump_yaml(values))
    words = ["check", str(path), "--json", *(["--no-cost"] if audit_only else [])]
    try:
        plan = await page.commands.output(f"{'audit' if audit_only else 'check'} {tab}", words)
    finally:
        path.unlink(missing_ok=True)
    items = plan["sizes"].get("test", 0)
    level, power = recipe.score.level, recipe.score.power
    plan["detectable"] = {
        "difference": await asyncio.to_thread(smallest_detectable_mcnemar, items, DISCORDANCE, level, power)
        if items
        else None,
        "discordance": DISCORDANCE,
        "power": power,
        "items": items,
    }
    return JSONResponse(plan)


async def _start(page: Page, request: Request) -> Response:
    """Write the recipe and start the study."""
    design = await read_body(request)
    _, values = await asyncio.to_thread(checked_recipe, page.folder, design)
    return JSONResponse({"study": await start_recipe(page, values)})


ROUTES: Routes = {
    ("GET", "/api/catalog"): _catalog,
    ("POST", "/api/files"): _upload,
    ("POST", "/api/preview"): _read_path,
    ("POST", "/api/recipe"): _recipe,
    ("POST", "/api/check"): _check,
    ("POST", "/api/studies"): _start,
}
