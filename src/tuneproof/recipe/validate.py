"""A part of a document checked against its settings: the first problem, with its line and a way out.

In: plain values, the document that they stand in, a class of settings. Out: the settings, or an error.
Knows nothing of: what a recipe is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tuneproof.errors import RecipeError, did_you_mean
from tuneproof.recipe.yaml import Document

Part = TypeVar("Part", bound=BaseModel)


def error_at(document: Document, path: tuple[str | int, ...], found: str, hint: str = "") -> RecipeError:
    """The error for what stands at this path, with its line."""
    return RecipeError(document.where(path), found, do=hint)


def dotted(path: Sequence[str | int]) -> str:
    """'arms[3].lora.rank'"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def check_part(part: type[Part], values: Any, document: Document, path: tuple[str | int, ...]) -> Part:
    """Validate one part; the first problem becomes a RecipeError with its line."""
    values = {} if values is None else values
    if not isinstance(values, Mapping):
        raise error_at(
            document,
            path,
            f"{dotted(path)} is {values!r}, not settings with names.",
            f"Allowed: {', '.join(part.model_fields)}.",
        )
    try:
        return part.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = (*path, *first["loc"])
        if first["type"] == "extra_forbidden":
            holder = next(name for name in reversed(path) if isinstance(name, str))
            found = f"{dotted(place)} is not a setting of {holder}."
            hint = did_you_mean(str(first["loc"][-1]), part.model_fields) or "It has none."
        elif first["type"] == "missing":
            found, hint = f"{dotted(place)} is missing.", "Add it."
        else:
            found = _what_is_wrong(dotted(place), first)
            field = part.model_fields.get(str(first["loc"][0])) if first["loc"] else None
            hint = (field.description or "") if field else ""
        raise error_at(document, place, found, hint) from None


def shorten(value: Any) -> str:
    """A value as Python writes it, 60 characters at most."""
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
    "string_type": "be text; quotation marks make it so",
    "tuple_type": "be a list",
    "too_short": "have at least {min_length} entries",
    "too_long": "have at most {max_length} entries",
}


def _what_is_wrong(name: str, error: Any) -> str:
    """'train.epochs is 0; it should be greater than or equal to 1.'"""
    if error["type"] == "value_error":
        said = str(error["msg"]).removeprefix("Value error, ")
        shown = f" is {shorten(error['input'])}; " if said.startswith("it ") else ": "
        return f"{name}{shown}{said}."
    should = SHOULD_BE.get(error["type"], str(error["msg"]).partition(" should ")[2])
    return f"{name} is {shorten(error['input'])}; it should {should.format(**error.get('ctx', {}))}."
