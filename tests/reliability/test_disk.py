"""A disk that refuses: a clear error, nothing already written damaged, and the study goes on (R8, R22)."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from tests.arms.small import arm_of, folder_of, results, rows_of, small_recipe, write_rows
from tests.tiny_models import tiny_model
from tuneproof import atomic as files
from tuneproof.atomic import check_folder
from tuneproof.context.monitor import ArmFinished, Monitor
from tuneproof.errors import RunError, TuneproofError
from tuneproof.study.run import run_study

ARM = {"full": {"learning_rate": 3e-3}}
SOON = {"checkpoint_minutes": 0, "epochs": 1}
FURTHER = "predictions.new.parquet"
FURTHER_OPERATIONS = range(1, 7)  # write, sync and rename of two arms
SENTENCES = {
    errno.ENOSPC: "No space left on device. Free some space and give the same command again",
    errno.EROFS: "Read-only file system. Name another folder",
    errno.EACCES: "Permission denied. Name another folder",
    errno.ENAMETOOLONG: "File name too long. Name a folder with a shorter path",
    errno.EIO: "Input/output error",
    errno.ENOENT: "No such file or directory. The folder no longer exists",
}


class Disk:
    """Fails the operation number `at` of those whose path holds `where`; all later ones if it `stays` so."""

    def __init__(self, at: int, code: int, stays: bool, where: str = "") -> None:
        self.at, self.code, self.stays, self.seen = at, code, stays, 0
        self.where = where

    def __call__(self, what: str, path: Path) -> None:
        self.seen += self.where in str(path)
        is_here = self.seen == self.at and self.where in str(path)
        if is_here or (self.stays and self.seen >= self.at):
            raise OSError(self.code, os.strerror(self.code), str(path))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("disk")
    tiny_model(root / "bert", "distilbert")
    disk = Disk(0, errno.EIO, stays=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "before_operation", disk)
        run_study(recipe_in(root, "whole"))
    (root / "operations").write_text(str(disk.seen))
    return root


def recipe_in(root: Path, out: str):
    return small_recipe(root, [root / "bert"], [ARM], out=out, train=SOON)


def whole_files(folder: Path) -> None:
    """What stands under its own name is whole: weights and checkpoints by their manifests."""
    for manifest in folder.rglob("MANIFEST.json"):
        if ".tmp-" not in str(manifest):
            check_folder(manifest.parent)


def fails_and_goes_on(root, monkeypatch, at: int, code: int, stays: bool) -> None:
    recipe = recipe_in(root, f"fails-{at}-{code}-{stays}")
    monkeypatch.setattr(files, "before_operation", Disk(at, code, stays))
    with pytest.raises(TuneproofError) as caught:
        run_study(recipe)
    assert SENTENCES[code] in str(caught.value)
    assert caught.value.exit_code == 1
    monkeypatch.undo()
    if Path(recipe.out).is_dir():
        whole_files(Path(recipe.out))
    run_study(recipe)
    assert results(recipe, "full") == results(recipe_in(root, "whole"), "full")
    shutil.rmtree(recipe.out)


@pytest.mark.parametrize("share", [0.0, 0.12, 0.27, 0.4, 0.52, 0.66, 0.77, 0.86, 0.93, 1.0])
def test_r08_a_full_disk_at_any_write_is_said_and_the_study_goes_on(root, monkeypatch, share) -> None:
    count = int((root / "operations").read_text())
    fails_and_goes_on(root, monkeypatch, 1 + int(share * (count - 1)), errno.ENOSPC, True)


@pytest.mark.slow
def test_r08_a_full_disk_at_every_write(root, monkeypatch) -> None:
    for at in range(1, int((root / "operations").read_text()) + 1):
        fails_and_goes_on(root, monkeypatch, at, errno.ENOSPC, True)


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("code", [code for code in SENTENCES if code != errno.ENOSPC])
def test_r22_a_disk_that_refuses_is_named_and_nothing_is_damaged(root, monkeypatch, code, share) -> None:
    count = int((root / "operations").read_text())
    fails_and_goes_on(root, monkeypatch, int(share * count), code, code != errno.EIO)


@pytest.mark.slow
def test_r22_one_error_of_the_disk_at_every_operation(root, monkeypatch) -> None:
    for at in range(1, int((root / "operations").read_text()) + 1):
        fails_and_goes_on(root, monkeypatch, at, errno.EIO, False)


@pytest.fixture(scope="module")
def further_root(root):
    """Two finished studies: one with a further test set, one to which it can be added."""
    write_rows(root / "new.csv", rows_of(("negative", "positive"), 20))
    disk = Disk(0, errno.EIO, stays=False, where=FURTHER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "before_operation", disk)
        run_study(recipe_with_tests(root, "further"))
    assert disk.seen == len(FURTHER_OPERATIONS)
    run_study(small_recipe(root, [root / "bert"], ["majority", ARM], out="without", train=SOON))
    return root


def recipe_with_tests(root: Path, out: str):
    tests = {"new": str(root / "new.csv")}
    return small_recipe(root, [root / "bert"], ["majority", ARM], out=out, train=SOON, tests=tests)


slow_at_begin = pytest.param("begun", marks=pytest.mark.slow)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("at", FURTHER_OPERATIONS)
@pytest.mark.parametrize("study", [slow_at_begin, "finished"])
def test_r08_a_disk_that_refuses_the_predictions_of_a_further_set(
    further_root, monkeypatch, study, at, code
) -> None:
    root, recipe = further_root, recipe_with_tests(further_root, f"further-{study}-{at}-{code}")
    if study == "finished":
        shutil.copytree(root / "without", recipe.out)
    monkeypatch.setattr(files, "before_operation", Disk(at, code, code != errno.EIO, FURTHER))
    with pytest.raises(TuneproofError) as caught:
        run_study(recipe)
    assert SENTENCES[code] in str(caught.value)
    assert caught.value.exit_code == 1
    monkeypatch.undo()
    whole_files(Path(recipe.out))
    run_study(recipe)
    for arm in ("majority", "full"):
        assert FURTHER in results(recipe, arm)
        assert results(recipe, arm) == results(recipe_with_tests(root, "further"), arm)
    assert not list(Path(recipe.out).rglob("*.tmp-*"))
    shutil.rmtree(recipe.out)


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_r08_a_real_limit_on_the_size_of_files_is_said(root, size) -> None:
    recipe = recipe_in(root, f"limit-{size}")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(RunError, match="File too large"):
            run_study(recipe)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "File too large" in arm_of(recipe, "full")["reason"]
    whole_files(Path(recipe.out))
    run_study(recipe)
    assert results(recipe, "full") == results(recipe_in(root, "whole"), "full")


def test_r22_a_folder_that_vanishes_is_said_and_not_made_anew(root) -> None:
    recipe = small_recipe(root, [], ["majority", "lexical"], out="vanishes")

    def move(event) -> None:
        if isinstance(event, ArmFinished) and event.label == "majority":
            shutil.move(recipe.out, f"{recipe.out}-moved")

    with pytest.raises(RunError, match="was moved or removed while the study ran"):
        run_study(recipe, Monitor(move))
    assert not Path(recipe.out).exists()


def test_r22_a_failed_arm_says_why_in_its_record(root, monkeypatch) -> None:
    recipe = recipe_in(root, "said")
    disk = Disk(10**9, errno.EIO, stays=False)

    def record_operation(what: str, path: Path) -> None:
        if "step-3" in str(path):
            disk.at = disk.seen + 1
        disk(what, path)

    monkeypatch.setattr(files, "before_operation", record_operation)
    with pytest.raises(RunError, match="1 of 1 arms failed"):
        run_study(recipe)
    about = arm_of(recipe, "full")
    assert about["status"] == "failed"
    assert "could not be written: Input/output error" in about["reason"]
    kept = folder_of(recipe, "full") / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["step-1", "step-2"]
