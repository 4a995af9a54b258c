"""Commands that are killed and given again: the same result, and nothing left of the first.

In: how many kills of each command. Out: a table of killed, recovered, identical; exit code 1 where one is
not. Knows nothing of: why anything holds.

    python -m benchmarks commands [--kills 20] [--seed S] [--only NAME,NAME] [--json FILE]

Kills are SIGKILL at random moments of `publish`, `predict`, `report` and `compare`, and of whole studies
under torchrun (the launcher or one of its processes) and on Ray (the driver). Nothing may be left: no
temporary file or folder, no lock, no process.
"""

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos import TMPFS, Chaos, Count
from benchmarks.killing import attempt
from benchmarks.small_studies import RATE, make_ready_for, small_study, unlike
from tuneproof.recipe.recipe import Recipe, recipe_from

PR_SET_CHILD_SUBREAPER = 36
ORPHANS_S = 10.0  # in which processes of a dead one end by themselves
RAY_ORPHANS_S = 120.0  # Ray's two agents look for their parent about once a minute
TIMEOUT_S = 900.0
OF_LAUNCHERS = ("torchelastic_", "torchinductor_", "ray")  # left by torch and Ray at a good end, too
STUDY_ARMS = ["majority", "lexical", "head", {"lora": {**RATE, "dropout": 0.1}}, {"full": RATE}]
# words after `tuneproof`; {study}: a finished study, {copy}: a copy of it, {out}: a folder for the result
COMMANDS = {
    "publish": "publish {study}/arms/bert.full.seed0 me/it --to {out}/published",
    "publish --merged": "publish {study}/arms/bert.lora.seed0 me/it --to {out}/published --merged",
    "predict": "predict {study}/arms/bert.full.seed0 --input {rows} --output {out}/labels.csv",
    "report": "report {copy}",
    "report of two": "report {copy} {study} --out {out}/index.html",
    "compare": "compare {study}/arms/bert.full.seed0 {study}/arms/lexical",
}
IMPORTED = (  # before a command starts, so that kills meet its own work
    *("torch", "peft", "pyarrow.parquet", "sklearn.linear_model", "transformers.models.bert.modeling_bert"),
    *("tuneproof.study.run", "tuneproof.apply.labels", "tuneproof.publish.publish_arm"),
    *("tuneproof.report.index", "tuneproof.record.compare_folders"),
)
LAUNCHERS = {
    "torchrun": [*("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), "-m"],
    "ray": ["-m"],
}


class KilledCommands(Chaos):
    """Commands on one finished study, their references, and what is left of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become children of this one
        super().__init__(folder, seed)

    def _prepare(self) -> None:
        """Rows and a model, by a child: this process, whose children start at once, has computed nothing."""
        ended = attempt(lambda: make_ready_for(self.folder), log=self.folder / "log")
        assert not ended.code, ended.error_text

    def kill_command(self, name: str, kills: int, count: Count) -> None:
        """Kill a command at random moments; give it again after each kill, and compare."""
        for module in IMPORTED:
            importlib.import_module(module)
        reference = self._trial()
        time_s = self._give(name, reference, None)
        wanted = files_in(reference)
        while count.kills < kills:
            folder = self._trial()
            self._give(name, folder, self.random.uniform(0, time_s))
            orphans = surviving_processes()
            count.trials += 1
            count.kills += self.killed
            finished = bool(self._give(name, folder, None))
            result = files_in(folder)
            different = sorted(
                path for path in wanted.keys() | result if wanted.get(path) != result.get(path)
            )
            count.recovered += finished or not different  # publish --to refuses what is there, complete
            count.wrong += [f"{folder}: {', '.join(different)} differ"] if different else []
            count.wrong += [f"{name}: still runs: {orphan}" for orphan in orphans]
            count.identical += not (different or orphans)
            shutil.rmtree(folder)

    def _trial(self) -> Path:
        self.number += 1
        folder = self.folder / f"trial-{self.number}"
        for part in ("out", "tmp"):
            (folder / part).mkdir(parents=True)
        shutil.copytree(self.study, folder / "copy")
        return folder

    @property
    def study(self) -> Path:
        """A finished study, made when first asked for."""
        recipe = self._recipe("finished", 1)
        if not (self.folder / "finished").is_dir():
            ended = attempt(lambda: _run(recipe), log=self.folder / "log")
            assert not ended.code, ended.error_text
        return Path(recipe.out)

    def _give(self, name: str, folder: Path, after_s: float | None) -> float:
        """Run the command in `folder`; how long it took, 0 where it failed."""
        paths = {"study": self.study, "copy": folder / "copy", "out": folder / "out"}
        words = COMMANDS[name].format(**paths, rows=self.folder / "rows.csv").split()
        ended = attempt(lambda: _main(words, folder), after_s=after_s, log=self.folder / "log")
        self.killed = ended.killed
        if after_s is None and (ended.killed or ended.code):
            print(f"{name} ended with {ended.code}: {ended.error_text}")
            return 0.0
        return ended.time_s

    def kill_study(self, name: str, kills: int, count: Count) -> None:
        """Kill whole studies in several processes, up to the end again and again."""
        whole = self._recipe(f"whole-{name}", 3)
        started = time.monotonic()
        assert self._launch(name, whole, None) == 0, (self.folder / "output").read_text()
        time_s = time.monotonic() - started
        while count.kills < kills:
            recipe = self._recipe(f"{name}-{count.trials}", 3)
            orphans = []
            for _ in range(min(self.random.randint(2, 5), kills - count.kills)):
                code = self._launch(name, recipe, self.random.uniform(0.2, 1) * time_s)
                orphans += surviving_processes(RAY_ORPHANS_S if name == "ray" else ORPHANS_S)
                count.kills += code != 0
            count.trials += 1
            if self._launch(name, recipe, None):
                count.wrong.append((self.folder / "output").read_text()[-2000:])
                continue
            count.recovered += 1
            names = unlike(Path(recipe.out), Path(whole.out))
            left = sorted(set(names_in(Path(recipe.out))) ^ set(names_in(Path(whole.out))))
            temporary = sorted(os.listdir(self.folder / "tmp"))
            left += [name for name in temporary if not name.startswith(OF_LAUNCHERS)]
            count.wrong += [f"{recipe.out}: {', '.join(names)} differ"] if names else []
            count.wrong += [f"{recipe.out}: {', '.join(left)} left"] if left else []
            count.wrong += [f"{name}: still runs: {orphan}" for orphan in orphans]
            count.identical += not (names or left or orphans)

    def _recipe(self, out: str, epochs: int) -> Recipe:
        recipe = small_study(self.folder, "full", out, train={"epochs": epochs})
        return recipe_from({**recipe.values(), "arms": STUDY_ARMS})

    def _launch(self, name: str, recipe: Recipe, after_s: float | None) -> int:
        """Run the study; after so many seconds kill the launcher or, at random, one of its processes."""
        path = Path(recipe.out).with_suffix(".yaml")
        path.write_text(recipe.text())
        (self.folder / "tmp").mkdir(exist_ok=True)
        words = [*LAUNCHERS[name], "tuneproof", "run", str(path), "--quiet"]
        words += ["--on", "ray"] if name == "ray" else []
        environment = {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder / "tmp")}
        environment |= {"RAY_TMPDIR": str(self.folder / "ray")}
        with open(self.folder / "output", "w") as output:
            process = subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                return process.wait(TIMEOUT_S if after_s is None else after_s)
            except subprocess.TimeoutExpired:
                children = psutil.Process(process.pid).children() if name == "torchrun" else []
                victims = [process.pid, *(child.pid for child in children)]
                os.kill(self.random.choice(victims), signal.SIGKILL)
                process.wait(TIMEOUT_S)
                return -signal.SIGKILL


def _run(recipe: Recipe) -> None:
    from benchmarks import chaos

    chaos._run(recipe)


def _main(words: Sequence[str], folder: Path) -> None:
    """The command in this process, with a folder of its own for what it prints and for temporary files."""
    from tuneproof.cli.main import main

    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    with (
        open(folder / "out" / "stdout", "w") as output,
        open(folder / "stderr", "w") as errors,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        code = main(words)
    if code:
        raise SystemExit(code)


def names_in(folder: Path) -> list[str]:
    """Everything in the folder, without its own path."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*")]


def files_in(folder: Path) -> dict[str, bytes | None]:
    """All files and folders of a trial with their bytes, its own name left out of them."""
    content = {}
    for path in folder.rglob("*"):
        name, own = str(path.relative_to(folder)), str(folder).encode()
        if name != "stderr":
            content[name] = path.read_bytes().replace(own, b"TRIAL") if path.is_file() else None
    return content


def surviving_processes(wait_s: float = ORPHANS_S) -> list[str]:
    """Commands of the processes that a killed one left behind and that do not end; they are ended here."""
    until = time.monotonic() + wait_s
    while (alive := _alive()) and time.monotonic() < until:
        time.sleep(0.05)
    lines = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            lines.append(" ".join(process.cmdline())[:200])
            process.kill()
    psutil.wait_procs(alive)
    return lines


def _alive() -> list[psutil.Process]:
    processes = psutil.Process().children(recursive=True)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def run(kills: int, seed: int, names: Sequence[str], folder: Path) -> Iterator[tuple[str, Count]]:
    """So many kills of each of these commands."""
    commands = KilledCommands(folder, seed)
    for name in names:
        count = Count()
        kill = commands.kill_study if name in LAUNCHERS else commands.kill_command
        kill(name, kills, count)
        yield name, count


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every command recovered."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks commands", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join([*COMMANDS, *LAUNCHERS]), help="these, with commas")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    args = parser.parse_args(arguments)
    counts: dict[str, Any] = {}
    print(f"{'SIGKILL in':20}{'killed':>8}{'trials':>9}{'recovered':>11}{'identical':>11}")
    parent = str(TMPFS) if TMPFS.is_dir() else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="killed-") as folder:
        for name, count in run(args.kills, args.seed, args.only.split(","), Path(folder)):
            counts[name] = {**asdict(count), "good": count.good}
            print(f"{name:20}{count.kills:8}{count.trials:9}{count.recovered:11}{count.identical:11}")
            print(*(f"  {line}\n" for line in count.wrong), sep="", end="", flush=True)
    if args.json:
        args.json.write_text(json.dumps(counts))
    return 0 if all(count["good"] for count in counts.values()) else 1
