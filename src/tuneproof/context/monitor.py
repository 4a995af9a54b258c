"""What a study says while it runs.

In: nothing. Out: the events that a caller may show. Knows nothing of: who shows them.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class StageBegun:
    """A stage with `total` units of work begins ("items", "steps"), or goes on after `done` of them.

    total None: unknown.
    """

    name: str
    total: int | None
    unit: str = "items"
    done: int = 0


@dataclass(frozen=True)
class Advanced:
    """`done` more units of the present stage are done; `note` says how it goes (loss 0.31)."""

    done: int
    note: str = ""


@dataclass(frozen=True)
class ArmBegun:
    """An arm begins: its place, how many there are, its label."""

    place: int
    of: int
    label: str


@dataclass(frozen=True)
class ArmEnded:
    """An arm ended: status done, skipped, failed or impossible, with a line about it."""

    label: str
    status: str
    line: str
    time_s: float


@dataclass(frozen=True)
class Said:
    """Something the user should know, as a sentence; `level` note or warning.

    `noted`: it belongs to the arm's record as well.
    """

    text: str
    level: str = "note"
    noted: bool = False


@dataclass(frozen=True)
class StudyEnded:
    """The study is done: the verdict's sentence and the report's paths."""

    verdict: dict[str, Any]
    folder: str
    report: str


Event = StageBegun | Advanced | ArmBegun | ArmEnded | Said | StudyEnded

Running = Generator[Event, None, T]
