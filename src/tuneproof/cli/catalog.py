"""The shelves as text: what there is, and one item with its settings.

In: a name. Out: text. Knows nothing of: terminals, colour.
"""

import json
from collections.abc import Callable

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.families import FAMILIES
from tuneproof.families.models import MODELS
from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS
from tuneproof.settings import Settings
from tuneproof.tasks import TASKS


def _models() -> list[str]:
    return [
        f"{name:<20} {entry.hub_id or 'carried in the package'} ({entry.licence}"
        f"{', asks for consent' if entry.gated else ''})"
        for name, entry in MODELS.items()
    ]


def _published(name: str) -> list[str]:
    facts = MODELS[name].facts
    if facts is None or facts.published is None:
        return []
    return [f"Published: {facts.published.count:,} parameters ({facts.published.source})"]


SHELVES: dict[str, Callable[[], list[str]]] = {
    "tasks": lambda: [f"{name:<20} {task.title}" for name, task in TASKS.items()],
    "models": _models,
    "families": lambda: [
        f"{name:<20} {family.kind}: {', '.join(family.model_types) or 'any other'}"
        for name, family in FAMILIES.items()
    ],
    "methods": lambda: [f"{name:<20} {method.kind}: {method.title}" for name, method in METHODS.items()],
    "metrics": lambda: [f"{name:<28} {metric.title}" for name, metric in METRICS.items()],
}


def shown(name: str) -> str:
    """All shelves ("shelves"), one of them, one of their items, or the recipe's schema.

    Raises: RecipeError where no shelf holds it.
    """
    if name == "recipe-schema":
        from tuneproof.recipe.schema import recipe_schema

        return json.dumps(recipe_schema(), indent=1)
    if name == "shelves":
        every = [f"{shelf}:\n  " + "\n  ".join(lines()) for shelf, lines in SHELVES.items()]
        return "\n".join([*every, "recipe-schema: the JSON schema of a recipe"])
    return "\n".join(SHELVES[name]() if name in SHELVES else _item(name))


def _settings(options: type[Settings]) -> list[str]:
    lines = []
    for name, field in options.model_fields.items():
        default = "required" if field.is_required() else f"default {field.get_default()!r}"
        lines.append(f"  {name} ({default})")
        lines.append(f"      {field.description or ''}")
    return lines


def _item(name: str) -> list[str]:
    """One item with its settings, source and paper."""
    if name in METHODS:
        method = METHODS[name]
        lines = [f"{name}: {method.title} ({method.kind})", f"Source: {method.paper}"]
        lines += [f"Differs: {method.differs}"] if method.differs else []
        return [*lines, "Settings:", *_settings(method.options)]
    if name in TASKS:
        task = TASKS[name]
        lines = [f"{name} (version {task.version}): {task.title}", f"Source: {task.paper}"]
        lines += [f"Licence: {task.licence}", f"Metrics: {', '.join(task.metrics)}"]
        return [*lines, "Settings:", *_settings(task.options)]  # type: ignore[arg-type]
    if name in METRICS:
        metric = METRICS[name]
        end = "higher" if metric.direction == "up" else "lower"
        return [
            f"{name}: {metric.title}",
            f"{metric.low:g} to {metric.high:g}, {end} is better",
            f"Source: {metric.paper}",
        ]
    if name in FAMILIES:
        family = FAMILIES[name]
        return [
            f"{name}: {family.kind}",
            f"Types: {', '.join(family.model_types) or 'any other that transformers loads'}",
            f"LoRA on: {family.targets if isinstance(family.targets, str) else ', '.join(family.targets)}",
        ]
    if name in MODELS:
        return [
            *(line for line in _models() if line.split()[0] == name),
            *_published(name),
            f"Its parameters: tuneproof count {name}",
        ]
    names = [*SHELVES, "recipe-schema", *METHODS, *TASKS, *METRICS, *FAMILIES, *MODELS]
    raise RecipeError("show", f"{name!r} is on no shelf.", do=did_you_mean(name, names))
