"""Tasks, models, families, methods and metrics as text: lists, and single entries with their settings.

In: a name. Out: text. Knows nothing of: terminals, colour.
"""

import json
from collections.abc import Callable

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.families import FAMILIES
from tuneproof.families.models import MODELS
from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import SECTIONS
from tuneproof.settings import Settings
from tuneproof.tasks import TASKS


def _models() -> list[str]:
    """Name, size, hub id, licence, and what hinders a download or a repetition."""
    lines = []
    for name, entry in MODELS.items():
        published = entry.published and entry.published.parameters
        size = _size(published.count) if published else ""
        facts = {
            entry.licence: True,
            "gated": entry.gated,
            "not pinned": entry.revision is None and bool(entry.hub_id),
            "weights are a pickle: convert them first": entry.pickled,
        }
        shown_facts = ", ".join(fact for fact, holds in facts.items() if holds)
        lines.append(f"{name:<22} {size:>6}  {entry.hub_id or 'included in the package'} ({shown_facts})")
    return lines


def _size(parameters: int) -> str:
    """268M, 1.24B."""
    return f"{parameters / 1e6:.0f}M" if parameters < 1e9 else f"{parameters / 1e9:.3g}B"


def _published(name: str) -> list[str]:
    entry = MODELS[name]
    lines = [f"Revision: {entry.revision}"] if entry.revision else []
    if entry.published is not None and entry.published.parameters is not None:
        parameters = entry.published.parameters
        lines.append(f"Published: {parameters.count:,} parameters{parameters.scope} ({parameters.source})")
    return lines


CATALOGS: dict[str, Callable[[], list[str]]] = {
    "tasks": lambda: [f"{name:<20} {task.title}" for name, task in TASKS.items()],
    "models": _models,
    "families": lambda: [
        f"{name:<20} {family.kind}: {', '.join(family.model_types) or 'any other'}"
        for name, family in FAMILIES.items()
    ],
    "methods": lambda: [f"{name:<20} {method.kind}: {method.title}" for name, method in METHODS.items()],
    "metrics": lambda: [f"{name:<28} {metric.title}" for name, metric in METRICS.items()],
}


def describe(name: str) -> str:
    """A catalog, an entry, "all", settings or the recipe's schema. Raises: RecipeError for another name."""
    if name == "recipe-schema":
        from tuneproof.recipe.schema import recipe_schema

        return json.dumps(recipe_schema(), indent=1)
    if name == "settings" or name in SECTIONS:
        from tuneproof.cli.settings_table import settings_text

        return settings_text(None if name == "settings" else name)
    if name == "all":
        parts = [f"{title}:\n  " + "\n  ".join(lines()) for title, lines in CATALOGS.items()]
        settings = f"settings: every setting with its default and meaning; of one part: {', '.join(SECTIONS)}"
        return "\n".join([*parts, settings, "recipe-schema: the JSON schema of a recipe"])
    return "\n".join(CATALOGS[name]() if name in CATALOGS else _entry(name))


def _settings(options: type[Settings]) -> list[str]:
    lines = []
    for name, field in options.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default()!r}"
        lines.append(f"  {name} ({default})")
        lines.append(f"      {field.description or ''}")
    return lines


def _method(name: str) -> list[str]:
    method = METHODS[name]
    lines = [f"{name}: {method.title} ({method.kind})", f"Source: {method.paper}"]
    lines += [f"Differs: {method.differs}"] if method.differs else []
    return [*lines, "Settings:", *_settings(method.options)]


def _task(name: str) -> list[str]:
    task = TASKS[name]
    return [
        f"{name} (version {task.version}): {task.title}",
        f"Source: {task.paper}",
        f"Licence: {task.licence}",
        f"Metrics: {', '.join(task.metrics)}",
        "Settings:",
        *_settings(task.options),  # type: ignore[arg-type]
    ]


def _metric(name: str) -> list[str]:
    metric = METRICS[name]
    better = "higher" if metric.direction == "up" else "lower"
    bounds = f"{metric.low:g} to {metric.high:g}, {better} is better"
    return [f"{name}: {metric.title}", bounds, f"Source: {metric.paper}"]


def _family(name: str) -> list[str]:
    family = FAMILIES[name]
    targets = family.targets if isinstance(family.targets, str) else ", ".join(family.targets)
    return [
        f"{name}: {family.kind}",
        f"Model types: {', '.join(family.model_types) or 'any other that transformers loads'}",
        f"LoRA target modules: {targets}",
    ]


def _model(name: str) -> list[str]:
    line = next(line for line in _models() if line.split()[0] == name)
    return [line, *_published(name), f"Count its parameters: tuneproof count {name}"]


ENTRIES: dict[str, Callable[[str], list[str]]] = {
    **dict.fromkeys(MODELS, _model),
    **dict.fromkeys(FAMILIES, _family),
    **dict.fromkeys(METRICS, _metric),
    **dict.fromkeys(TASKS, _task),
    **dict.fromkeys(METHODS, _method),
}


def _entry(name: str) -> list[str]:
    """One entry with its settings, source and paper."""
    if name not in ENTRIES:
        do = did_you_mean(name, [*CATALOGS, "settings", *SECTIONS, "recipe-schema", *ENTRIES])
        raise RecipeError("show", f"there is no entry called {name!r}.", do=do)
    return ENTRIES[name](name)
