"""One thing that the audit found.

In: a name, a level, a sentence with numbers. Out: plain values, or the error that stops the run.
Knows nothing of: texts, tokens, how it was found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tuneproof.errors import DataError

SHOWN = 5  # examples a finding shows


@dataclass(frozen=True)
class Finding:
    """One thing found: an error stops the run unless `override`, a setting, allows it.

    `message` is one sentence with the numbers; `count` is how many items it is about.
    """

    name: str
    level: Literal["note", "warning", "error"]
    message: str
    count: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    override: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for audit.json."""
        return asdict(self)


def stopper(name: str, message: str, count: int, examples: list[dict[str, Any]]) -> Finding:
    """An error, with the setting that lets the run go on all the same."""
    return Finding(name, "error", message, count, examples, f"audit.allow: [{name}]")


def stop_on_errors(findings: Iterable[Finding], allowed: Sequence[str] = ()) -> None:
    """Raises DataError for the first error whose name is not in `allowed`, naming the setting."""
    for finding in findings:
        if finding.level == "error" and finding.name not in allowed:
            raise DataError(
                f"audit, {finding.name}",
                finding.message,
                do=f"Mend it, or go on at your own risk with {finding.override}.",
            )


def plural(count: int, one: str, many: str) -> str:
    """'1 item' or '1,042 items'."""
    return f"{count:,} {one if count == 1 else many}"
