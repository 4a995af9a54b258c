"""The program itself: killed, asked to stop, asked twice (R7, R9, R10)."""

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.arms.small import folder_of, results, small_recipe
from tests.tiny_models import tiny_model
from tuneproof.cli import terminal
from tuneproof.cli.main import main
from tuneproof.context.monitor import StopRequest
from tuneproof.study.run import run_study
from tuneproof.study.signals import stop_on_signals

FULL = {"full": {"learning_rate": 3e-4}}
LONG = {"epochs": 30, "checkpoint_minutes": 0.005, "evals_per_epoch": 1}
PATIENCE_S = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "bert", "distilbert")


def started(recipe, *words: str) -> subprocess.Popen:
    path = Path(recipe.out).with_suffix(".yaml")
    path.write_text(recipe.text())
    command = [sys.executable, "-m", "tuneproof", "run", str(path), "--quiet", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def lines_of(recipe) -> int:
    found = list(Path(recipe.out).glob("arms/*/steps.jsonl"))
    return found[0].read_text().count("\n") if found else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model):
    recipe = small_recipe(tmp_path_factory.mktemp("whole"), [model], [FULL], train=LONG)
    run_study(recipe)
    return results(recipe, "full")


@pytest.mark.slow
def test_r07_the_program_killed_by_its_process_goes_on(tmp_path, model, whole) -> None:
    recipe = small_recipe(tmp_path, [model], [FULL], train=LONG)
    for steps in (20, 70):
        process = started(recipe)
        wait_for(lambda steps=steps: lines_of(recipe) > steps, process)
        process.kill()
        process.communicate()
        assert not (folder_of(recipe, "full") / "arm.json").exists()
    process = started(recipe)
    assert process.wait(PATIENCE_S) == 0, process.communicate()
    assert results(recipe, "full") == whole


@pytest.mark.slow
@pytest.mark.parametrize("arm", [FULL, {"lora": {"learning_rate": 1e-3}}, "head"], ids=str)
def test_r07_twenty_kills_of_the_program_change_nothing(tmp_path, model, arm) -> None:
    name = arm if isinstance(arm, str) else next(iter(arm))
    whole = small_recipe(tmp_path, [model], [arm], out="whole", train=LONG)
    run_study(whole)
    recipe = small_recipe(tmp_path, [model], [arm], train=LONG)
    draw, kills = random.Random(0), 0
    while kills < 20:  # from before anything is written to after the last file is
        process = started(recipe)
        try:
            process.wait(draw.uniform(1, 8) if name == "head" else draw.uniform(4, 9))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
        if process.returncode == 0:  # it got to its end: the same, and begins anew
            assert results(recipe, name) == results(whole, name)
            shutil.rmtree(recipe.out)
    process = started(recipe)
    assert process.wait(PATIENCE_S) == 0, process.communicate()
    assert results(recipe, name) == results(whole, name)


def test_r09_sigterm_finishes_the_step_and_says_how_to_go_on(tmp_path, model, whole) -> None:
    recipe = small_recipe(
        tmp_path, [model], [FULL], train={**LONG, "checkpoint_minutes": None}
    )  # no checkpoint but the one that the signal asks for
    process = started(recipe)
    wait_for(lambda: lines_of(recipe) > 30, process)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate()
    assert process.returncode == 3, out + said
    assert time.monotonic() - begun < 30
    assert "Traceback" not in said
    assert said.count("\n") == 1
    assert "SIGTERM: stopped. Finished arms, checkpoints and finished predictions are kept." in said
    folder = folder_of(recipe, "full") / "checkpoints"
    (checkpoint,) = folder.iterdir()
    assert int(checkpoint.name.removeprefix("step-")) in (lines_of(recipe), lines_of(recipe) + 1)
    again = shlex.split(said.strip().rpartition("Resume with: ")[2])
    assert again[:2] == ["tuneproof", "run"]
    done = subprocess.run([sys.executable, "-m", *again], capture_output=True, check=False)
    assert done.returncode == 0
    assert results(recipe, "full") == whole


def test_r09_a_second_signal_stops_at_once() -> None:
    code = (
        "import time\n"
        "from tuneproof.context.monitor import Monitor\n"
        "from tuneproof.study.signals import stop_on_signals\n"
        "monitor = Monitor()\n"
        "with stop_on_signals(monitor.stop_request, 'again'):\n"
        "    monitor.stage('train', 2)\n"
        "    print('ready', flush=True)\n"
        "    start = time.monotonic()\n"
        "    while time.monotonic() - start < 60: time.sleep(0.01)\n"
        "    monitor.progress(1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the step"
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == -signal.SIGTERM


def test_r09_an_ignored_signal_stays_ignored(keyboard) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = StopRequest()
    with stop_on_signals(request, "again"):
        os.kill(os.getpid(), signal.SIGINT)
    assert request.error is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


STAGES = ("data and audit", "load", "self-test", "train", "dev", "predict", "compare and report")


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory, model):
    recipe = small_recipe(tmp_path_factory.mktemp("one"), [model], [FULL], train={"epochs": 1})
    run_study(recipe)
    return results(recipe, "full")


@pytest.mark.parametrize("stage", STAGES)
def test_r10_ctrl_c_in_any_stage_leaves_a_study_that_goes_on(
    tmp_path, model, one_epoch, monkeypatch, capsys, keyboard, stage
) -> None:
    recipe = small_recipe(tmp_path, [model], [FULL], train={"epochs": 1})
    (tmp_path / "r.yaml").write_text(recipe.text())
    show, hits = terminal.TerminalView.show, []

    def interrupted(self, event) -> None:
        show(self, event)
        if getattr(event, "name", "") == stage and not hits:
            hits.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(terminal.TerminalView, "show", interrupted)
    assert main(["run", str(tmp_path / "r.yaml")]) == 3
    said = capsys.readouterr().err
    assert hits
    assert "Traceback" not in said
    assert "Resume with: tuneproof run" in said
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert main(["run", str(tmp_path / "r.yaml")]) == 0
    assert results(recipe, "full") == one_epoch
