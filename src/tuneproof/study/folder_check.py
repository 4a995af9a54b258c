"""A study's folder before a run writes into it: no links lead out of it, no half-written files are left.

In: a study's folder. Out: an error that names a link; nothing else. Knows nothing of: plans, arms, models.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tuneproof.atomic import remove_leftovers
from tuneproof.errors import RecipeError
from tuneproof.record.study_folder import (
    ARMS,
    AUDIT,
    CACHE,
    CHANGES,
    CHECKPOINTS,
    COMPARISONS,
    FORECAST,
    ITEMS,
    PROVENANCE,
    RECIPE,
    REGISTRATION,
    REPORT_HTML,
    REPORT_JSON,
    REPORT_MD,
    SPLITS,
    SUPERSEDED,
)

WORKER = "process-"
FOLDERS = (ARMS, CACHE, SUPERSEDED)
FILES = (
    *(RECIPE, PROVENANCE, ITEMS, SPLITS, AUDIT, REGISTRATION, CHANGES, FORECAST, COMPARISONS),
    *(REPORT_HTML, REPORT_JSON, REPORT_MD),
)


def refuse_links(folder: Path) -> None:
    """Raises RecipeError if one of the study's own folders is a link, through which a run would write."""
    for path in _folders(folder):
        if path.is_symlink():
            problem = f"is a link to {path.resolve()}."
            do = "Replace the link by that folder, or name another folder with --out."
            raise RecipeError(str(path), problem, "A study is written into folders.", do)


def remove_half_written(folder: Path) -> None:
    """Remove what a killed process left half written. The caller holds the study's lock."""
    remove_leftovers(folder, (*FILES, *FOLDERS))
    for path in _folders(folder):
        remove_leftovers(path)


def worker_folder(folder: Path, rank: int) -> Path:
    """The folder in a study's that a worker process writes into while it takes part."""
    return folder / f"{WORKER}{rank}"


def remove_workers_of_before(folder: Path, world_size: int) -> None:
    """Remove the folders of killed workers that this run, of so many processes, does not have itself."""
    for path in folder.glob(f"{WORKER}*"):
        rank = path.name.removeprefix(WORKER)
        if rank.isdecimal() and int(rank) >= world_size:
            shutil.rmtree(path, ignore_errors=True)


def _folders(folder: Path) -> Iterator[Path]:
    """The study's own folders and all folders in them, links among them."""
    for name in FOLDERS:
        yield folder / name
        if not (folder / name).is_symlink():
            for root, names, _ in os.walk(folder / name):
                for inner in names if Path(root).name != CHECKPOINTS else ():  # no checkpoint: set aside
                    yield Path(root, inner)
