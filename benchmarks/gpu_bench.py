"""One card, or none: where the checks of `gpu` run, what they need, and their rows.

In: a device, a folder, a time. Out: studies and measurements, each in a process of its own, so that one that
dies costs one row; the rows. Knows nothing of: what is checked.
"""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.gpu_models import model_folder, write_questions, write_reviews

TIMEOUT_S = 600.0
LOG_END = 4000  # characters of a process's output that are read
PASSED, FAILED, FIGURE, SKIPPED = "pass", "FAIL", "figure", "skipped"


class ProcessError(Exception):
    """A process of a check ended badly; the message ends with the last line of its output."""


@dataclass(frozen=True)
class Row:
    """One line: the check, how it ended, what was seen in words and in figures; the function that made it."""

    check: str
    outcome: str
    text: str
    figures: dict[str, Any] = field(default_factory=dict)
    function: str = ""


@dataclass(frozen=True)
class StudyResult:
    """A study that was run: its arms by name, its error, what its process measured."""

    folder: Path
    error: str
    measured: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def arms(self) -> dict[str, Any]:
        """ArmRecord by the name of its folder; only complete ones."""
        from tuneproof.record.study_folder import read_arm

        paths = sorted(self.folder.glob("arms/*/arm.json"))
        return {path.parent.name: read_arm(path.parent) for path in paths}

    @property
    def trained(self) -> dict[str, Any]:
        """The arms that took steps."""
        return {name: arm for name, arm in self.arms.items() if arm.steps}

    @property
    def problem(self) -> str:
        """What went wrong; empty where every arm is done."""
        failed = [
            f"{name}: {str(arm.about.get('reason'))[:300]}"
            for name, arm in self.arms.items()
            if arm.about["status"] != "done"
        ]
        return "; ".join([*failed, *([self.error] if self.error or not self.arms else [])])

    def notes_with(self, words: str) -> list[str]:
        """Notes of the arms that hold these words, in capitals or not."""
        notes = [note for arm in self.arms.values() for note in arm.about.get("notes", [])]
        return [note for note in notes if words.lower() in note.lower()]

    def probabilities(self, name: str) -> list[list[float]]:
        """Of the arm's test predictions; an item without any is left out."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.arms[name].folder / "predictions.parquet")
        rows = table["probabilities"].to_pylist() if "probabilities" in table.column_names else []
        return [row for row in rows if row is not None]


@dataclass
class Bench:
    """device: cuda or cpu. small: with the shapes of the CPU forms. budget_s: after it no check starts."""

    device: str
    small: bool
    folder: Path
    budget_s: float
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    processes: int = 0
    function: str = ""  # that runs now

    @property
    def on_gpu(self) -> bool:
        """Whether a card is used."""
        return self.device == "cuda"

    @property
    def half(self) -> str:
        """The precision of the checks of speed: bf16 on a card, else fp32."""
        return "bf16" if self.on_gpu else "fp32"

    @property
    def left_s(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget_s - (time.monotonic() - self.started)

    def report(self, check: str, outcome: str | bool, text: str, **figures: Any) -> None:
        """Print a row and keep it; an outcome of true is `pass`, of false `FAIL`."""
        if isinstance(outcome, bool):
            outcome = PASSED if outcome else FAILED
        self.rows.append(Row(check, outcome, text.strip("; "), figures, self.function))
        spent = time.monotonic() - self.started
        print(f"{outcome:8}{check:40}{text.strip('; ')}  [{spent:.0f} s]", flush=True)

    def has_memory(self, check: str, needed_gib: float) -> bool:
        """Whether the card has so much memory; a row says so where it has not. A CPU's form always has."""
        if not self.on_gpu:
            return True
        import torch

        total = torch.cuda.get_device_properties(0).total_memory / 2**30
        if total < needed_gib:
            self.report(check, SKIPPED, f"needs {needed_gib:.0f} GiB, the card has {total:.1f}")
        return total >= needed_gib

    def size(self, full: int, small: int) -> int:
        """The first on a card, the second in a CPU form."""
        return small if self.small else full

    def model(self, name: str) -> str:
        """The folder of a model (see `gpu_models`)."""
        return str(model_folder(name, self.folder / "models", self.small))

    def reviews(self, rows: int = 240, shortest: int = 8, longest: int = 40) -> dict[str, Any]:
        """A recipe's task: labelled reviews."""
        path = self.folder / f"reviews-{rows}-{shortest}-{longest}.csv"
        write_reviews(path, rows, shortest, longest)
        return {"labels": {"path": str(path), "text": "review", "label": "sentiment"}}

    def questions(self, rows: int = 120, words: int = 60) -> dict[str, Any]:
        """A recipe's task: questions on texts."""
        return {"questions": {"path": str(write_questions(self.folder / "questions.jsonl", rows, words))}}

    def recipe(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values with one seed, this device and a new folder for the study."""
        folder = self.folder / "studies" / name
        shutil.rmtree(folder, ignore_errors=True)
        compute = {"device": self.device, "precision": "fp32", **values.get("compute", {})}
        return {"seeds": [0], **values, "compute": compute, "out": str(folder)}

    def study(self, name: str, values: dict[str, Any], **process: Any) -> StudyResult:
        """Run a study by `tuneproof.run` in a process of its own. process: of `gpu_bench:run_study_here`."""
        recipe = self.recipe(name, values)
        folder = Path(recipe["out"])
        try:
            measured = self.call("benchmarks.gpu_bench:run_study_here", recipe=recipe, **process)
        except ProcessError as error:
            return StudyResult(folder, str(error))
        return StudyResult(folder, measured.pop("error"), measured)

    def call(self, function: str, **options: Any) -> dict[str, Any]:
        """What a function ("module:name") returns for these options, in a process of its own.

        Raises: ProcessError where it fails or takes longer than ten minutes.
        """
        answer = self.folder / "answer.json"
        answer.unlink(missing_ok=True)
        words = ["-W", "ignore", "-m", "benchmarks.gpu_bench", function, json.dumps(options), str(answer)]
        code, end = self.command(words)
        if code or not answer.is_file():
            raise ProcessError(f"exit code {code} ({self.log}): {end.splitlines()[-1] if end else ''}")
        return dict(json.loads(answer.read_text()))

    def command(self, words: Sequence[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Exit code and end of the output of a Python command; its whole process group ends with it."""
        self.processes += 1
        with open(self.log, "wb") as file:
            process = start_python(words, file, environment)
            try:
                code = process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                code = 124
            finally:
                end_group(process)
        return code, self.log.read_text("utf-8", "replace")[-LOG_END:].strip()

    @property
    def log(self) -> Path:
        """The output of the newest process."""
        return self.folder / f"process-{self.processes}.log"


def start_python(words: Sequence[str], log: Any, environment: dict[str, str] | None = None) -> Any:
    """Python with these arguments, offline, in a process group of its own."""
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **offline, **(environment or {})},
        start_new_session=True,
    )


def end_group(process: Any) -> None:
    """End what is left of a process and of those that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_study_here(
    recipe: dict[str, Any], leave_gib: float | None = None, fail_above_tokens: int | None = None
) -> dict[str, Any]:
    """Run a study in this process: its error, and the device's bytes that are still allocated after it.

    leave_gib: another tensor takes all of the card's memory but this. fail_above_tokens: on a CPU, reading
    more tokens at once raises torch's own error of a shortage instead.
    """
    import torch

    import tuneproof

    ballast = torch.empty(0, dtype=torch.uint8)
    if leave_gib is not None:
        free, _ = torch.cuda.mem_get_info()
        ballast = torch.empty(max(0, int(free - leave_gib * 2**30)), dtype=torch.uint8, device="cuda")
    if fail_above_tokens is not None:
        torch.nn.functional.embedding = _limited(torch.nn.functional.embedding, fail_above_tokens)
    error = ""
    try:
        tuneproof.run(recipe)
    except tuneproof.TuneproofError as problem:
        error = str(problem)
    left = torch.cuda.memory_allocated() - ballast.numel() if ballast.is_cuda else 0
    return {"error": error, "left_bytes": left}


def _limited(embedding: Callable[..., Any], tokens: int) -> Callable[..., Any]:
    import torch

    def limited(ids: Any, *arguments: Any, **options: Any) -> Any:
        if type(ids) is torch.Tensor and ids.numel() > tokens:  # not the fake ones of a prediction
            raise torch.OutOfMemoryError(f"{ids.numel()} tokens, {tokens} have room")
        return embedding(ids, *arguments, **options)

    return limited


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values."""
    return [asdict(row) for row in rows]


def main(arguments: Sequence[str]) -> int:
    """A child: a function, its options as JSON, the file that gets its result."""
    from tuneproof.parent_process import end_with_parent

    end_with_parent(os.getppid())
    name, options, answer = arguments
    module, _, function = name.partition(":")
    result = getattr(importlib.import_module(module), function)(**json.loads(options))
    Path(answer).write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
