"""How far a running study is, in its folder, for whoever watches it from another process.

In: a study's events. Out: progress.json, replaced at most once a second, removed at the end.
Knows nothing of: who watches, terminals.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tuneproof.context.monitor import (
    ArmFinished,
    ArmStarted,
    Event,
    Message,
    Progress,
    StageStarted,
    StudyForecast,
)
from tuneproof.context.time_left import TimeLeft
from tuneproof.record.study_folder import PROGRESS
from tuneproof.study.lock import lock_holder

INTERVAL_S = 1.0
MAX_MESSAGES = 50


class ProgressFile:
    """A listener that writes progress.json while it is entered and this process holds the study's lock.

    The file is for display alone: a write that fails is skipped, and the next one comes a second later.
    """

    def __init__(self, folder: Path, interval_s: float = INTERVAL_S) -> None:
        self.folder, self.interval_s = Path(folder), interval_s
        self.time_left: TimeLeft | None = None
        self.values: dict[str, Any] = {"arm": None, "stage": None, "forecast": "", "messages": [], "arms": {}}
        self._stage, self._done, self._written_at = StageStarted("", None), 0, -interval_s
        self._has_written = False

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_written:
            with suppress(OSError):
                (self.folder / PROGRESS).unlink(missing_ok=True)

    def show(self, event: Event) -> None:
        """Take note of an event, and write the file if the last one is a second old."""
        now = time.monotonic()
        if isinstance(event, ArmStarted):
            self.values["arm"] = {"number": event.number, "total": event.total, "label": event.label}
            if self.time_left is not None:
                self.time_left.start_arm(event.label)
        elif isinstance(event, ArmFinished):
            self._finish_arm(event)
        elif isinstance(event, StudyForecast):
            self.time_left, self.values["forecast"] = TimeLeft(event.predicted_s), event.sentence
        elif isinstance(event, StageStarted):
            self._stage, self._done = event, event.done
            if self.time_left is not None:
                self.time_left.start_stage()
        elif isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Message) and event.level != "detail":
            messages = [*self.values["messages"], {"text": event.text, "level": event.level}]
            self.values["messages"] = messages[-MAX_MESSAGES:]
        if now - self._written_at >= self.interval_s:
            self._written_at = now
            self._write(event.note if isinstance(event, Progress) else "")

    def _advance(self, event: Progress) -> None:
        self._done += event.done
        total = self._stage.total
        if self.time_left is not None and total:
            to_do = max(1, total - self._stage.done)
            self.time_left.stage_share = (self._done - self._stage.done) / to_do

    def _finish_arm(self, event: ArmFinished) -> None:
        self.values["arms"][event.label] = {"status": event.status, "line": event.line}
        self.values["arm"] = None
        if self.time_left is not None:
            self.time_left.finish_arm(event.label, event.time_s)

    def _write(self, note: str) -> None:
        if lock_holder(self.folder).get("pid") != os.getpid():
            return
        stage = {"name": self._stage.name, "done": self._done, "total": self._stage.total}
        values = {**self.values, "stage": {**stage, "unit": self._stage.unit, "note": note}}
        if self.time_left is not None:
            values |= {"share": self.time_left.done_share(), "left_s": self.time_left.left_s()}
        new = self.folder / f"{PROGRESS}.tmp-{os.getpid():08x}"
        try:  # not synced: after a crash nobody needs it
            new.write_text(json.dumps(values), "utf-8")
            os.replace(new, self.folder / PROGRESS)
            self._has_written = True
        except OSError:
            with suppress(OSError):
                new.unlink(missing_ok=True)
