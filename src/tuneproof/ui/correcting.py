"""Suspected label errors of a study, and a new study on the labels that were put right.

In: requests. Out: the suspected items; a started study, linked to the one that it corrects.
Knows nothing of: how labels are judged, how corrections apply.
"""

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tuneproof.apply.http_requests import HttpError
from tuneproof.atomic import make_folder, read_json, write_json, write_text
from tuneproof.errors import DataError, RecipeError, TuneproofError
from tuneproof.recipe.recipe import recipe_from
from tuneproof.recipe.yaml import Document, read_yaml
from tuneproof.record.csv_text import as_csv
from tuneproof.record.study_folder import RECIPE, read_items, read_study
from tuneproof.report.label_errors import NEXT_STEP, label_error_sentences
from tuneproof.tasks.corrections import CORRECTED
from tuneproof.ui.app import Page, Routes, read_body
from tuneproof.ui.design import study_name
from tuneproof.ui.studies import start_recipe, study_folder
from tuneproof.ui.waiting import answer_when_ready

MAX_ROWS = 200  # of suspected items in an answer


def why_not_correctable(recipe: Mapping[str, Any]) -> str:
    """Why a study's labels cannot be corrected on the page; "" where they can. recipe: as plain values."""
    task = recipe.get("task")
    options = task.get("labels") if isinstance(task, Mapping) else None
    if isinstance(options, Mapping) and options.get("path"):
        return ""
    return "Only labels of your own file can be corrected."


def correction_links(page: Page, name: str) -> dict[str, Any]:
    """{corrects: {study, items} or None, corrected_in [names]}: what links a study to those it corrects."""
    links = {}
    for path in (page.records / "corrected").glob("*.json"):
        with suppress(TuneproofError, OSError):
            links[path.stem] = read_json(path)
    corrected_in = sorted(new for new, link in links.items() if link.get("study") == name)
    return {"corrects": links.get(name), "corrected_in": corrected_in}


async def _label_errors(page: Page, request: Request) -> Response:
    folder = await asyncio.to_thread(study_folder, page, request.path_params["study"])
    return await answer_when_ready(page, _suspected(page, folder))


async def _suspected(page: Page, folder: Path) -> dict[str, Any]:
    """{sentences, rows, total, labels}: at most 200 of the suspected items, the most suspect first."""
    values = await page.commands.output(
        f"label-errors {folder.name}", ["label-errors", str(folder), "--json"]
    )
    labels = await asyncio.to_thread(_labels, folder)
    rows = values["rows"]
    sentences = [text for text in label_error_sentences(values) if text != NEXT_STEP]  # the page does it
    return {"sentences": sentences, "rows": rows[:MAX_ROWS], "total": len(rows), "labels": labels}


def _labels(folder: Path) -> list[str]:
    return next((list(arm.about["labels"]) for arm in read_study(folder).arms if arm.about.get("labels")), [])


async def _correct(page: Page, request: Request) -> Response:
    """Write the corrections, and start the same study with them under a new name."""
    folder = await asyncio.to_thread(study_folder, page, request.path_params["study"])
    corrections = (await read_body(request)).get("corrections")
    if not isinstance(corrections, dict) or not all(isinstance(label, str) for label in corrections.values()):
        raise HttpError(422, "corrections must be {id: label}.")
    values, link = await asyncio.to_thread(_corrected_recipe, page, folder, corrections)
    name = await start_recipe(page, values)
    await asyncio.to_thread(write_json, page.records / "corrected" / f"{name}.json", link)
    return JSONResponse({"study": name, "corrects": link["study"], "items": link["items"]})


def _corrected_recipe(
    page: Page, folder: Path, corrections: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recipe of the same study with the corrections, which are written, and what links the two.

    Raises: DataError or RecipeError where the labels cannot be corrected so.
    """
    values = read_yaml(folder / RECIPE).values
    if reason := why_not_correctable(values):
        raise RecipeError(folder.name, reason)
    rows = _corrected_rows(folder, corrections)
    file = make_folder(page.uploads / secrets.token_hex(4)) / f"{folder.name}.corrections.csv"
    options = values["task"]["labels"]
    earlier = options.get("corrections") or []
    options["corrections"] = [*([earlier] if isinstance(earlier, str) else earlier), str(file)]
    values["out"] = str(page.folder / study_name(page.folder, f"{folder.name}-{CORRECTED}"))
    recipe_from(values, Document(folder.name, values))
    write_text(file, as_csv(rows))
    return values, {"study": folder.name, "items": len(rows), "file": str(file)}


def _corrected_rows(folder: Path, corrections: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of the file, as in label_errors.csv. Raises: DataError for an id or a label of no item."""
    labels, rows = _labels(folder), []
    unknown = set(corrections)
    for part in ("train", "dev", "test"):
        items = read_items(folder, part)
        unknown.difference_update(items.ids)
        for id, text, label in zip(items.ids, items.texts, items.golds, strict=True):
            if corrections.get(id, label) != label:
                rows.append({"id": id, "text": text, "label": label, CORRECTED: corrections[id]})
    if unknown:
        raise DataError(min(unknown), "is the id of no item of this study.")
    for row in rows:
        if row[CORRECTED] not in labels:
            allowed = f"The labels are {', '.join(labels[:10])}."
            raise DataError(row["id"], f"{row[CORRECTED]!r} is not a label.", allowed)
    if not rows:
        raise DataError("corrections", "change no label.", do="Choose the right label of an item at least.")
    return rows


ROUTES: Routes = {
    ("POST", "/api/studies/{study}/label-errors"): _label_errors,
    ("POST", "/api/studies/{study}/corrected"): _correct,
}
