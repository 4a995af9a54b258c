"""Studies that are killed and started again end as if nothing had been (R1 to R4, by benchmarks/chaos)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def chaos(folder: Path, *words: str) -> dict:
    """What a run of the benchmark counted."""
    file = folder / "found.json"
    command = [sys.executable, "-m", "benchmarks", "chaos", "--json", str(file), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.is_file(), done.stdout + done.stderr
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Without further sets and endpoints; the slow test kills at every operation of all kinds."""
    few = "--only", "a whole run,one ,an arm's record"
    return chaos(tmp_path_factory.mktemp("chaos"), "--kills", "3", "--every", "23", "--seed", "1", *few)


def all_alike(found: dict, names) -> None:
    counts = [found[name] for name in names]
    assert sum(count["kills"] for count in counts) > 0
    for name, count in zip(names, counts, strict=True):
        assert not count["wrong"], f"{name}: {count['wrong']}"
        assert count["trials"] == count["recovered"] == count["identical"], name


def test_r01_a_kill_at_any_operation_of_a_run_changes_nothing(found) -> None:
    all_alike(found, ["a whole run", "one checkpoint"])


def test_r02_kills_at_random_moments_change_nothing(found) -> None:
    all_alike(found, ["random moments"])
    assert found["random moments"]["kills"] >= 3


def test_r03_kills_in_logs_records_and_reports_change_nothing(found) -> None:
    names = ["one resume log", "one prediction file", "one report", "an arm's record"]
    all_alike(found, names)


def test_r04_a_power_cut_takes_nothing_that_matters(found) -> None:
    all_alike(found, [name for name in found if name.endswith("power cut")])


@pytest.mark.slow
def test_r01_r02_a_hundred_kills_and_every_operation_of_each_place(tmp_path) -> None:
    found = chaos(tmp_path, "--kills", "100", "--whole", "1")
    all_alike(found, list(found))
    assert found["random moments"]["kills"] >= 100
