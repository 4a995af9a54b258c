"""A finding of the audit.

In: a name, a level, a sentence with numbers. Out: plain values, or the error that stops the run.
Knows nothing of: texts, tokens, how to find anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tuneproof.errors import DataError

MAX_EXAMPLES = 5  # of a finding


@dataclass(frozen=True)
class Finding:
    """A problem or fact with its numbers and count; an error stops the run unless `allowed_by` is set."""

    name: str
    level: Literal["note", "warning", "error"]
    message: str
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    allowed_by: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for audit.json."""
        return asdict(self)


def blocking_finding(name: str, message: str, count: int, examples: list[dict[str, Any]]) -> Finding:
    """An error, with the setting that lets the run continue anyway."""
    return Finding(name, "error", message, count, examples, f"audit.allow: [{name}]")


def stop_on_errors(findings: Iterable[Finding], allowed: Sequence[str] = ()) -> None:
    """Raises DataError for the first error whose name is not in `allowed`, with its setting."""
    for finding in findings:
        if finding.level == "error" and finding.name not in allowed:
            do = f"Fix it, or continue at your own risk with {finding.allowed_by}."
            raise DataError(f"audit, {finding.name}", finding.message, do=do)


def plural(count: int, singular: str, plural_form: str) -> str:
    """'1 item' or '1,042 items'."""
    return f"{count:,} {singular if count == 1 else plural_form}"
