"""The processes that run studies: started, recognized, asked to stop; how their commands ended.

In: the page and a study's name. Out: its process, its command, its last error.
Knows nothing of: arms, boards, requests.
"""

import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import read_json
from tuneproof.errors import TuneproofError
from tuneproof.record.study_folder import RECIPE
from tuneproof.study.lock import is_held, lock_holder, process_started_at
from tuneproof.ui.app import Page
from tuneproof.ui.commands import start

LOG_BYTES = 1 << 16  # of the end of a log, where its error is


def record_of(page: Page, name: str) -> Path:
    """Where the page notes the command that runs a study."""
    return page.records / "runs" / f"{name}.json"


def recipe_of(page: Page, name: str) -> Path:
    """Where the page writes the recipe of a study that it starts."""
    return page.records / "recipes" / f"{name}.yaml"


def read_record(page: Page, name: str) -> dict[str, Any]:
    """What the page noted of the study's last command; empty where there is nothing to read."""
    with suppress(TuneproofError, OSError):
        values = read_json(record_of(page, name))
        return values if isinstance(values, dict) else {}
    return {}


def start_study(page: Page, name: str, words: list[str]) -> None:
    """Start the command that runs a study. Raises: HttpError where one is running."""
    if is_busy(page, name):
        raise HttpError(409, f"{name} is running.")
    start(words, record_of(page, name), {"study": name})


def is_busy(page: Page, name: str) -> bool:
    """Whether a command runs the study, or has been started to."""
    return is_held(page.folder / name) or _started_process(page, name) is not None


def study_process(page: Page, name: str) -> psutil.Process | None:
    """The process of this machine that runs the study."""
    folder = page.folder / name
    holder = lock_holder(folder) if is_held(folder) else {}
    if not holder:
        return _started_process(page, name)
    if holder["host"] != socket.gethostname():
        return None
    with suppress(psutil.Error):
        return process_started_at(holder["pid"], holder["started"])
    return None


def _started_process(page: Page, name: str) -> psutil.Process | None:
    """The process of the command that the page started, until it ends."""
    record = read_record(page, name)
    pid, started = record.get("pid"), record.get("started")
    if record.get("exit_code") is not None or not isinstance(pid, int):
        return None
    started = started if isinstance(started, (int, float)) else None  # None: of an older version
    try:
        process = process_started_at(pid, started)
        is_certain = started is not None or "tuneproof" in " ".join(process.cmdline() if process else ())
    except psutil.Error:
        return None
    return process if is_certain else None


def stop_study(page: Page, name: str) -> None:
    """Ask the study to stop after its current step; a second time it stops at once.

    Raises: HttpError where it is not running, or not for this user to stop.
    """
    folder = page.folder / name
    host = lock_holder(folder).get("host") if is_held(folder) else None
    if host not in (None, socket.gethostname()):
        raise HttpError(409, f"The study runs on {host}. Stop it there.")
    if (process := study_process(page, name)) is None:
        raise HttpError(409, f"{name} is not running.")
    try:
        process.send_signal(signal.SIGTERM)
    except psutil.NoSuchProcess:
        return
    except (psutil.AccessDenied, PermissionError):
        problem = f"{name} is run by process {process.pid} of another user, who can stop it."
        raise HttpError(409, problem) from None
    page.own.setdefault("stopping", {})[name] = process


def is_stopping(page: Page, name: str) -> bool:
    """Whether the process that runs the study has been asked to stop."""
    signalled = page.own.get("stopping", {}).get(name)
    return signalled is not None and signalled == study_process(page, name)


def words_to_go_on(page: Page, name: str) -> list[str]:
    """The command that runs the study's recipe again; the page's recipe, if it never got as far as its own.

    Raises: HttpError where the recipe is missing or a link.
    """
    recipe = page.folder / name / RECIPE
    if not recipe.exists():
        recipe = recipe_of(page, name)
    without_links = page.folder.resolve() / recipe.relative_to(page.folder)
    if not recipe.is_file() or recipe.resolve() != without_links:
        problem = "is a link" if recipe.exists() else "does not exist"
        raise HttpError(409, f"{recipe} {problem}, so {name} cannot go on. Start a new study.")
    return ["run", str(recipe), "--out", str(page.folder / name)]


def last_error(page: Page, name: str) -> str:
    """The last line that the study's failed command printed, also where the page did not see it end."""
    record = read_record(page, name)
    exit_code = record.get("exit_code")
    if not record or exit_code == 0:
        return ""
    lines: list[str] = []
    with suppress(OSError), open(record_of(page, name).with_suffix(".log"), "rb") as log:
        log.seek(max(0, log.seek(0, 2) - LOG_BYTES))
        lines = log.read().decode("utf-8", "replace").split("\n")
    if errors := [line for line in lines if line.startswith("tuneproof: ")]:
        return errors[-1].removeprefix("tuneproof: ")
    if not isinstance(exit_code, int):
        return ""
    if exit_code < 0:
        return f"Signal {-exit_code} ended the command."
    return next(filter(None, reversed(lines)), f"The command ended with code {exit_code}.")
