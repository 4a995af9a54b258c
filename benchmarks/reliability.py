"""The table of what is promised when things go wrong, each row with the tests that hold it to its bar.

In: nothing, or --slow. Out: a table of rows and outcomes; exit code 1 where one fails.
Knows nothing of: how a row is tested.

    python -m benchmarks reliability [--slow]
"""

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = "tests/reliability/"


@dataclass(frozen=True)
class Row:
    """A promise, its bar, and the tests (pytest's words) that try it."""

    name: str
    what: str
    bar: str
    tests: tuple[str, ...]


ROWS = (
    Row("R1", "SIGKILL at every operation of a run", "identical", (f"{HERE}test_kills.py::test_r01",)),
    Row("R2", "SIGKILL at random moments", "identical", (f"{HERE}test_kills.py::test_r02",)),
    Row(
        "R3",
        "the same in journals, report, study, commands",
        "identical",
        (f"{HERE}test_kills.py::test_r03", f"{HERE}test_killed_commands.py::test_r03"),
    ),
    Row("R4", "power cut: unsynced writes and names lost", "identical", (f"{HERE}test_kills.py::test_r04",)),
    Row(
        "R5",
        "a bit flipped anywhere in the newest",
        "set aside, identical",
        (f"{HERE}test_damage.py::test_r05",),
    ),
    Row(
        "R6",
        "each file missing, half, empty, flipped, another's",
        "set aside, identical",
        (f"{HERE}test_damage.py::test_r06",),
    ),
    Row("R7", "the program killed by its process", "identical", (f"{HERE}test_programs.py::test_r07",)),
    Row(
        "R8",
        "disk full at every write; small disks, no inodes",
        "said, resumed, identical",
        (f"{HERE}test_disk.py::test_r08", f"{HERE}test_full_disk.py::test_r08"),
    ),
    Row(
        "R9",
        "SIGTERM: step, checkpoint, exit 3; twice: at once",
        "identical",
        (f"{HERE}test_programs.py::test_r09",),
    ),
    Row("R10", "Ctrl-C in every stage", "exit 3, no traceback", (f"{HERE}test_programs.py::test_r10",)),
    Row(
        "R11",
        "memory runs out at the first step, and at step k",
        "same to 1e-5; kept at resume",
        (f"{HERE}test_changes.py::test_r11", "tests/train/test_oom.py"),
    ),
    Row(
        "R12",
        "two runs in one folder; a dead one's lock",
        "refused < 1 s; taken over",
        (f"{HERE}test_changes.py::test_r12",),
    ),
    Row("R13", "clocks and file times that jump", "order by step", (f"{HERE}test_damage.py::test_r13",)),
    Row(
        "R14",
        "loss or gradient not finite at step k",
        "stopped at k, last good kept",
        ("tests/arms/test_training.py::test_a_bad_number", "tests/train/test_loop.py"),
    ),
    Row(
        "R15",
        "rows edited, reordered, labels swapped, other split",
        "refused",
        (f"{HERE}test_changes.py::test_r15",),
    ),
    Row("R16", "every setting changed", "refused, but for a list", (f"{HERE}test_changes.py::test_r16",)),
    Row(
        "R17",
        "versions, threads, precision changed",
        "refused or accepted, recorded",
        (f"{HERE}test_changes.py::test_r17",),
    ),
    Row(
        "R18",
        "hub unreachable, cut off, wrong",
        "said, or from the cache",
        ("tests/hub/test_download.py", "tests/strangers/test_hub.py::test_44"),
    ),
    Row(
        "R19",
        "cached models and features damaged",
        "fetched, computed again",
        (
            "tests/hub/test_verify_cache.py",
            "tests/strangers/test_hub.py::test_44_a_blob",
            "tests/arms/test_probe.py::test_features_are_computed_once_and_damaged_ones_again",
        ),
    ),
    Row(
        "R20",
        "a study's driver killed between and in arms",
        "finished arms kept",
        ("tests/study/test_study.py::test_an_interrupted_study", f"{HERE}test_kills.py::test_r02"),
    ),
    Row(
        "R21",
        "several processes share a run",
        "one leads, and the others end with it",
        (
            "tests/test_processes.py::test_two_processes_killed",
            f"{HERE}test_killed_commands.py::test_r03_r21",
        ),
    ),
    Row(
        "R22",
        "read-only, no permission, failed rename, EIO, gone",
        "said, nothing damaged",
        (f"{HERE}test_disk.py::test_r22", f"{HERE}test_full_disk.py::test_r22"),
    ),
    Row(
        "R23",
        "a server's faults, kills among them, a log cut off or damaged",
        "no reply lost or paid twice",
        (
            "tests/methods/test_endpoint_client.py",
            "tests/methods/test_endpoint_log.py",
            "tests/study/test_endpoint.py",
        ),
    ),
)


@dataclass
class Outcome:
    """How a row's tests went."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    time_s: float = 0.0

    @property
    def word(self) -> str:
        """One word for the table."""
        if self.failed or not self.passed + self.skipped:
            return "FAILED"
        return "held" if self.passed else "skipped"


def results_of(file: str, names: Sequence[str], slow: bool) -> list[ElementTree.Element]:
    """The tests of a file whose names hold one of these (an empty name: all), as pytest reports them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "found.xml"
        command = [sys.executable, "-m", "pytest", "-q", file, f"--junitxml={report}"]
        if all(names):
            command += ["-k", " or ".join(names)]
        command += ["-m", "not gpu and not hub" if slow else "not slow and not gpu and not hub"]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        return list(ElementTree.parse(report).getroot().iter("testcase"))


def outcome_of(row: Row, cases: dict[str, list[ElementTree.Element]]) -> Outcome:
    """Add up the row's tests; `cases` are those of each file."""
    outcome = Outcome()
    for test in row.tests:
        file, _, name = test.partition("::")
        for case in cases[file]:
            if name not in str(case.get("name")):
                continue
            kinds = {child.tag for child in case}
            outcome.time_s += float(case.get("time", "0"))
            outcome.failed += bool(kinds & {"failure", "error"})
            outcome.skipped += "skipped" in kinds
            outcome.passed += not kinds & {"failure", "error", "skipped"}
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every row held."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks reliability")
    parser.add_argument("--slow", action="store_true", help="the long tests too")
    parser.add_argument("rows", nargs="*", metavar="R", help="these rows alone")
    args = parser.parse_args(arguments)
    rows = [row for row in ROWS if not args.rows or row.name in args.rows]
    names_by_file: dict[str, list[str]] = {}
    for row in rows:
        for test in row.tests:
            file, _, name = test.partition("::")
            names_by_file.setdefault(file, []).append(name)
    cases = {}
    for file, names in names_by_file.items():
        print(f"{file} ...", file=sys.stderr)
        cases[file] = results_of(file, names, args.slow)
    print(f"{'':5}{'what happens':54}{'bar':32}{'outcome':9}{'tests':>6}{'s':>7}")
    outcomes = [(row, outcome_of(row, cases)) for row in rows]
    for row, outcome in outcomes:
        ran = outcome.passed + outcome.failed
        print(f"{row.name:5}{row.what:54}{row.bar:32}{outcome.word:9}{ran:6}{outcome.time_s:7.0f}")
    return 1 if any(outcome.word == "FAILED" for _, outcome in outcomes) else 0
