"""The errors that a user may meet: where · what was found · what is allowed · what to do.

In: the four parts as sentences. Out: exceptions that print as one paragraph. Knows nothing of: any room.

    TuneproofError
    ├── RecipeError   the recipe or the command line asks for what cannot be   exit code 2
    ├── DataError     the user's rows are wrong or missing                     exit code 2
    │   └── DataUnreachedError    they are the hub's, which was not reached
    ├── ModelError    the model or its tokenizer cannot be used                exit code 2
    │   └── ModelUnreachedError   it is the hub's, which was not reached
    ├── RunError      something failed while it ran                            exit code 1
    └── StoppedError  stopped before the end; the same command goes on         exit code 3
"""

from collections.abc import Iterable
from difflib import get_close_matches

from tuneproof.redact import redacted

LONGEST = 10_000  # characters of a part


class TuneproofError(Exception):
    """An error with its four parts as attributes; `str()` joins them to one paragraph.

    No secret stands in them: other packages' words may come with a header or an address.
    """

    exit_code = 1

    def __init__(self, where: str, found: str, allowed: str = "", do: str = "") -> None:
        where, found, allowed, do = (redacted(_short(part)) for part in (where, found, allowed, do))
        self.where, self.found, self.allowed, self.do = where, found, allowed, do
        rest = " ".join(part for part in (found, allowed, do) if part)
        super().__init__(f"{where}: {rest}" if where else rest)


def _short(part: str) -> str:
    """A part with its middle left out where a stranger's name or label made it endless."""
    return part if len(part) <= LONGEST else f"{part[: LONGEST // 2]} … {part[-LONGEST // 2 :]}"


class RecipeError(TuneproofError):
    """The recipe or the command line asks for what cannot be."""

    exit_code = 2


class DataError(TuneproofError):
    """The user's rows are wrong or missing."""

    exit_code = 2


class ModelError(TuneproofError):
    """The model or its tokenizer cannot be used."""

    exit_code = 2


class DataUnreachedError(DataError):
    """The rows are the hub's, which was not reached: nothing is known to be wrong with them."""


class ModelUnreachedError(ModelError):
    """The model is the hub's, which was not reached: nothing is known to be wrong with it."""


class RunError(TuneproofError):
    """Something failed while it ran."""

    exit_code = 1


class StoppedError(TuneproofError):
    """Stopped before the end; what is finished is kept."""

    exit_code = 3


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """'Did you mean shots?' or, with nothing near, the list of what is allowed."""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(word), names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Allowed: {', '.join(names)}." if names else ""
