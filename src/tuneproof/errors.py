"""The errors that a user may see: where · what is wrong · what is allowed · what to do.

In: the four parts as sentences. Out: exceptions that print as one paragraph. Knows nothing of: any room.

    TuneproofError
    ├── RecipeError   the recipe or the command line is invalid            exit code 2
    ├── DataError     the rows are wrong or missing                        exit code 2
    │   └── DataUnreachedError    the rows are on the hub, which is not reachable
    ├── ModelError    the model or its tokenizer cannot be used            exit code 2
    │   └── ModelUnreachedError   the model is on the hub, which is not reachable
    ├── RunError      something failed during a run                        exit code 1
    │   └── NonfiniteError        a loss or a gradient is not finite
    └── StoppedError  stopped early; the same command resumes              exit code 3
"""

from collections.abc import Iterable
from difflib import get_close_matches

from tuneproof.redact import redact

MAX_PART_LENGTH = 10_000  # characters


class TuneproofError(Exception):
    """An error with its four parts as attributes; `str()` joins them to one paragraph.

    The parts are redacted: a message of another package may contain a token or a password.
    """

    exit_code = 1

    def __init__(self, where: str, problem: str, allowed: str = "", do: str = "") -> None:
        where, problem, allowed, do = (redact(_shorten(part)) for part in (where, problem, allowed, do))
        self.where, self.problem, self.allowed, self.do = where, problem, allowed, do
        rest = " ".join(part for part in (problem, allowed, do) if part)
        super().__init__(f"{where}: {rest}" if where else rest)


def _shorten(part: str) -> str:
    """Cut the middle out of a very long part: names and labels can have any length."""
    return (
        part
        if len(part) <= MAX_PART_LENGTH
        else f"{part[: MAX_PART_LENGTH // 2]} … {part[-MAX_PART_LENGTH // 2 :]}"
    )


class RecipeError(TuneproofError):
    """The recipe or the command line is invalid."""

    exit_code = 2


class DataError(TuneproofError):
    """The rows are wrong or missing."""

    exit_code = 2


class ModelError(TuneproofError):
    """The model or its tokenizer cannot be used."""

    exit_code = 2


class DataUnreachedError(DataError):
    """The rows are on the hub, which is not reachable; they may well be fine."""


class ModelUnreachedError(ModelError):
    """The model is on the hub, which is not reachable; it may well be fine."""


class RunError(TuneproofError):
    """Something failed during a run."""

    exit_code = 1


class NonfiniteError(RunError):
    """A loss or a gradient is not finite: training diverged, or an item is wrong."""


class StoppedError(TuneproofError):
    """Stopped early; finished work is kept."""

    exit_code = 3


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """'Did you mean shots?' or, if no name is similar, the list of allowed names."""
    names = [str(name) for name in allowed]
    matches = get_close_matches(str(word), names, n=1, cutoff=0.6)
    if matches:
        return f"Did you mean {matches[0]}?"
    return f"Allowed: {', '.join(names)}." if names else ""
