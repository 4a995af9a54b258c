"""Check one part of a document against its settings and report the first problem with its line.

In: plain values, their document, a settings class. Out: the settings, or an error.
Knows nothing of: what a recipe is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tuneproof.errors import did_you_mean
from tuneproof.recipe.yaml import Document, Keys

Part = TypeVar("Part", bound=BaseModel)


def format_path(path: Keys) -> str:
    """'arms[3].lora.rank'"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def check_part(part: type[Part], values: Any, document: Document, path: Keys) -> Part:
    """Validate one part of the document. Raises: RecipeError for the first problem, with its line."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        problem = f"{format_path(path)} is {values!r}; it should be a mapping of settings."
        raise document.error(path, problem, f"Allowed: {', '.join(part.model_fields)}.")
    try:
        return part.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        problem, fix = _explain(first, part, path)
        raise document.error((*path, *first["loc"]), problem, fix) from None


def _explain(error: Any, part: type[BaseModel], path: Keys) -> tuple[str, str]:
    """What is wrong, and how to fix it."""
    name = format_path((*path, *error["loc"]))
    if error["type"] == "extra_forbidden":
        *keys, stranger = error["loc"]
        owner = next(key for key in reversed((*path, *keys)) if isinstance(key, str))
        fix = did_you_mean(str(stranger), _inner_part(part, keys).model_fields) or "It has no settings."
        return f"{name} is not a setting of {owner}.", fix
    if error["type"] == "missing":
        return f"{name} is missing.", "Add it."
    field = part.model_fields.get(str(error["loc"][0])) if error["loc"] else None
    meaning = f"Meaning: {field.description}" if field and field.description else ""
    return _describe_problem(name, error), meaning


def _inner_part(part: type[BaseModel], keys: Sequence[Any]) -> type[BaseModel]:
    """The part inside of a part that these keys lead to; names in a mapping of parts lead no further."""
    for key in keys:
        field = part.model_fields.get(str(key))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        part = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), part)
    return part


def shorten(value: Any) -> str:
    """The value's repr, at most 60 characters long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


SHOULD_BE = {
    "int_parsing": "be a whole number",
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "float_parsing": "be a number",
    "float_type": "be a number",
    "bool_parsing": "be true or false",
    "bool_type": "be true or false",
    "string_type": "be text; put it in quotation marks",
    "tuple_type": "be a list",
    "model_type": "be a mapping of settings",
    "dict_type": "be a mapping",
    "too_short": "have at least {min_length} entries",
    "too_long": "have at most {max_length} entries",
}


def _describe_problem(name: str, error: Any) -> str:
    """'train.epochs is 0; it should be greater than or equal to 1.'"""
    if error["type"] == "value_error":
        message = str(error["msg"]).removeprefix("Value error, ")
        link = f" is {shorten(error['input'])}; " if message.startswith("it ") else ": "
        return f"{name}{link}{message}."
    template = SHOULD_BE.get(error["type"], "")
    should = template.format(**error.get("ctx", {})) or str(error["msg"]).partition(" should ")[2]
    return f"{name} is {shorten(error['input'])}; it should {should}."
