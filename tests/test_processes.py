"""Two processes on one study against one: the same steps, weights and predictions, one writer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.arms.small import arm_of, folder_of, rows_of, small_recipe, steps_of, write_rows
from tests.monitoring import run_recorded
from tests.tiny_models import tiny_model
from tuneproof.errors import RecipeError
from tuneproof.inference.prediction import read_predictions
from tuneproof.recipe.recipe import Recipe, recipe_from
from tuneproof.record.study_folder import read_items
from tuneproof.study.resume import ResumePolicy
from tuneproof.study.run import run_study

PATIENCE_S = 240
# lp-ft from a head that is held back: near a perfect fit gradients are rounding, which Adam magnifies
ENCODER_ARMS = [
    "head",
    {"lora": {"learning_rate": 1e-3, "dropout": 0}},
    {"full": {"learning_rate": 2e-4}},
    {"lp-ft": {"learning_rate": 2e-4, "strengths": [1e-3]}},
]
WORDS = {"learning_rate": 2e-4, "objective": "words"}
DECODER_ARMS = ["zero-shot", {"lora": {**WORDS, "dropout": 0}}, {"full": WORDS}]
ODD = {"batch_size": 7, "micro_batch": 2, "epochs": 2}
STARTER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def without_dropout(folder: Path, kind: str) -> Path:
    """Draws of dropout are each process's own."""
    tiny_model(folder, kind)
    config = json.loads((folder / "config.json").read_text())
    config |= {name: 0.0 for name in config if "drop" in name}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    where = tmp_path_factory.mktemp("models")
    return {kind: without_dropout(where / kind, kind) for kind in ("distilbert", "llama")}


def odd_recipe(folder: Path, model: Path, arms: list, parallel: str, out: str, **train) -> Recipe:
    """61 rows, cut into parts and batches that two processes cannot halve."""
    rows = rows_of(("negative", "positive"))
    write_rows(folder / "rows-2.csv", [*rows, ("A bad one.", "negative")])
    return small_recipe(
        folder,
        [model],
        arms,
        out=out,
        train={**ODD, **train},
        compute={"parallel": parallel},
        predict={"batch_size": 4},
        split={"shares": [37, 11, 13]},
    )


def started(recipe: Recipe, *words: str) -> subprocess.Popen:
    """The study in two processes."""
    path = Path(recipe.out).with_suffix(".yaml")
    path.write_text(recipe.text())
    command = [*STARTER, "-m", "tuneproof", "run", str(path), "--quiet", *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def by_two(recipe: Recipe, *words: str) -> None:
    process = started(recipe, *words)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said


def weights_of(recipe: Recipe, name: str) -> dict[str, np.ndarray]:
    found = {}
    for file in sorted((folder_of(recipe, name) / "weights").glob("*.safetensors")):
        found |= load_file(file)
    assert found
    return found


def assert_the_same(two: Recipe, one: Recipe, name: str, trained: bool = True) -> None:
    """Losses within 5e-6 of their size or 1e-6, weights within 1e-5, every item predicted once and alike."""
    assert arm_of(two, name)["status"] == arm_of(one, name)["status"] == "done"
    if trained and name != "head":
        pairs = list(zip(steps_of(two, name), steps_of(one, name), strict=True))
        assert len(pairs) > 8
        for mine, other in pairs:
            # 40 ulp of float32 after ten steps; near 0 those of the logits
            assert mine["loss"] == pytest.approx(other["loss"], rel=5e-6, abs=1e-6)
            assert mine["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)
            assert (mine["count"], mine["tokens"]) == (other["count"], other["tokens"])
            assert mine["dev_loss"] == pytest.approx(other["dev_loss"], abs=1e-5)
    if trained:
        wanted, found = weights_of(one, name), weights_of(two, name)
        assert found.keys() == wanted.keys()
        for key, weight in wanted.items():
            if key.endswith("k_lin.bias"):  # its gradient is 0 but for rounding, which Adam magnifies
                continue
            np.testing.assert_allclose(found[key], weight, atol=1e-5, rtol=1e-4, err_msg=key)
    mine = read_predictions(folder_of(two, name) / "predictions.parquet")
    other = read_predictions(folder_of(one, name) / "predictions.parquet")
    assert list(mine.ids) == list(other.ids) == read_items(Path(two.out), "test").ids
    assert len(set(mine.ids)) == len(mine.ids)
    assert len(mine.ids) % 2 == 1
    np.testing.assert_allclose(mine.probabilities_NC, other.probabilities_NC, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "arms", "parallel"),
    [
        pytest.param("distilbert", ENCODER_ARMS, "fsdp", marks=pytest.mark.slow),
        ("llama", DECODER_ARMS, "ddp"),  # test_process_matrix.py has quick ones of fsdp
        pytest.param("distilbert", ENCODER_ARMS, "ddp", marks=pytest.mark.slow),
        pytest.param("llama", DECODER_ARMS, "fsdp", marks=pytest.mark.slow),
    ],
)
def test_two_processes_train_and_predict_as_one(tmp_path, models, kind, arms, parallel) -> None:
    one = odd_recipe(tmp_path, models[kind], arms, parallel, "one")
    run_study(one)
    two = odd_recipe(tmp_path, models[kind], arms, parallel, "two")
    by_two(two)
    for arm in two.arms:
        assert_the_same(two, one, arm.name, trained=arm.method.kind == "tuned")
    kept = {path.relative_to(two.out).as_posix() for path in Path(two.out).rglob("*")}
    alone = {path.relative_to(one.out).as_posix() for path in Path(one.out).rglob("*")}
    assert kept == alone, "two processes leave the files that one does"


LONG = {"epochs": 6, "checkpoint_minutes": 0, "evals_per_epoch": 1, "self_test": False}


def wait_for(condition, process: subprocess.Popen) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def lines_of(recipe: Recipe) -> int:
    found = list(Path(recipe.out).glob("arms/*/steps.jsonl"))
    return found[0].read_text().count("\n") if found else 0


def children_of(process: subprocess.Popen) -> list[int]:
    import psutil

    return sorted(child.pid for child in psutil.Process(process.pid).children())


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["fsdp", "ddp"])
def test_two_processes_killed_and_stopped_go_on_to_the_same(tmp_path, models, parallel) -> None:
    full = [{"full": {"learning_rate": 2e-4}}]
    one = odd_recipe(tmp_path, models["distilbert"], full, parallel, "one", **LONG)
    run_study(one)
    two = odd_recipe(tmp_path, models["distilbert"], full, parallel, "two", **LONG)
    process = started(two)
    wait_for(lambda: lines_of(two) > 6, process)
    os.kill(children_of(process)[-1], signal.SIGKILL)  # the launcher ends the other one
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode
    assert not (folder_of(two, "full") / "arm.json").exists()

    with pytest.raises(RecipeError, match=r"compute\.processes was 2"):
        run_study(two)

    process = started(two)
    wait_for(lambda: lines_of(two) > 14, process)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert said.count("Resume with: torchrun --nproc-per-node 2 -m tuneproof run") == 1, said
    assert not (folder_of(two, "full") / "arm.json").exists()

    by_two(two)
    assert_the_same(two, one, "full")
    notes = " ".join(arm_of(two, "full")["notes"])
    assert notes.count("resumes after step") == 1
    left = list((folder_of(two, "full") / "checkpoints").glob("*"))
    assert len(left) == ("checkpoint" in arm_of(two, "full"))


@pytest.mark.slow
def test_a_study_of_two_processes_goes_on_in_one_where_that_is_accepted(tmp_path, models) -> None:
    full = [{"full": {"learning_rate": 2e-4}}]
    recipe = odd_recipe(tmp_path, models["distilbert"], full, "fsdp", "study", **LONG)
    process = started(recipe)
    wait_for(lambda: lines_of(recipe) > 10, process)
    for pid in [process.pid, *children_of(process)]:  # the workers would live on, and finish
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    text = run_recorded(recipe, ResumePolicy(accept=True)).text
    assert "is kept, although compute.processes was 2, is 1" in text
    assert "resumes after step" in text
    whole = odd_recipe(tmp_path, models["distilbert"], full, "fsdp", "whole", **LONG)
    run_study(whole)
    assert_the_same(recipe, whole, "full")


def test_a_mistake_is_said_once(tmp_path, models) -> None:
    recipe = odd_recipe(tmp_path, models["distilbert"], ["majority", "head"], "ddp", "study")
    Path(recipe.task_options.path).write_text("text,label\nwell,good\n")
    process = started(recipe)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode
    assert said.count("tuneproof: ") == 1, said


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_choose_the_settings_that_one_process_chooses(tmp_path, models, parallel):
    search = {"learning_rate": [1e-4, 1e-3, 3e-3], "rank": [2, 4]}
    records = []
    for out, run in (("one", run_study), ("two", by_two)):
        recipe = odd_recipe(tmp_path, models["distilbert"], [{"lora": {"dropout": 0}}], parallel, out)
        recipe = recipe_from({**recipe.values(), "search": search, "seeds": [0]})
        run(recipe)
        records.append(arm_of(recipe, "lora")["search"])
    assert records[0]["chosen"] == records[1]["chosen"]
    for alone, together in zip(records[0]["trials"], records[1]["trials"], strict=True):
        assert alone["settings"] == together["settings"]
        assert together["dev_loss"] == pytest.approx(alone["dev_loss"], abs=1e-5)
