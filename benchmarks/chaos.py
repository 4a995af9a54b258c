"""Studies that are killed and started again: they must end as if nothing had been.

In: how many kills, or minutes. Out: a table of killed, recovered, identical; exit code 1 where one is not.
Knows nothing of: why anything holds.

    python -m benchmarks chaos [--kills 100] [--minutes M] [--seed S] [--every N] [--whole N]
        [--only TEXT] [--json FILE]

Kills are SIGKILL: at random moments of whole studies (up to three in a row before a study may end), and at
every operation on the disk of one checkpoint, one prediction's resume log and file, one report, with and
without a power cut that takes what was not synced.
"""

import argparse
import gc
import importlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.server_stub import running_stub

from benchmarks.killing import Ended, attempt, lose_power
from benchmarks.small_studies import ARMS, SERVER, make_ready_for, small_study, unlike
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.study import forecast
from tuneproof.study.run import run_study

TMPFS = Path("/dev/shm")
IN_A_ROW = 3
FEW = 4  # operations that every target has
# What is killed at each of its operations: the study, and what their paths hold.
TARGETS = {
    "a whole run": ("full", ""),
    "one checkpoint": ("full", "checkpoints/step-2"),
    "one resume log": ("generated", "resume_logs/"),
    "one prediction file": ("generated", "/predictions.parquet"),
    "one report": ("generated", "/report."),
    "an arm's record": ("generated", "/arm.json"),
    "a further set's predictions": ("further", "/predictions.new.parquet"),
    "a further set, to a finished study": ("added", "/predictions.new.parquet"),
    "an endpoint's replies": ("endpoint", "/replies.jsonl"),
}


@dataclass
class Count:
    """Of one kind of kill."""

    kills: int = 0
    recovered: int = 0
    identical: int = 0
    trials: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every study that was killed came to the same end."""
        return self.trials == self.recovered == self.identical


class Chaos:
    """References, trials and their counts in one folder."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.references: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}
        self.operations: dict[str, list[Path]] = {}
        self.number = 0
        self.server = ExitStack()  # whose threads end with this process
        (folder / SERVER).write_text(self.server.enter_context(running_stub()).url)
        self._prepare()

    def _prepare(self) -> None:
        """Rows and models, then every module that a study imports: children start at once."""

        def work() -> None:
            make_ready_for(self.folder)
            for arms in ARMS:
                _run(small_study(self.folder, arms, f"warm-{arms}"))
            (self.folder / "modules.json").write_text(json.dumps(list(sys.modules)))

        _well(attempt(work, log=self.folder / "log"))
        for name in json.loads((self.folder / "modules.json").read_text()):
            if name.split(".")[0] not in ("__main__", "__mp_main__", "benchmarks"):
                _import(name)
        gc.collect()
        gc.freeze()  # what was imported stays out of every child's collections

    def reference(self, arms: str) -> Path:
        """The study that nobody kills; made when first asked for."""
        if arms not in self.references:
            recipe = self._new(arms, f"whole-{arms}")
            ended = attempt(lambda: _run(recipe), log=self.folder / "log")
            self.seconds[arms] = _well(ended).time_s
            self.operations[arms] = [path for _, path in ended.operations]
            self.references[arms] = Path(recipe.out)
        return self.references[arms]

    def begun(self, arms: str) -> Recipe:
        """A new study of this kind."""
        self.reference(arms)
        self.number += 1
        return self._new(arms, f"trial-{self.number}")

    def _new(self, arms: str, out: str) -> Recipe:
        """The recipe; what is added is added to a copy of a finished study."""
        recipe = small_study(self.folder, arms, out)
        if arms == "added":
            finished = recipe_from({**recipe.values(), "tests": {}, "out": str(self.folder / "before-added")})
            if not Path(finished.out).is_dir():
                _well(attempt(lambda: _run(finished), log=self.folder / "log"))
            shutil.copytree(finished.out, recipe.out)
        return recipe

    def ends_alike(self, recipe: Recipe, arms: str, count: Count) -> None:
        """Start it again without a kill, and compare."""
        ended = attempt(lambda: _run(recipe), log=self.folder / "log")
        count.trials += 1
        if ended.killed or ended.code:
            count.wrong.append(f"{recipe.out}: {ended.error_text or ended.code}")
            return
        count.recovered += 1
        names = unlike(Path(recipe.out), self.reference(arms))
        if names:
            count.wrong.append(f"{recipe.out}: {', '.join(names)} differ")
            return
        count.identical += 1
        shutil.rmtree(recipe.out)

    def at_random(self, kills: int, until: float, count: Count) -> None:
        """Kill studies at random moments until there were so many kills, or until that time."""
        kinds = list(ARMS)
        while count.kills < kills and time.monotonic() < until:
            arms = kinds[count.trials % len(kinds)]
            recipe = self.begun(arms)
            for _ in range(self.random.randint(1, IN_A_ROW)):
                after_s = self.random.uniform(0, self.seconds[arms])
                ended = attempt(
                    lambda recipe=recipe: _run(recipe),  # type: ignore[misc]
                    after_s=after_s,
                    log=self.folder / "log",
                )
                count.kills += ended.killed
            self.ends_alike(recipe, arms, count)

    def at_operations(self, arms: str, where: str, count: Count, power: bool = False, every: int = 1) -> None:
        """Kill a study at each operation whose path holds `where`, every so many of them."""
        self.reference(arms)
        total = sum(where in str(path) for path in self.operations[arms])
        for at in range(1 + self.random.randrange(min(every, FEW)), total + 1, every):
            recipe = self.begun(arms)
            ended = attempt(
                lambda recipe=recipe: _run(recipe),  # type: ignore[misc]
                at=at,
                where=where,
                log=self.folder / "log",
            )
            count.kills += ended.killed
            if power:
                lose_power(ended)
            self.ends_alike(recipe, arms, count)


def _run(recipe: Recipe) -> None:
    from tuneproof.models import resume_log

    resume_log.FLUSH_INTERVAL_S = 0.0  # a study here takes seconds
    for work in ("time", "simulate"):  # the forecast's, which would take as long; it is still written
        setattr(forecast._Speeds, work, lambda speeds, run: None)
    run_study(recipe)


def _well(ended: Ended) -> Ended:
    if ended.killed or ended.code:
        raise SystemExit(f"A study that nobody killed ended with {ended.code}.\n{ended.error_text}")
    return ended


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        return


def run(args: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Count]]:
    """All kinds of kills; `every`: of the operations each so many, of a whole run's times `whole`."""
    chaos = Chaos(folder, args.seed)
    until = time.monotonic() + 60 * args.minutes
    for name, (arms, where) in TARGETS.items():
        if not args.every or not any(part in name for part in args.only.split(",")):
            continue
        for power in (False, True):
            count = Count()
            chaos.at_operations(arms, where, count, power, args.every * (1 if where else args.whole))
            yield f"{name}{', power cut' if power else ''}", count
    if args.kills:
        count = Count()
        chaos.at_random(args.kills, until, count)
        yield "random moments", count


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 where every study ended alike."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at random moments")
    parser.add_argument("--minutes", type=float, default=600.0, help="of those, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="of the operations each so many; 0: none")
    parser.add_argument("--whole", type=int, default=6, help="of a whole run's, times that")
    parser.add_argument("--only", default="", help="operations of the kinds whose names hold one of these")
    parser.add_argument("--json", type=Path, help="a file for the counts")
    args = parser.parse_args(arguments)
    parent = str(TMPFS) if TMPFS.is_dir() else None
    counts_by_name: dict[str, Count] = {}
    print(f"{'SIGKILL at':42}{'killed':>8}{'studies':>9}{'recovered':>11}{'identical':>11}")
    with tempfile.TemporaryDirectory(dir=parent, prefix="chaos-") as folder:
        for name, count in run(args, Path(folder)):
            counts_by_name[name] = count
            numbers = f"{count.kills:8}{count.trials:9}{count.recovered:11}{count.identical:11}"
            print(f"{name:42}{numbers}", *(f"  {line}" for line in count.wrong), sep="\n", flush=True)
    if args.json:
        args.json.write_text(json.dumps({name: asdict(count) for name, count in counts_by_name.items()}))
    total = sum(count.kills for count in counts_by_name.values())
    good = total > 0 and all(count.good for count in counts_by_name.values())
    print(f"{total} kills: {'all recovered, all identical' if good else 'NOT all identical'}")
    return 0 if good else 1
