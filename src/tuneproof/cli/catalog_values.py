"""The catalogs as plain values, for `show --json`.

In: the name of a catalog or an entry, with its text. Out: one object. Knows nothing of: terminals.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from tuneproof.families import FAMILIES
from tuneproof.families.models import MODELS
from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS
from tuneproof.tasks import TASKS


def _settings(options: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, default (null: it is required, or has none) and meaning of each setting."""
    return [
        {
            "name": name,
            "required": field.is_required(),
            "default": None
            if field.is_required()
            else json.loads(json.dumps(field.get_default(), default=str)),
            "description": field.description or "",
        }
        for name, field in options.model_fields.items()
    ]


def _task(name: str) -> dict[str, Any]:
    task = TASKS[name]
    return {"title": task.title, "kind": task.kind, "metrics": list(task.metrics), "licence": task.licence}


def _method(name: str) -> dict[str, Any]:
    method = METHODS[name]
    return {"title": method.title, "kind": method.kind, "paper": method.paper, "differs": method.differs}


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    ends = {"low": metric.low, "high": metric.high}
    return {"title": metric.title, "direction": metric.direction, **ends, "paper": metric.paper}


def _model(name: str) -> dict[str, Any]:
    model = MODELS[name]
    count = model.published.parameters.count if model.published and model.published.parameters else None
    facts = {"hub_id": model.hub_id, "revision": model.revision, "licence": model.licence}
    return {**facts, "gated": model.gated, "parameters": count}


def _family(name: str) -> dict[str, Any]:
    return {"kind": FAMILIES[name].kind, "model_types": list(FAMILIES[name].model_types)}


Catalog = tuple[Mapping[str, Any], Callable[[str], dict[str, Any]]]
CATALOGS: dict[str, Catalog] = {
    "tasks": (TASKS, _task),
    "models": (MODELS, _model),
    "families": (FAMILIES, _family),
    "methods": (METHODS, _method),
    "metrics": (METRICS, _metric),
}


def catalog_values(name: str, text: str) -> dict[str, Any]:
    """A catalog's entries, one entry with its settings, or what `show` prints as `text`."""
    if name == "recipe-schema":
        schema: dict[str, Any] = json.loads(text)
        return schema
    if name == "all" or name in CATALOGS:
        names = CATALOGS if name == "all" else (name,)
        return {title: _entries(*CATALOGS[title]) for title in names}
    for title in ("methods", "tasks", "metrics", "families", "models"):  # as `show` prefers them
        entries, values = CATALOGS[title]
        if name in entries:
            options = getattr(entries[name], "options", None)
            settings = {} if options is None else {"settings": _settings(options)}
            return {"name": name, "catalog": title, **values(name), **settings}
    return {"name": name, "text": text}


def _entries(entries: Mapping[str, Any], values: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, **values(name)} for name in entries]
