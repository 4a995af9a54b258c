"""Label a file with a finished arm and download it; export an arm; write the folder of a publication.

In: requests. Out: files, and what the comparison with the arm showed. Knows nothing of: how an arm predicts.

The work is done by `tuneproof predict`, `export` and `publish`. Uploading to the hub needs a token, so the
page leaves that to the command that it shows.
"""

import asyncio
import re
import secrets
import shlex
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from tuneproof.apply.finished_arm import read_finished_arm
from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import make_folder
from tuneproof.errors import DataError, RunError
from tuneproof.record.study_folder import ARM, ARMS
from tuneproof.tasks.tables import read_table
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.design import study_name
from tuneproof.ui.studies import study_folder
from tuneproof.ui.waiting import answer_when_ready

NUMBER = re.compile(r"[0-9a-f]{16}")
MAX_LABELS = 50  # of which the answer has counts
TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl"}


def finished_arm(page: Page, request: Request) -> Path:
    """The folder of the arm in the address. Raises: HttpError where the study has no such finished arm."""
    study, name = study_folder(page, request.path_params["study"]), request.path_params["arm"]
    folder = study / ARMS / name
    names = {path.parent.name for path in (study / ARMS).glob(f"*/{ARM}")}
    if name not in names or folder.is_symlink():
        raise HttpError(404, f"There is no arm {name} in {study.name}.")
    try:
        read_finished_arm(folder)
    except RunError as error:
        raise HttpError(409, str(error)) from None
    return folder


def text_of(body: dict[str, Any], name: str) -> str:
    """A text of a body, "" where it is left out. Raises: HttpError where it is something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise HttpError(422, f"{name} must be a text.")
    return (value or "").strip()


async def _label_file(page: Page, request: Request) -> Response:
    """Label an uploaded file; {rows, predicted {label: rows}, name, download}."""
    arm, body = await asyncio.to_thread(finished_arm, page, request), await read_body(request)
    source = await asyncio.to_thread(_uploaded, page, text_of(body, "path"))
    abstain = body.get("abstain")
    words = ["predict", str(arm), "--input", str(source), "--json"]
    if column := text_of(body, "text"):
        words.append(f"--text={column}")
    if abstain is not None:
        if isinstance(abstain, bool) or not isinstance(abstain, int | float) or not 0 < abstain < 1:
            raise HttpError(422, "abstain must be a share between 0 and 1, or null.")
        words.append(f"--abstain={abstain}")
    return await answer_when_ready(page, _labelled(page, words, source))


def _uploaded(page: Page, name: str) -> Path:
    """A file that was dropped on the page. Raises: DataError for any other."""
    with suppress(OSError, ValueError):  # a name that is too long, or no name
        path = Path(name).resolve()
        if path.is_relative_to(page.uploads.resolve()) and path.is_file():
            return path
    raise DataError(name or "the file", "was not dropped on this page.", do="Choose a file first.")


async def _labelled(page: Page, words: list[str], source: Path) -> dict[str, Any]:
    number = secrets.token_hex(8)
    ending = ".jsonl" if source.suffix.lower() == ".jsonl" else ".csv"
    target = make_folder(page.records / "labelled" / number) / f"{source.stem}.labelled{ending}"
    purpose = f"label {number}"  # no other ends it
    try:
        await page.commands.output(purpose, [*words, f"--output={target}"])
    except BaseException:
        with suppress(OSError):
            target.parent.rmdir()
        raise
    table = await asyncio.to_thread(read_table, target)
    counts = Counter(map(str, table.columns["predicted"]))
    few = dict(counts.most_common()) if len(counts) <= MAX_LABELS else {}
    download = f"labelled/{number}/{quote(target.name)}"
    return {"rows": len(table.numbers), "predicted": few, "name": target.name, "download": download}


async def _download(page: Page, request: Request) -> Response:
    number, name = request.path_params["number"], request.path_params["name"]
    folder = page.records / "labelled" / number
    names = [path.name for path in folder.iterdir()] if NUMBER.fullmatch(number) and folder.is_dir() else []
    if name not in names:
        raise HttpError(404, "There is no such file.")
    return FileResponse(folder / name, media_type=TYPES[Path(name).suffix], filename=name)


async def _export(page: Page, request: Request) -> Response:
    """Write the arm in another format; the parity with the arm on all test items, or why it is refused."""
    arm, body = await asyncio.to_thread(finished_arm, page, request), await read_body(request)
    words = ["export", str(arm), f"--format={text_of(body, 'format')}", "--json"]
    if precision := text_of(body, "precision"):
        words.append(f"--precision={precision}")
    if (margin := body.get("margin")) is not None:
        if isinstance(margin, bool) or not isinstance(margin, int | float):
            raise HttpError(422, "margin must be a number of points.")
        words.append(f"--margin={margin}")
    return await answer_when_ready(page, page.commands.output(f"export {arm}", words))


async def _publish(page: Page, request: Request) -> Response:
    """Write the folder of a publication: the gate's result, and the command that uploads it."""
    arm, body = await asyncio.to_thread(finished_arm, page, request), await read_body(request)
    repo = text_of(body, "repo")
    if not repo or repo.startswith("-"):
        raise HttpError(422, "Name the repository as OWNER/NAME.")
    options = [f"--{name}" for name in ("merged", "report") if body.get(name) is True]
    options += [f"--{name}={value}" for name in ("base", "licence") if (value := text_of(body, name))]
    folder = page.records / "published"
    words = ["publish", str(arm), repo, *options]
    command = shlex.join(["tuneproof", *words])
    to = folder / await asyncio.to_thread(study_name, folder, repo)
    return await answer_when_ready(page, _published(page, [*words, f"--to={to}", "--json"], command))


async def _published(page: Page, words: list[str], command: str) -> dict[str, Any]:
    values = await page.commands.output(f"publish {words[1]}", words)
    return {**values, "upload_command": command}


ARM_PATH = "/api/studies/{study}/arms/{arm}"
ROUTES: Routes = {
    ("POST", f"{ARM_PATH}/label-file"): _label_file,
    ("GET", "/labelled/{number}/{name}"): _download,
    ("POST", f"{ARM_PATH}/export"): _export,
    ("POST", f"{ARM_PATH}/publish"): _publish,
}
