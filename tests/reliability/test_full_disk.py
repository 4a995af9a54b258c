"""Real disks that are full, have no inodes or turn read-only: said, nothing lost, the same bits later.

A tmpfs or a small ext4 is mounted for each test; where that is not allowed, they are skipped (R8, R22).
"""

import csv
import gc
import os
import posix
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arms.small import OPINIONS, arm_of, results, rows_of, small_recipe, write_rows
from tests.tiny_models import tiny_model
from tuneproof.atomic import check_folder
from tuneproof.cli.main import main
from tuneproof.context.monitor import ArmFinished, Monitor, Progress, StageStarted
from tuneproof.errors import TuneproofError
from tuneproof.study.run import run_study

ARMS = ["majority", {"full": {"learning_rate": 3e-3}}]
TRAIN = {"epochs": 1, "checkpoint_minutes": 0}
ROOM = "size=256m,nr_inodes=100000"
FULL = "No space left on device. Free some space"
NO_INODES = "No inodes left on the disk, which holds too many files. Remove some"
READ_ONLY = "Read-only file system"


def system(*words: str) -> None:
    """Run a command of the system; the test is skipped where it is not allowed."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"{words[0]} is not installed")
    if done.returncode:
        pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    """Unmount a folder, also one of which a test that failed still holds an open file."""
    while folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a tmpfs with these options, or changes them."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        changed = "remount," if folder.is_mount() else ""
        system("mount", "-t", "tmpfs", "-o", changed + options, "tmpfs", str(folder))
        return folder

    yield mount
    unmount(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Rows, a model and a finished study on a disk with room."""
    root = tmp_path_factory.mktemp("room")
    tiny_model(root / "bert", "distilbert")
    write_rows(root / "further.csv", rows_of(("negative", "positive"), 600))
    run_study(recipe_in(root, root / "whole"))
    run_study(recipe_in(root, root / "without", tests=False))
    with open(root / "new.csv", "w", newline="") as file:
        rows = [(f"The film was {opinion} ({n}).",) for n in range(400) for opinion in OPINIONS.values()]
        csv.writer(file).writerows([("text",), *rows])
    return root


def recipe_in(root: Path, out: Path, tests: bool = True):
    further = {"tests": {"new": str(root / "further.csv")}} if tests else {}
    return small_recipe(root, [root / "bert"], ARMS, out=str(out), train=TRAIN, **further)


def arm_in(study: Path) -> Path:
    return next((study / "arms").glob("*full*"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


def refuses_and_goes_on(root: Path, folder: Path, sentence: str, give_room) -> None:
    """The study stops with the sentence, all that has its name is whole, and with room it ends alike."""
    recipe = recipe_in(root, folder / "study")
    with pytest.raises(TuneproofError) as caught:
        run_study(recipe)
    text = str(caught.value)
    assert caught.value.exit_code == 1
    assert sentence in text
    assert str(folder) in text
    assert "serializ" not in text
    for manifest in folder.rglob("MANIFEST.json"):
        if ".tmp-" not in str(manifest):
            check_folder(manifest.parent)
    give_room()
    run_study(recipe)
    for name in ("majority", "full"):
        assert "predictions.new.parquet" in results(recipe, name)
        assert results(recipe, name) == results(recipe_in(root, root / "whole"), name)
    assert not list(folder.rglob("*.tmp-*"))


# of the finished study's size; 0.05: a few files, 0.95: all but the report
SIZES = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]
slow = pytest.mark.slow


@pytest.mark.parametrize(
    "share", [pytest.param(share, marks=() if share == 0.55 else slow) for share in SIZES]
)
def test_r08_a_study_on_a_small_disk_says_so_and_ends_alike_with_more(root, disk, share) -> None:
    folder = disk(f"size={int(share * size_of(root / 'whole')) >> 12 << 2}k,nr_inodes=100000")
    refuses_and_goes_on(root, folder, FULL, lambda: disk(ROOM))


@pytest.mark.parametrize("inodes", [pytest.param(n, marks=() if n == 20 else slow) for n in (5, 12, 20, 30)])
def test_r08_a_disk_without_inodes_is_said(root, disk, inodes) -> None:
    folder = disk(f"size=256m,nr_inodes={inodes}")
    refuses_and_goes_on(root, folder, NO_INODES, lambda: disk(ROOM))


def finished_on(root: Path, disk) -> tuple[Path, Path]:
    """A disk, and on it the finished study without the further set."""
    folder = disk(ROOM)
    shutil.copytree(root / "without", folder / "study")
    return folder, folder / "study"


# of what the further set adds: its items, two files of predictions, the new report
@pytest.mark.parametrize(
    "share", [pytest.param(share, marks=() if share in (0.35, 0.65) else slow) for share in SIZES]
)
def test_r08_a_further_set_added_on_a_small_disk_is_said_and_added_with_more(root, disk, share) -> None:
    folder, study = finished_on(root, disk)
    more = size_of(root / "whole") - size_of(study)
    assert more > 10 * 4096
    disk(f"size={(size_of(study) + int(share * more)) >> 12 << 2}k")
    refuses_and_goes_on(root, folder, FULL, lambda: disk(ROOM))


@pytest.mark.parametrize("inodes", [pytest.param(0, marks=slow), 1, pytest.param(2, marks=slow)])
def test_r08_a_further_set_added_without_inodes_is_said(root, disk, inodes) -> None:
    folder, _ = finished_on(root, disk)
    disk(f"nr_inodes={len(list(folder.rglob('*'))) + 1 + inodes}")
    refuses_and_goes_on(root, folder, NO_INODES, lambda: disk(ROOM))


def test_r22_a_further_set_added_on_a_read_only_disk_is_said(root, disk) -> None:
    folder, _ = finished_on(root, disk)
    disk("ro")
    refuses_and_goes_on(root, folder, READ_ONLY, lambda: disk("rw," + ROOM))


PROGRAMS = {
    "publish": ("publish {arm} me/it --to {out}/published", "published"),
    "predict": ("predict {arm} --input {new} --output {out}/labels.csv", "labels.csv"),
    "report": ("report {out}/study", "study/report.html"),
    "report of two": ("report {whole} {other} --out {out}/index.html", "index.html"),
}


def give(root: Path, name: str, out: Path) -> int:
    arm, words = arm_in(root / "whole"), PROGRAMS[name][0]
    values = {"arm": arm, "new": root / "new.csv", "whole": root / "whole", "other": root / "other"}
    return main(words.format(out=out, **values).split())


def content(path: Path) -> dict[str, bytes]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def command_is_refused(root: Path, name: str, folder: Path, sentence: str, capsys) -> None:
    before = content(folder)
    assert give(root, name, folder) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert str(folder) in error
    assert "Traceback" not in error
    assert content(folder) == before, "what was there is as it was, and nothing was added"


@pytest.mark.parametrize("state", ["full", "no-inodes", "read-only"])
@pytest.mark.parametrize("name", [pytest.param("publish", marks=slow), "predict", "report"])
def test_r08_a_command_on_a_full_or_read_only_disk_changes_nothing(root, disk, capsys, name, state) -> None:
    folder = disk(ROOM)
    shutil.copytree(root / "whole", folder / "study")
    if state == "full":
        folder = disk(f"size={(size_of(folder) >> 10) + 8}k")
    elif state == "no-inodes":
        files = len(list(folder.rglob("*"))) + 1
        folder = disk(f"nr_inodes={files}")
    else:
        folder = disk("ro")
    sentence = {"full": FULL, "no-inodes": NO_INODES, "read-only": READ_ONLY}[state]
    command_is_refused(root, name, folder, sentence, capsys)
    disk("rw," + ROOM)
    assert give(root, name, folder) == 0
    room = root / f"room-{name}-{state}"
    if name != "report":
        room.mkdir()
        assert give(root, name, room) == 0
        assert content(folder / PROGRAMS[name][1]) == content(room / PROGRAMS[name][1])
    assert not list(folder.rglob("*.tmp-*"))


@pytest.fixture
def ext4(tmp_path):
    """A small ext4, which can turn read-only under open files, as one with a broken device does."""
    image, folder = tmp_path / "image", tmp_path / "ext4"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    system("mkfs.ext4", "-q", str(image))
    system("mount", "-o", "loop", str(image), str(folder))

    def turn(state: str) -> None:
        if state == "read-only":
            system("mount", "-o", "remount,abort", str(folder))
        else:
            system("umount", str(folder))
            system("mount", "-o", "loop", str(image), str(folder))

    yield folder, turn
    unmount(folder)


MOMENTS = {
    "between arms": lambda event: isinstance(event, ArmFinished) and event.label == "majority",
    "while it trains": lambda event: isinstance(event, Progress) and "loss" in event.note,
    "while it predicts a further set": lambda event: (
        isinstance(event, StageStarted) and event.name == "predict new"
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_r22_a_file_system_that_turns_read_only_is_said(root, ext4, monkeypatch, moment) -> None:
    monkeypatch.setattr(os, "fsync", posix.fsync)  # what is not synced is lost here
    folder, turn = ext4
    recipe = recipe_in(root, folder / "study")

    def break_disk(event) -> None:
        if MOMENTS[moment](event):
            turn("read-only")

    text = ""
    try:
        run_study(recipe, Monitor(break_disk))
    except TuneproofError as error:  # which pytest would keep, and with it open files
        text = str(error)
    assert READ_ONLY in text
    assert str(folder) in text
    gc.collect()
    turn("sound")
    assert arm_of(recipe, "majority")["status"] == "done"
    run_study(recipe)
    for name in ("majority", "full"):
        assert results(recipe, name) == results(recipe_in(root, root / "whole"), name)
