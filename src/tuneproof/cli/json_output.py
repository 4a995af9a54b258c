"""One JSON object on standard output, and everything else on standard error.

In: a command's value or error. Out: JSON. Knows nothing of: what a command does.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from math import isfinite
from typing import Any, TextIO

from tuneproof.errors import TuneproofError
from tuneproof.redact import json_text, printable

OPTION = "--json"
_OUTPUT: ContextVar[TextIO | None] = ContextVar("output", default=None)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the option is among these arguments, also where they are not valid."""
    return OPTION in (arguments[: arguments.index("--")] if "--" in arguments else arguments)


@contextmanager
def json_alone(as_json: bool) -> Iterator[None]:
    """Meanwhile what a command or a library prints goes to standard error; `print_json` does not."""
    if not as_json:
        yield
        return
    token = _OUTPUT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _OUTPUT.reset(token)


def print_json(value: Mapping[str, Any]) -> None:
    """Print the command's object; numbers that are not finite, which JSON does not have, are null."""
    print(json_text(_finite(value)), file=_OUTPUT.get() or sys.stdout)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def show_error(error: TuneproofError, as_json: bool) -> int:
    """Show an error, as a sentence and where wanted as an object. Returns the exit code."""
    if as_json:
        print_json({"error": error_values(error)})
    print(f"tuneproof: {printable(str(error))}", file=sys.stderr)
    return error.exit_code


def error_values(error: TuneproofError) -> dict[str, Any]:
    """The four parts of an error."""
    return {"where": error.where, "problem": error.problem, "allowed": error.allowed, "do": error.do}
