"""A folder with good rows, a canary, and a standard input that must not be read.

In: nothing. Out: what every test of a bad input starts from. Knows nothing of: any single input.
"""

import io
import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tuneproof.cli.main import main

OWN = ["reviews.csv", "--text", "review", "--label", "mood"]
ROWS = [
    f"{how} {what} number {number},{label}"
    for number in range(10)
    for how, label in (("lovely", "good"), ("dreadful", "bad"))
    for what in ("film", "plot")
]
GOOD = "review,mood\n" + "\n".join(ROWS) + "\n"


@dataclass(frozen=True)
class Answer:
    """The exit code and output of one run of the program."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> None:
        """One line on standard error with these words in it, exit code 1 or 2, no traceback."""
        assert self.code in (1, 2), self.err
        assert self.err.startswith("tuneproof: ")
        assert len(self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, self.err


class Touch:
    """Unpickled, it makes the canary."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@dataclass(frozen=True)
class Workspace:
    """The test's folder. `answers` is a standard input that says yes to everything."""

    folder: Path
    canary: Path
    capsys: Any
    answers: io.StringIO

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def run_command(self, *words: str) -> Answer:
        """Run the program with these arguments."""
        self.capsys.readouterr()
        code = main(list(words))
        said = self.capsys.readouterr()
        return Answer(code, said.out, said.err)

    def check(self, *more: str, model: str | None = "model", arms: str = "head") -> Answer:
        """`check` of the good rows."""
        named = ["--models", model] if model else []
        return self.run_command("check", *OWN, *named, "--arms", arms, *more)

    def run(self, *more: str, model: str | None = "model", arms: str = "head") -> Answer:
        """`run` of the good rows into `study`."""
        named = ["--models", model] if model else []
        return self.run_command("run", *OWN, *named, "--arms", arms, "--quiet", "--out", "study", *more)

    def evil(self) -> bytes:
        """A pickle that makes the canary when it is read."""
        return pickle.dumps(Touch(self.canary))

    def model(self, source: Path, **config: Any) -> Path:
        """A copy of a tiny model as `model`, its configuration changed."""
        folder = self.folder / "model"
        shutil.copytree(source, folder)
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, **config}))
        return folder


@pytest.fixture
def workspace(tmp_path, monkeypatch, capsys):
    """The folder; afterwards there is no canary and nothing was read from standard input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text(GOOD)
    answers = io.StringIO("y\n" * 20)
    monkeypatch.setattr("sys.stdin", answers)
    made = Workspace(tmp_path, tmp_path / "canary", capsys, answers)
    yield made
    assert not made.canary.exists(), "a stranger's code ran"
    assert answers.tell() == 0, "standard input was read"
