"""The JSON schema of a recipe, built from the settings of all tasks and methods.

In: the catalogs. Out: plain values. Knows nothing of: any particular recipe.
"""

from typing import Any

from pydantic import BaseModel

from tuneproof.methods import METHODS
from tuneproof.metrics import METRICS
from tuneproof.recipe.recipe import SECTIONS
from tuneproof.settings import Claim
from tuneproof.tasks import TASKS
from tuneproof.tasks.further_test import FurtherTest


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""

    def name_or_options(name: str, part: type[BaseModel]) -> list[dict[str, Any]]:
        options = part.model_json_schema()
        return [
            {"const": name},
            {
                "type": "object",
                "properties": {name: options},
                "required": [name],
                "additionalProperties": False,
            },
        ]

    tasks = [entry for name, task in TASKS.items() for entry in name_or_options(name, task.options)]
    arms = [entry for name, method in METHODS.items() for entry in name_or_options(name, method.options)]
    model = {"anyOf": [{"type": "string"}, {"type": "object", "maxProperties": 1}]}
    claim = Claim.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tuneproof recipe",
        "type": "object",
        "required": ["task", "arms"],
        "additionalProperties": False,
        "properties": {
            "task": {"anyOf": tasks},
            "models": {"type": "array", "items": model},
            "arms": {"type": "array", "minItems": 1, "items": {"anyOf": arms}},
            "seeds": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "train_sizes": {
                "type": "array",
                "items": {"type": "integer", "minimum": 2},
                "description": "Sizes for the label-efficiency curve: every arm that learns also runs on "
                "samples of train of these sizes, drawn per seed and stratified by label.",
            },
            "metrics": {
                "type": "array",
                "items": {"enum": list(METRICS)},
                "description": "Metrics to score and show besides the task's own and the claim's.",
            },
            "claim": {"anyOf": [claim, {"type": "array", "items": claim}]},
            "tests": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string"}, FurtherTest.model_json_schema()]},
                "description": "Further test files by name: every arm is scored there too, with its drop "
                "from the main test set. They choose nothing.",
            },
            **{name: _without_references(section.model_json_schema()) for name, section in SECTIONS.items()},
            "out": {"type": "string", "description": "The study's folder."},
        },
    }


def _without_references(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with each of its definitions at every reference to it."""
    definitions = schema.pop("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        named = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else {}
        return {key: resolve(entry) for key, entry in {**named, **value}.items() if key != "$ref"}

    resolved: dict[str, Any] = resolve(schema)
    return resolved
