"""The key `tests` of a recipe: further test files by name.

In: plain values. Out: the settings of each file, or an error with the line.
Knows nothing of: what the files hold.
"""

import re
from collections.abc import Mapping
from typing import Any

from tuneproof.recipe.validate import check_part, shorten
from tuneproof.recipe.yaml import Document
from tuneproof.tasks.further_test import FurtherTest

MAX_TESTS = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
RESERVED = ("train", "dev", "test", "all")
FORM = "Write tests: {NAME: FILE}, or {NAME: {path: FILE, text: COLUMN, label: COLUMN}}."


def read_further_tests(raw: Any, document: Document) -> dict[str, FurtherTest]:
    """The settings by name. Raises: RecipeError that names the setting."""
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise document.error(("tests",), f"tests is {shorten(raw)}, not files by name.", FORM)
    if len(raw) > MAX_TESTS:
        raise document.error(
            ("tests",), f"tests names {len(raw)} files.", f"At most {MAX_TESTS} are allowed."
        )
    tests: dict[str, FurtherTest] = {}
    for name, value in raw.items():
        _check_name(name, list(tests), document)
        values = {"path": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping):
            raise document.error(("tests", name), f"tests.{name} is {shorten(value)}, not a file.", FORM)
        tests[name] = check_part(FurtherTest, values, document, ("tests", name))
    return tests


def _check_name(name: Any, others: list[str], document: Document) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.lower() in RESERVED:
        problem = f"tests: {shorten(name)} cannot be the name of a file."
        allowed = (
            f"A name has letters, digits, - and _, at most 40 of them, and is none of {', '.join(RESERVED)}."
        )
        raise document.error(("tests",), problem, allowed)
    if name.lower() in (other.lower() for other in others):
        raise document.error(("tests", name), f"tests: two files are called {name}.", "Rename one.")


def further_tests_as_values(tests: Mapping[str, FurtherTest]) -> dict[str, Any]:
    """The key as plain values; none where there are no further tests."""
    if not tests:
        return {}
    return {
        "tests": {name: test.model_dump(mode="json", exclude_defaults=True) for name, test in tests.items()}
    }
