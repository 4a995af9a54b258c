"""A damaged, foreign or misplaced checkpoint is set aside by name and never used (R5, R6, R13)."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.arms.small import arm_of, die_at, folder_of, results, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.study.run import run_study
from tuneproof.train.resume import CheckpointManager

ARM = {"full": {"learning_rate": 3e-3}}
SOON = {"checkpoint_minutes": 0, "evals_per_epoch": 2}
KILLED_AT = 6  # the newest checkpoint; the one before is of step 5
FILES = (
    "trained.safetensors",
    "best.safetensors",
    "optimizer.safetensors",
    "steps.jsonl",
    "state.json",
    "MANIFEST.json",
)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES = {
    "missing": None,
    "half": lambda data, other: data[: len(data) // 2],
    "empty": lambda data, other: b"",
    "one bit flipped": lambda data, other: flipped(data, len(data) // 3),
    "another run's": lambda data, other: other,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a model, a study that nobody killed, and two of other rates that were killed."""
    root = tmp_path_factory.mktemp("damage")
    model = tiny_model(root / "bert", "distilbert")
    run_study(recipe_in(root, model, "whole"))
    with pytest.MonkeyPatch.context() as patch:
        for out, arm in (("killed", ARM), ("foreign", {"full": {"learning_rate": 1e-3}})):
            die_at(patch, KILLED_AT)
            with pytest.raises(KeyboardInterrupt):
                run_study(recipe_in(root, model, out, arm))
            patch.undo()
    return root


def recipe_in(root: Path, model: Path, out: str, arm=ARM):
    return small_recipe(root, [model], [arm], out=out, train=SOON)


def checkpoints(recipe) -> Path:
    return folder_of(recipe, "full") / "checkpoints"


@pytest.fixture
def killed(root, request):
    """A copy of the killed study, its recipe and its checkpoints' folder."""
    name = f"copy-{abs(hash(request.node.name))}"
    shutil.copytree(root / "killed", root / name)
    yield recipe_in(root, root / "bert", name)
    shutil.rmtree(root / name)


def goes_on_from_the_one_before(root, recipe, reason: str = "") -> None:
    run_study(recipe)
    whole = recipe_in(root, root / "bert", "whole")
    assert results(recipe, "full") == results(whole, "full")
    notes = " ".join(arm_of(recipe, "full")["notes"])
    assert f"step-{KILLED_AT} is not used and was renamed bad-step-{KILLED_AT}: " in notes
    assert reason in notes
    assert f"resumes after step {KILLED_AT - 1}" in notes
    kept = {f"step-{entry['step']}" for entry in [arm_of(recipe, "full").get("checkpoint")] if entry}
    assert {path.name for path in checkpoints(recipe).iterdir()} - kept == {f"bad-step-{KILLED_AT}"}


QUICK = [*(("state.json", damage) for damage in DAMAGES), *((file, "one bit flipped") for file in FILES[:4])]


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        pytest.param(file, damage, marks=() if (file, damage) in QUICK else pytest.mark.slow)
        for file in FILES
        for damage in DAMAGES
    ],
)
def test_r06_a_damaged_file_of_the_newest_is_never_used(root, killed, file, damage) -> None:
    path = checkpoints(killed) / f"step-{KILLED_AT}" / file
    change = DAMAGES[damage]
    if change is None:
        path.unlink()
    else:
        foreign = checkpoints(recipe_in(root, root / "bert", "foreign"))
        other = (foreign / f"step-{KILLED_AT}" / file).read_bytes()
        path.write_bytes(change(path.read_bytes(), other))
    goes_on_from_the_one_before(root, killed)


@pytest.mark.parametrize("planted", ["step-9999", f"step-{KILLED_AT}"])
def test_r06_a_whole_checkpoint_of_another_run_is_set_aside(root, killed, planted) -> None:
    folder = checkpoints(killed)
    foreign = checkpoints(recipe_in(root, root / "bert", "foreign")) / f"step-{KILLED_AT}"
    shutil.rmtree(folder / f"step-{KILLED_AT}")
    shutil.copytree(foreign, folder / planted)
    run_study(killed)
    whole = recipe_in(root, root / "bert", "whole")
    assert results(killed, "full") == results(whole, "full")
    notes = " ".join(arm_of(killed, "full")["notes"])
    assert f"renamed bad-{planted}: " in notes
    assert "belongs to another run" in notes
    assert f"resumes after step {KILLED_AT - 1}" in notes


@pytest.mark.parametrize("kind", ["empty folder", "file", "link", "of another step"])
def test_r06_what_is_no_checkpoint_is_set_aside(root, killed, kind) -> None:
    folder, name = checkpoints(killed), "step-9999"
    if kind == "empty folder":
        (folder / name).mkdir()
    elif kind == "file":
        (folder / name).write_text("not a folder")
    elif kind == "link":
        (folder / name).symlink_to(folder / "step-5")
    else:
        shutil.copytree(folder / "step-5", folder / name)
    run_study(killed)
    assert results(killed, "full") == results(recipe_in(root, root / "bert", "whole"), "full")
    assert os.path.lexists(folder / f"bad-{name}")
    assert f"resumes after step {KILLED_AT}" in " ".join(arm_of(killed, "full")["notes"])


def test_r06_without_any_valid_one_it_begins_again(root, killed) -> None:
    for folder in checkpoints(killed).iterdir():
        (folder / "optimizer.safetensors").unlink()
    run_study(killed)
    assert results(killed, "full") == results(recipe_in(root, root / "bert", "whole"), "full")
    assert len(list(checkpoints(killed).glob("bad-*"))) == 2


@pytest.mark.parametrize("seed", range(8))
def test_r05_a_bit_flipped_anywhere_in_the_newest_is_found(root, killed, seed) -> None:
    drawn = random.Random(seed)
    files = sorted((checkpoints(killed) / f"step-{KILLED_AT}").iterdir())
    at = drawn.randrange(sum(file.stat().st_size for file in files))
    for file in files:
        if at < file.stat().st_size:
            file.write_bytes(flipped(file.read_bytes(), at))
            break
        at -= file.stat().st_size
    goes_on_from_the_one_before(root, killed)


@pytest.mark.slow
def test_r05_every_tenth_byte_of_the_newest_is_guarded(root, killed) -> None:
    folder = checkpoints(killed)
    state = json.loads((folder / f"step-{KILLED_AT}" / "state.json").read_text())
    for file in sorted((folder / f"step-{KILLED_AT}").iterdir()):
        data = file.read_bytes()
        for at in range(0, len(data), max(10, len(data) // 500)):
            file.write_bytes(flipped(data, at))
            found = CheckpointManager(folder, state["fingerprint"]).load_newest()
            assert found is not None
            assert found.state.step == KILLED_AT - 1, f"{file.name}, byte {at}"
            (folder / f"bad-step-{KILLED_AT}").rename(folder / f"step-{KILLED_AT}")
            file.write_bytes(data)


@pytest.mark.parametrize("years", [-1, 10])
def test_r13_order_is_by_step_whatever_the_clocks_say(root, killed, monkeypatch, years) -> None:
    import time

    now = time.time()
    for path in checkpoints(killed).rglob("*"):
        older = 0 if "step-5" in str(path) else -86400
        os.utime(path, (now + older, now + older))
    monkeypatch.setattr(time, "time", lambda: now + years * 31_536_000)
    run_study(killed)
    assert results(killed, "full") == results(recipe_in(root, root / "bert", "whole"), "full")
    notes = " ".join(arm_of(killed, "full")["notes"])
    assert f"resumes after step {KILLED_AT}" in notes
    assert "bad-" not in notes
